"""The audit log in sentences: who did what, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.ui.words import _, ngettext
from shared.db import projects, users
from shared.db.events import Event
from shared.db.pool import Tx

Data = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the ids in events are called, as far as it is still known."""

    users: Mapping[int, str]
    classes: Mapping[int, str]
    projects: Mapping[int, str]

    def user(self, user_id: Any) -> str:
        return self.users.get(user_id) or _("user %s") % user_id

    def class_(self, class_id: Any) -> str:
        return self.classes.get(class_id) or _("class %s") % class_id

    def actor(self, actor: str) -> str:
        """Who it was: ``user:3``, ``key:wnw_ab12``, ``system``."""
        kind, __, name = actor.partition(":")
        if kind == "user" and name.isdecimal():
            return self.user(int(name))
        if kind == "key":
            return _("API key %s") % name
        return _("Winnow") if actor == "system" else actor


def names_in(tx: Tx, events: Sequence[Event], more: Iterable[str] = ()) -> Names:
    """The names that sentences about these events need, and those of ``more`` actors."""
    actors = [actor.partition(":") for actor in (*(event.actor for event in events), *more)]
    return Names(
        users=users.names(
            tx, {int(name) for kind, __, name in actors if kind == "user" and name.isdecimal()} | _ids(events, "user")
        ),
        classes=projects.class_names(tx, _ids(events, "class_id")),
        projects=projects.names(tx, {event.project_id for event in events if event.project_id}),
    )


def sentence(event: Event, names: Names) -> str:
    """What was done, without who: it goes on after a name. An event of a kind not known here tells its bare data."""
    known = _SENTENCES.get(event.kind)
    if known is not None:
        try:
            return known(event.data, names)
        except (KeyError, TypeError, ValueError):
            pass  # written by another version: the bare data still says something
    facts = ", ".join(f"{key} {value}" for key, value in event.data.items() if key != "image_ids")
    return f"{event.kind}: {facts}" if facts else event.kind


def _ids(events: Iterable[Event], key: str) -> set[int]:
    return {event.data[key] for event in events if isinstance(event.data.get(key), int)}


def _skipped(data: Data, names: Names) -> str:
    text = _("skipped task %s") % str(data["task"])
    if data.get("reason"):
        text += _(", saying “%s”") % str(data["reason"])
    return text + (_("; nobody is asked about it any more") if data.get("state") == "skipped" else "")


def _uploaded(data: Data, names: Names) -> str:
    stored = int(data["stored"])
    text = ngettext("uploaded %s image", "uploaded %s images", stored) % f"{stored:,}"
    text += _(" to the holdout") if data.get("split") == "holdout" else _(" to the pool")
    if "class_id" in data:
        text += _(", labelled “%s”") % names.class_(data["class_id"])
    if data.get("duplicate"):
        text += (
            ngettext("; %s was there already", "; %s were there already", data["duplicate"]) % f"{data['duplicate']:,}"
        )
    if data.get("rejected"):
        text += ngettext("; %s was refused", "; %s were refused", data["rejected"]) % f"{data['rejected']:,}"
    return text


def _announced(data: Data, names: Names) -> str:
    count = int(data["expected"])
    return ngettext("began to upload %s file", "began to upload %s files", count) % f"{count:,}"


def _settings(data: Data, names: Names) -> str:
    said = ", ".join(f"{key} = {_plain(value)}" for key, value in data.items())
    return _("changed settings: %s") % (said or _("none"))


def _plain(value: Any) -> str:
    if value is None:
        return _("by itself")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return ", ".join(f"{k} {v}" for k, v in value.items()) or "{}" if isinstance(value, dict) else str(value)


def _images(one: str, many: str) -> Callable[[Data, Names], str]:
    def said(data: Data, names: Names) -> str:
        return ngettext(one, many, int(data["images"])) % f"{data['images']:,}"

    return said


def _corrected(data: Data, names: Names) -> str:
    count = int(data["images"])
    text = ngettext("labelled %s image “%s” by hand", "labelled %s images “%s” by hand", count)
    return text % (f"{count:,}", names.class_(data["class_id"]))


def _tagged(data: Data, names: Names) -> str:
    count = int(data["images"])
    return ngettext("tagged %s image %s", "tagged %s images %s", count) % (f"{count:,}", _quoted(data["tags"]))


def _untagged(data: Data, names: Names) -> str:
    count = int(data["images"])
    text = ngettext("took the tag %s off %s image", "took the tag %s off %s images", count)
    return text % (_quoted(data["tags"]), f"{count:,}")


def _quoted(tags: Sequence[str]) -> str:
    return ", ".join(f"“{tag}”" for tag in tags)


