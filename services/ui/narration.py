"""What happens now and why, in sentences for a person: on the project page, and to who waits for the next image."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from services.ui.standing import Progress, Standing
from services.ui.words import _, ngettext
from shared.domain import ProjectState, RoundMode, RoundState


class Narration(BaseModel):
    """``headline`` is a few words, ``detail`` how far that is, ``why`` a sentence or two."""

    headline: str
    why: str
    detail: str = ""


class Waiting(BaseModel):
    """Why there is no image for this annotator at present.

    ``reason`` is a stable name and ``message`` says it all; ``what`` is the part of it that has no clock time in it,
    for a page that knows its reader's clock. ``held`` tasks are with other annotators; the first of them returns at
    ``next_return`` unless it is answered.
    """

    reason: str
    message: str
    what: str
    progress: float | None = None
    held: int = 0
    next_return: datetime | None = None


def narrate(standing: Standing) -> Narration:
    """For the project page."""
    now = standing.overview
    if now.dead_jobs:
        job = now.dead_jobs[0]
        return Narration(
            headline=_("Stopped by a failed %s job") % job.kind.value,
            why=_("It failed for good; its error is below. Once the cause is gone, System runs it again."),
        )
    if now.project.state is not ProjectState.RUNNING:
        return _standing_still(standing)
    if now.round is None:
        return Narration(
            headline=_("Preparing the images"),
            why=_of(standing.progress) + _("Every image is decoded once; the first questions follow."),
        )
    found = _in_round(standing, now.round.state)
    return found.model_copy(update={"detail": _how_far(standing.progress)})


def _how_far(progress: Progress | None) -> str:
    """The share, and the time left where that can be told."""
    return f"{round(100 * progress.share)}%{_left(progress.left_s)}" if progress else ""


def paused_because(reason: str) -> Waiting:
    """For somebody of whom nothing more is asked."""
    what = f"You are paused in this project: {reason}"
    return Waiting(reason="member_paused", message=what, what=what)


def wait_for_image(standing: Standing) -> Waiting:
    """For an annotator who was given no task."""
    now = standing.overview
    reason, what = _reason(standing)
    if now.project.state is not ProjectState.RUNNING or now.dead_jobs:
        return Waiting(reason=reason, message=what, what=what)
    held, next_return = now.tasks.leased, now.tasks.next_expiry
    by_others = _by_others(held, next_return) if next_return else ""
    return Waiting(
        reason=reason,
        message=f"{what} {by_others}".strip(),
        what=what,
        progress=standing.progress.share if standing.progress else None,
        held=held,
        next_return=next_return,
    )


def _reason(standing: Standing) -> tuple[str, str]:
    now = standing.overview
    match now.project.state:
        case ProjectState.PAUSED:
            return "paused", _("The project is paused.")
        case ProjectState.FINISHED:
            return "finished", _("The project is finished: %s.") % (now.project.stop_reason or _("done"))
        case ProjectState.DRAFT:
            return "not_started", _("The project has not been started yet.")
        case ProjectState.RUNNING if now.dead_jobs:
            failed = now.dead_jobs[0].kind.value
            return "failed", _("A %s job failed. Somebody has to look at it on the project page.") % failed
        case ProjectState.RUNNING:
            return _machine_at_work(standing)


def _machine_at_work(standing: Standing) -> tuple[str, str]:
    now = standing.overview
    done = f" ({_how_far(standing.progress)})" if standing.progress else ""
    if now.round is None:
        return "preparing", _("The images are being prepared%s.") % done
    if now.round.state is RoundState.TRAINING:
        return "training", _("The model is training%s.") % done
    if now.round.state is RoundState.SCORING:
        return "scoring", _("The model is looking at the pool%s.") % done
    if now.round.state is RoundState.SELECTING:
        return "selecting", _("The next images are being chosen.")
    if now.tasks.leased:
        return "held", ""
    if now.tasks.open:
        return (
            "passed_on",
            _images(now.tasks.open) + _(" left: passed on by you, or wanted later by somebody else."),
        )
    return "moving_on", _("Every image of this round is answered: the next round is about to begin.")


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 50:
        return _(", about %s seconds left") % max(10, 10 * round(seconds / 10))
    minutes = max(1, round(seconds / 60))
    return ngettext(", about %s minute left", ", about %s minutes left", minutes) % minutes


def _by_others(held: int, next_return: datetime) -> str:
    tasks = ngettext("%s task is held by others", "%s tasks are held by others", held) % held
    return tasks + _(", the next returns by %s UTC.") % f"{next_return:%H:%M}"


def _standing_still(standing: Standing) -> Narration:
    now = standing.overview
    if now.project.state is ProjectState.FINISHED:
        reason = now.project.stop_reason
        why = _("It met its stopping rule: %s.") % reason if reason else _("It is done.")
        return Narration(headline=_("Finished"), why=why)
    if now.project.state is ProjectState.PAUSED:
        why = _("No tasks are handed out and no jobs start. Answers to tasks that people hold are still taken.")
        return Narration(headline=_("Paused"), why=why)
    if now.images.total == 0:
        return Narration(headline=_("Waiting for images"), why=_("Upload images to the pool, then start the project."))
    why = _images(now.images.total) + _(" in the pool. Start the project to ask for the first labels.")
    return Narration(headline=_("Ready to start"), why=why)


def _in_round(standing: Standing, state: RoundState) -> Narration:
    now = standing.overview
    settings = now.project.settings
    rolling = settings.mode is RoundMode.ROLLING
    meanwhile = _("People go on labelling the queue meanwhile.") if rolling else _("Labelling goes on after it.")
    if state is RoundState.TRAINING:
        return Narration(headline=_("Training the model"), why=_("It learns from every label so far. %s") % meanwhile)
    if state is RoundState.SCORING:
        why = _of(standing.progress) + _("The new model looks at every image.")
        return Narration(headline=_("Scoring the pool"), why=why)
    if state is RoundState.SELECTING:
        first = now.round is not None and now.round.number == 0
        how = _("at random, as nothing is known yet") if first else _("with the strategy %s") % settings.strategy
        if now.project.labelling_rest and not first:
            how = _("by how unsure the model is, as all that is left will be asked")
        return Narration(headline=_("Choosing the next images"), why=_("They are picked %s.") % how)
    if state is RoundState.DONE:
        return Narration(headline=_("Between rounds"), why=_("The next round begins in a moment."))
    if now.project.labelling_rest:
        why = _of(standing.progress) + _("The most uncertain come first. No more models are trained.")
        return Narration(headline=_("People are labelling the rest"), why=why)
    first_round = now.round is not None and now.round.number == 0
    after = (
        _("With the last, the first model is trained.")
        if first_round
        else _("With the last, the model is trained again.")
    )
    return Narration(headline=_("People are labelling"), why=_of(standing.progress) + after)


def _of(progress: Progress | None) -> str:
    if progress is None or progress.total is None:
        return ""
    text = _("%s of %s labels are in. ") if progress.unit == "labels" else _("%s of %s shards are done. ")
    return text % (progress.done, progress.total)


def _images(count: int) -> str:
    return ngettext("%s image", "%s images", count) % f"{count:,}"
