"""An upgrade while people work: the version before the newest migration, then this one, over the same data."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db.migrate import migrations
from tests.e2e.composed import ROOT, UP_S, Composed, compose_command, require_images
from tests.e2e.running import PASSWORD, assert_nothing_lost_or_doubled, digits_project, project_state
from tests.servers import Unavailable
from tests.waiting import wait_for
from winnow.oracle import Oracle

LOOP_S = 600.0


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def commit_before() -> str:
    """The last commit that knew all migrations but the newest: what is deployed somewhere may be as old as that."""
    now = [f"shared/db/migrations/{one.name}" for one in migrations()]
    for commit in git("log", "--format=%H", "--", "shared/db/migrations").splitlines():
        then = git("ls-tree", "--name-only", commit, "shared/db/migrations/").splitlines()
        known = [path for path in then if path.endswith(".sql")]
        if known != now and known == now[: len(known)]:
            return commit
    raise Unavailable("no commit is older than the newest migration")


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The tree of the version before."""
    try:
        compose_command()
        require_images()
        commit = commit_before()
        tree = tmp_path / "before"
        tree.mkdir()
        archive = tmp_path / "before.tar"
        git("archive", "--output", str(archive), commit)
    except Unavailable as reason:
        pytest.skip(str(reason))
    subprocess.run(["tar", "-xf", archive, "-C", tree], check=True)
    return tree


@pytest.fixture
def stack(before: Path, tmp_path: Path) -> Iterator[Composed]:
    composed = Composed(tmp_path / "stack", source=before, version="before")
    composed.make_secrets()
    try:
        composed.up()
        yield composed
    finally:
        composed.try_compose("down", "--volumes", "--remove-orphans")


def test_nothing_is_lost_and_nobody_waits(stack: Composed) -> None:
    project = digits_project(stack, pool=400, holdout=100, initial=40, batch_size=40, label_budget=200)
    stack.add_user("ann", PASSWORD)
    stack.become(ROOT, "after")
    stack.compose("build", "migrate", "api", "ui", "trainer", "scorer", seconds=UP_S)  # nothing of it runs yet

    annotator = Oracle(stack.ui_url, "ann", PASSWORD, project.id, project.truth, ahead=10)
    done = threading.Event()
    thread = annotator.in_thread(done.is_set)
    wait_for(lambda: annotator.answered >= 40, "the first round", LOOP_S)

    stack.make_secrets()
    stack.compose("up", "-d", "--no-deps", "--force-recreate", "rabbitmq")
    stack.compose("up", "-d", "--no-deps", "migrate")
    newest = migrations()[-1].number
    wait_for(
        lambda: stack.rows("SELECT max(number) AS number FROM schema_migrations")[0]["number"] == newest,
        "the migration",
    )

    def trained_by_the_old() -> bool:
        after = f"(SELECT applied_at FROM schema_migrations WHERE number = {newest})"
        return bool(stack.rows(f"SELECT id FROM jobs WHERE kind = 'train' AND state = 'done' AND started_at > {after}"))

    wait_for(trained_by_the_old, "a training by the old trainer on the new schema", LOOP_S)
    answered = annotator.answered
    assert 40 < answered < 200, "the old services go on while the schema is newer than they are"

    stack.compose("up", "-d", seconds=300)
    stack.wait_healthy()
    images = {
        stack.inspect(one)["Config"]["Image"] for service in ("api", "scorer") for one in stack.containers(service)
    }
    assert images == {"winnow-web:after", "winnow-ml:after"}
    wait_for(lambda: project_state(stack, project) == "finished", "the project to finish", LOOP_S)
    done.set()
    thread.join(60)
    assert annotator.answered == 200
    assert_nothing_lost_or_doubled(stack, project, 200)
    assert stack.rows("SELECT kind, error FROM jobs WHERE state = 'dead'") == []