def _moved(data: Data, names: Names) -> str:
    count = int(data["images"])
    if data["split"] == "holdout":
        return ngettext("moved %s image to the holdout", "moved %s images to the holdout", count) % f"{count:,}"
    return ngettext("moved %s image to the pool", "moved %s images to the pool", count) % f"{count:,}"


def _requeued(data: Data, names: Names) -> str:
    jobs: Sequence[int] = data["jobs"]
    if len(jobs) != 1:
        return _("tried %s failed jobs again") % len(jobs)
    return _("tried failed job %s again") % jobs[0]


def _rolled_back(data: Data, names: Names) -> str:
    if data.get("to"):
        return _("took model %s out of use; model %s is used again") % (data["from"], data["to"])
    return _("took model %s out of use") % str(data["from"])


def _changed(data: Data) -> str:
    """Of a webhook."""
    told = {key: value for key, value in data.items() if key != "webhook"}
    return ", ".join(
        f"{key} = {', '.join(value) if isinstance(value, list) else _plain(value)}" for key, value in told.items()
    )


def _invited(data: Data, names: Names) -> str:
    text = _("invited somebody as %s") % (data.get("role") or (_("admin") if data.get("admin") else _("user")))
    return text + (f" ({data['note']})" if data.get("note") else "")


def _one_image(data: Data) -> str:
    return str(data["image_ids"][0])


