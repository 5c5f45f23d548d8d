"""Rules of the ui that need no server: where a sign-in may lead, who may post, which key is whose, what is said."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.ui.assets import STATIC
from services.ui.hotkeys import with_hotkeys
from services.ui.narration import narrate, wait_for_image
from services.ui.security import is_same_origin
from services.ui.sessions import local_path
from services.ui.standing import Progress, Standing
from services.ui.state import accuracy
from shared.autolabelling import AutoLabels
from shared.db.images import ImageCounts
from shared.db.labels import LabelCounts
from shared.db.tasks import LiveCounts
from shared.domain import (
    Class,
    ClassId,
    Job,
    JobId,
    JobKind,
    JobState,
    Project,
    ProjectId,
    ProjectSettings,
    ProjectState,
    Round,
    RoundId,
    RoundState,
)
from shared.overview import Overview
from shared.selection.autolabel import audit

NOW = datetime(2026, 3, 1, 10, 42, tzinfo=UTC)


@pytest.mark.parametrize("path", ["/", "/projects/3/label", "/projects?after=7", "/a//b"])
def test_a_sign_in_leads_to_pages_of_this_service(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "https://evil.test",
        "//evil.test",
        "/\\evil.test",
        "\\/evil.test",
        "/\t/evil.test",
        " //evil.test",
        "evil",
        "javascript:alert(1)",
        "/\n/evil.test",
        "/\x7f/evil.test",
    ],
)
def test_a_sign_in_never_leads_elsewhere(path: str) -> None:
    assert local_path(path) == "/"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "w.test"}, True),
        ({"host": "w.test", "origin": "https://w.test"}, True),
        ({"host": "w.test:8080", "origin": "http://w.test:8080"}, True),
        ({"host": "w.test", "origin": "https://evil.test"}, False),
        ({"host": "w.test", "origin": "null"}, False),
        ({"host": "w.test", "sec-fetch-site": "same-origin", "origin": "https://w.test"}, True),
        ({"host": "w.test", "sec-fetch-site": "cross-site"}, False),
        ({"host": "w.test", "sec-fetch-site": "same-site", "origin": "https://other.w.test"}, False),
    ],
)
def test_only_this_services_own_pages_may_post(headers: dict[str, str], allowed: bool) -> None:
    assert is_same_origin(headers) is allowed


def classes(hotkeys: list[str | None]) -> list[Class]:
    return [
        Class(id=ClassId(i), project_id=ProjectId(1), position=i, name=f"c{i}", colour="#000000", hotkey=key)
        for i, key in enumerate(hotkeys)
    ]


def test_classes_after_the_ninth_get_the_keys_that_are_left() -> None:
    twenty = classes([*"123456789", *[None] * 11])
    keys = [one.hotkey for one in with_hotkeys(twenty)]
    assert keys[9:] == ["0", *[f"shift+{n}" for n in range(2, 10)], None, None]


def test_a_key_that_a_class_has_is_not_given_to_another() -> None:
    ten = classes([*"012345678", None])
    assert with_hotkeys(ten)[9].hotkey == "shift+1"


def test_accuracy_is_unknown_without_a_holdout() -> None:
    assert accuracy({"labels": 10}) is None
    measured = accuracy({"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95, "n": 50})
    assert measured is not None and (measured.low, measured.high, measured.n) == (0.8, 0.95, 50)


def standing(
    state: ProjectState = ProjectState.RUNNING,
    step: RoundState | None = RoundState.LABELLING,
    *,
    leased: int = 0,
    share: float | None = None,
    dead: bool = False,
    stop_reason: str | None = None,
) -> Standing:
    project = Project(
        id=ProjectId(1), name="p", state=state, settings=ProjectSettings(), stop_reason=stop_reason, created_at=NOW
    )
    turn = None
    if step is not None:
        turn = Round(
            id=RoundId(1),
            project_id=project.id,
            number=2,
            state=step,
            checkpoint_id=None,
            labels=10,
            labels_at=NOW,
            started_at=NOW,
            finished_at=None,
        )
    failed = Job(
        id=JobId(1),
        kind=JobKind.TRAIN,
        project_id=project.id,
        round_id=None,
        payload={},
        state=JobState.DEAD,
        attempts=5,
        lease_until=None,
        fence=5,
        worker=None,
        progress=0,
        detail={},
        error="boom",
        created_at=NOW,
    )
    overview = Overview(
        project=project,
        classes=[],
        images=ImageCounts(total=100, holdout=0, unreadable=0, ready=100),
        labels=LabelCounts(pool=10, trainable=10, holdout=0, human=10),
        labels_by_class=[],
        tasks=LiveCounts(open=0, leased=leased, next_expiry=NOW if leased else None),
        round=turn,
        curve=[],
        shards_waiting=1,
        active_jobs=[],
        dead_jobs=[failed] if dead else [],
        auto_labels=AutoLabels(on=False, labels=0, asked=0, audited=audit([], 0.99), failed=None),
        evidence=None,
    )
    return Standing(overview=overview, history=[], progress=None if share is None else Progress(share=share), queued=0)


@pytest.mark.parametrize(
    ("now", "reason", "message"),
    [
        (standing(ProjectState.PAUSED), "paused", "The project is paused."),
        (standing(ProjectState.DRAFT, None), "not_started", "The project has not been started yet."),
        (
            standing(ProjectState.FINISHED, RoundState.DONE, stop_reason="label budget: 50 of 50 labels"),
            "finished",
            "The project is finished: label budget: 50 of 50 labels.",
        ),
        (standing(step=RoundState.TRAINING, share=0.62), "training", "The model is training (62%)."),
        (standing(step=None, share=0.5), "preparing", "The images are being prepared (50%)."),
        (
            standing(leased=12),
            "held",
            "12 tasks are held by others, the next returns by 10:42 UTC.",
        ),
        (
            standing(step=RoundState.SCORING, share=0.25, leased=1),
            "scoring",
            "The model is looking at the pool (25%). 1 task is held by others, the next returns by 10:42 UTC.",
        ),
        (standing(step=RoundState.SELECTING), "selecting", "The next images are being chosen."),
    ],
)
def test_who_waits_is_told_why_with_facts(now: Standing, reason: str, message: str) -> None:
    waiting = wait_for_image(now)
    assert (waiting.reason, waiting.message) == (reason, message)


def test_a_failed_job_is_what_everybody_is_told_of() -> None:
    stopped = standing(step=RoundState.TRAINING, dead=True)
    assert wait_for_image(stopped).reason == "failed"
    assert narrate(stopped).headline == "Stopped by a failed train job"


def test_every_step_of_a_round_has_a_headline_of_its_own() -> None:
    headlines = {narrate(standing(step=step)).headline for step in RoundState}
    assert len(headlines) == len(RoundState)


def test_a_project_without_images_says_what_to_do_first() -> None:
    draft = standing(ProjectState.DRAFT, None)
    empty = replace(draft.overview, images=ImageCounts(total=0, holdout=0, unreadable=0, ready=0))
    assert "Upload images" in narrate(replace(draft, overview=empty)).why
    assert narrate(draft).headline == "Ready to start"


def test_scripts_import_only_what_others_export() -> None:
    """A browser finds out when the page is opened, and then runs nothing of it."""
    texts = {path.name: path.read_text() for path in (STATIC / "js").glob("*.js")}
    declared = re.compile(r"^export (?:async )?(?:const|let|class|function\*?) (\w+)", re.MULTILINE)
    offered = {name: set(declared.findall(text)) for name, text in texts.items()}
    wanted = re.compile(r"^import \{([^}]*)\} from \"\./([^\"]+)\"", re.MULTILINE)
    missing = [
        f"{name}: {one.split(' as ')[0].strip()} of {source}"
        for name, text in texts.items()
        for names, source in wanted.findall(text)
        for one in names.split(",")
        if one.strip() and one.split(" as ")[0].strip() not in offered[source]
    ]
    assert missing == []
