"""What may be done to many images at once from the images page, and what is said of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from services.ui.words import _, ngettext
from shared import gold, tagging
from shared.domain import ClassId, ImageId, ProjectId, Split, User
from shared.errors import Invalid
from shared.system import System


class Action(StrEnum):
    RELABEL = "relabel"
    TAG = "tag"
    UNTAG = "untag"
    GOLD = "gold"
    REMOVE = "remove"
    ASK = "ask"
    HOLDOUT = "holdout"
    POOL = "pool"


OF_REVIEWERS = frozenset({Action.RELABEL, Action.TAG, Action.UNTAG, Action.GOLD, Action.ASK})
"""The rest is for managers."""
AT_ONCE = frozenset({Action.RELABEL, Action.TAG, Action.UNTAG, Action.GOLD})
"""Done to chosen images without being asked first: nothing is lost by them."""


def do(
    system: System,
    project: ProjectId,
    user: User,
    action: Action,
    chosen: Sequence[ImageId],
    *,
    class_id: ClassId | None = None,
    tag: str = "",
) -> int:
    """Returns how many images were changed. Raises ``Invalid`` for what lacks the class or the tag that it needs, and
    what ``shared.curation``, ``shared.tagging`` and ``shared.gold`` raise."""
    curation, actor = system.curation, f"user:{user.id}"
    match action:
        case Action.RELABEL:
            if class_id is None:
                raise Invalid(_("choose the class that the images get"))
            return len(curation.relabel(project, user.id, chosen, class_id))
        case Action.TAG | Action.UNTAG:
            change = tagging.tag if action is Action.TAG else tagging.untag
            with system.ledger.transaction() as tx:
                return len(change(tx, project, chosen, [tag], actor))
        case Action.GOLD:
            with system.ledger.transaction() as tx:
                return len(gold.mark(tx, project, chosen, actor))
        case Action.REMOVE:
            return len(curation.remove_labels(project, user.id, chosen))
        case Action.ASK:
            return len(curation.ask_again(project, user.id, chosen))
        case Action.HOLDOUT | Action.POOL:
            return len(curation.move(project, user.id, chosen, Split(action.value)))


def said(action: Action, changed: int, tag: str = "") -> str:
    """What was done, as a sentence."""
    match action:
        case Action.RELABEL:
            text = ngettext("%d image was relabelled.", "%d images were relabelled.", changed)
        case Action.TAG:
            text = ngettext("%d image was tagged", "%d images were tagged", changed) + _of(tag)
        case Action.UNTAG:
            text = ngettext("A tag was taken off %d image", "A tag was taken off %d images", changed) + _of(tag)
        case Action.GOLD if not changed:
            return _("No answer is known by this: none of these images has a label by a person or an import.")
        case Action.GOLD:
            text = ngettext("The answer to %d image is known now.", "The answers to %d images are known now.", changed)
        case Action.REMOVE:
            text = ngettext("The label of %d image was removed.", "The labels of %d images were removed.", changed)
        case Action.ASK:
            text = ngettext("%d image will be asked again.", "%d images will be asked again.", changed)
        case Action.HOLDOUT:
            text = ngettext("%d image moved to the holdout.", "%d images moved to the holdout.", changed)
        case Action.POOL:
            text = ngettext("%d image moved to the pool.", "%d images moved to the pool.", changed)
    return text % changed


def _of(tag: str) -> str:
    return f": {tag.replace('%', '%%')}." if tag else "."