_SENTENCES: Mapping[str, Callable[[Data, Names], str]] = {
    "project.created": lambda data, names: _("created the project “%s”") % data["name"],
    "project.started": lambda data, names: _("started the project"),
    "project.paused": lambda data, names: _("paused the project"),
    "project.finished": lambda data, names: _("finished the project: %s") % data["reason"],
    "project.labelling_rest": lambda data, names: _("let people label what is left"),
    "project.settings_changed": _settings,
    "classes.changed": lambda data, names: _("changed the classes: %s") % "; ".join(data["changes"]),
    "project.guidelines_changed": lambda data, names: _("changed the guidelines"),
    "images.uploaded": _uploaded,
    "import.announced": _announced,
    "images.asked_again": _images("had %s image asked again", "had %s images asked again"),
    "images.moved": _moved,
    "autolabel.withdrawn": lambda data, names: (
        _("withdrew %s labels of the model: %s") % (f"{data['labels']:,}", data["reason"])
    ),
    "labels.imported": lambda data, names: (
        ngettext("brought in %s known label", "brought in %s known labels", int(data["labels"])) % f"{data['labels']:,}"
    ),
    "labels.corrected": _corrected,
    "labels.kept": _images("looked at %s label again and kept it", "looked at %s labels again and kept them"),
    "labels.review_undone": _images("took back a review of %s image", "took back a review of %s images"),
    "labels.filed": _images("filed %s image as the model says", "filed %s images as the model says"),
    "labels.removed": _images("removed the label of %s image", "removed the labels of %s images"),
    "data.exported": lambda data, names: _("downloaded the labels as %s") % str(data["form"]).upper(),
    "export.asked": lambda data, names: _("had an export prepared, as %s") % str(data["form"]).upper(),
    "export.ready": lambda data, names: (
        _("finished export %s: %s images, %s of them labelled")
        % (data["export"], f"{data['images']:,}", f"{data['labels']:,}")
    ),
    "export.downloaded": lambda data, names: _("downloaded export %s") % data["export"],
    "export.deleted": lambda data, names: _("deleted export %s") % data["export"],
    "task.skipped": _skipped,
    "annotation.undone": lambda data, names: _("took back the answer to task %s") % data["task"],
    "annotation.changed": lambda data, names: _("changed the answer to task %s") % data["task"],
    "consensus.renewed": lambda data, names: (
        _("weighed all answers anew: %s labels, of which %s changed") % (f"{data['labels']:,}", f"{data['changed']:,}")
    ),
    "adjudication.decided": lambda data, names: _("decided where people disagreed about image %s") % _one_image(data),
    "adjudication.revealed": lambda data, names: _("looked at what people said of image %s") % _one_image(data),
    "second_opinions.asked": _images("asked for a second opinion on %s image", "asked for one on %s images"),
    "images.tagged": _tagged,
    "images.untagged": _untagged,
    "gold.marked": _images("marked the answer to %s image as known", "marked the answers to %s images as known"),
    "gold.unmarked": _images("took %s image out of what is known", "took %s images out of what is known"),
    "member.distrusted": lambda data, names: (
        _("paused user %s: %s; %s images are asked of others") % (data["user"], data["reason"], f"{data['images']:,}")
    ),
    "image.flagged": lambda data, names: _("flagged image %s") % data["image"],
    "map.asked": lambda data, names: _("had a map of the pool drawn"),
    "model.promoted": lambda data, names: _("put model %s to use") % data["checkpoint"],
    "model.rolled_back": _rolled_back,
    "model.downloaded": lambda data, names: _("downloaded model %s") % data["checkpoint"],
    "jobs.requeued": _requeued,
    "job.cancelled": lambda data, names: _("cancelled the %s job %s") % (data["kind"], data["job"]),
    "backup.done": lambda data, names: _("made the backup %s") % data["snapshot"],
    "backup.restored": lambda data, names: _("restored the backup %s") % data["snapshot"],
    "batch.created": lambda data, names: _("made the batch “%s”") % data["name"],
    "batch.changed": lambda data, names: (
        _("changed the terms of batch %s: %s") % (data["batch"], ", ".join(data["terms"]))
    ),
    "batch.opened": lambda data, names: _("opened the batch “%s”") % data["name"],
    "batch.in_progress": lambda data, names: _("set the batch “%s” to work") % data["name"],
    "batch.paused": lambda data, names: _("paused the batch “%s”") % data["name"],
    "batch.cancel_asked": lambda data, names: _("cancelled the batch “%s”") % data["name"],
    "batch.cancelled": lambda data, names: (
        _("ended the cancelled batch “%s”: %s answered, %s taken back, %s never given")
        % (data["name"], data["answered"], data["revoked"], data["dropped"])
    ),
    "batch.completed": lambda data, names: _("completed the batch “%s”") % data["name"],
    "batch.failed": lambda data, names: _("gave up the batch “%s”: %s") % (data["name"], data["error"]),
    "annotation.accepted": lambda data, names: (
        _("accepted %s answers in batch %s") % (data["annotations"], data["batch"])
    ),
    "annotation.rejected": lambda data, names: (
        _("rejected %s answers in batch %s: %s") % (data["annotations"], data["batch"], data["reason"])
    ),
    "webhook.created": lambda data, names: _("made webhook %s, to %s") % (data["webhook"], data["url"]),
    "webhook.changed": lambda data, names: _("changed webhook %s: %s") % (data["webhook"], _changed(data)),
    "webhook.rotated": lambda data, names: _("gave webhook %s a new secret") % data["webhook"],
    "webhook.deleted": lambda data, names: _("deleted webhook %s, to %s") % (data["webhook"], data["url"]),
    "webhook.pinged": lambda data, names: _("sent a test message to webhook %s") % data["webhook"],
    "webhook.redelivered": lambda data, names: (
        _("had delivery %s of webhook %s made again") % (data["delivery"], data["webhook"])
    ),
    "webhook.disabled": lambda data, names: _("switched webhook %s off: %s") % (data["webhook"], data["reason"]),
    "user.added": lambda data, names: (
        (_("added the vendor %s") if data.get("vendor") else _("added the user %s")) % data["username"]
    ),
    "user.made_admin": lambda data, names: _("made %s an admin") % data["username"],
    "user.unmade_admin": lambda data, names: _("took the right of an admin from %s") % data["username"],
    "user.disabled": lambda data, names: _("disabled the user %s") % data["username"],
    "user.enabled": lambda data, names: _("enabled the user %s") % data["username"],
    "user.signed_out": lambda data, names: _("signed %s out everywhere") % data["username"],
    "user.signed_in": lambda data, names: _("signed in"),
    "member.added": lambda data, names: _("let %s in as %s") % (names.user(data["user"]), data["role"]),
    "member.role_changed": lambda data, names: _("made %s a %s") % (names.user(data["user"]), data["role"]),
    "member.paused": lambda data, names: _("paused %s: %s") % (names.user(data["user"]), data["reason"]),
    "member.resumed": lambda data, names: _("had %s asked again") % names.user(data["user"]),
    "member.removed": lambda data, names: _("removed %s from the project") % names.user(data["user"]),
    "invitation.made": _invited,
    "invitation.revoked": lambda data, names: _("revoked invitation %s") % data["invitation"],
    "user.linked": lambda data, names: _("linked the account of %s to “%s”") % (data["username"], data["as"]),
    "user.unlinked": lambda data, names: _("unlinked the account of %s") % data["username"],
    "user.password_changed": lambda data, names: _("changed the password of %s") % data["username"],
    "key.created": lambda data, names: _("made the API key %s (%s)") % (data["prefix"], data["name"]),
    "key.revoked": lambda data, names: _("revoked the API key %s") % data["prefix"],
}
KINDS = tuple(sorted(_SENTENCES))
"""The kinds that there is a sentence for, to choose from."""
