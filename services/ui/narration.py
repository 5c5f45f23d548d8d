"""What happens now and why, in sentences for a person: on the project page, and to who waits for the next image."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from services.ui.standing import Progress, Standing
from shared.domain import ProjectState, RoundMode, RoundState


class Narration(BaseModel):
    """``headline`` is a few words, ``why`` a sentence or two."""

    headline: str
    why: str


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
            headline=f"Stopped by a failed {job.kind.value} job",
            why="It failed for good; its error is below. Once the cause is gone, `winnow requeue` runs it again.",
        )
    if now.project.state is not ProjectState.RUNNING:
        return _standing_still(standing)
    if now.round is None:
        return Narration(
            headline="Preparing the images",
            why=f"{_of(standing.progress)}Every image is decoded once; the first questions follow.",
        )
    return _in_round(standing, now.round.state)


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
    by_others = f"{_held(held)} held by others, the next returns by {next_return:%H:%M} UTC." if next_return else ""
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
            return "paused", "The project is paused."
        case ProjectState.FINISHED:
            return "finished", f"The project is finished: {now.project.stop_reason or 'done'}."
        case ProjectState.DRAFT:
            return "not_started", "The project has not been started yet."
        case ProjectState.RUNNING if now.dead_jobs:
            failed = now.dead_jobs[0].kind.value
            return "failed", f"A {failed} job failed. Somebody has to look at it on the project page."
        case ProjectState.RUNNING:
            return _machine_at_work(standing)


def _machine_at_work(standing: Standing) -> tuple[str, str]:
    now = standing.overview
    done = f" ({round(100 * standing.progress.share)}%{_left(standing.progress.left_s)})" if standing.progress else ""
    if now.round is None:
        return "preparing", f"The images are being prepared{done}."
    if now.round.state is RoundState.TRAINING:
        return "training", f"The model is training{done}."
    if now.round.state is RoundState.SCORING:
        return "scoring", f"The model is looking at the pool{done}."
    if now.round.state is RoundState.SELECTING:
        return "selecting", "The next images are being chosen."
    if now.tasks.leased:
        return "held", ""
    if now.tasks.open:
        return (
            "passed_on",
            f"{_many(now.tasks.open, 'image')} left: passed on by you, or wanted later by somebody else.",
        )
    return "moving_on", "Every image of this round is answered: the next round is about to begin."


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 50:
        return f", about {max(10, 10 * round(seconds / 10))} seconds left"
    minutes = max(1, round(seconds / 60))
    return f", about {minutes} minute{'' if minutes == 1 else 's'} left"


def _held(count: int) -> str:
    return "1 task is" if count == 1 else f"{count} tasks are"


def _standing_still(standing: Standing) -> Narration:
    now = standing.overview
    if now.project.state is ProjectState.FINISHED:
        why = f"It met its stopping rule: {now.project.stop_reason}." if now.project.stop_reason else "It is done."
        return Narration(headline="Finished", why=why)
    if now.project.state is ProjectState.PAUSED:
        why = "No tasks are handed out and no jobs start. Answers to tasks that people hold are still taken."
        return Narration(headline="Paused", why=why)
    if now.images.total == 0:
        return Narration(headline="Waiting for images", why="Upload images to the pool, then start the project.")
    why = f"{_many(now.images.total, 'image')} in the pool. Start the project to ask for the first labels."
    return Narration(headline="Ready to start", why=why)


def _in_round(standing: Standing, state: RoundState) -> Narration:
    now = standing.overview
    settings = now.project.settings
    rolling = settings.mode is RoundMode.ROLLING
    meanwhile = "People go on labelling the queue meanwhile." if rolling else "Labelling goes on after it."
    if state is RoundState.TRAINING:
        return Narration(headline="Training the model", why=f"It learns from every label so far. {meanwhile}")
    if state is RoundState.SCORING:
        why = f"{_of(standing.progress)}The new model looks at every image."
        return Narration(headline="Scoring the pool", why=why)
    if state is RoundState.SELECTING:
        first = now.round is not None and now.round.number == 0
        how = "at random, as nothing is known yet" if first else f"with the strategy {settings.strategy}"
        if now.project.labelling_rest and not first:
            how = "by how unsure the model is, as all that is left will be asked"
        return Narration(headline="Choosing the next images", why=f"They are picked {how}.")
    if state is RoundState.DONE:
        return Narration(headline="Between rounds", why="The next round begins in a moment.")
    if now.project.labelling_rest:
        why = f"{_of(standing.progress)}The most uncertain come first. No more models are trained."
        return Narration(headline="People are labelling the rest", why=why)
    after = "the first model is trained" if now.round and now.round.number == 0 else "the model is trained again"
    return Narration(headline="People are labelling", why=f"{_of(standing.progress)}With the last, {after}.")


def _of(progress: Progress | None) -> str:
    if progress is None or progress.total is None:
        return ""
    return f"{progress.done} of {progress.total} {progress.unit} are {'in' if progress.unit == 'labels' else 'done'}. "


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
