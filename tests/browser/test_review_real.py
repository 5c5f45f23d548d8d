"""The review page beside the four real services: an annotator errs, a model learns from that, the page shows where."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.conftest import WAIT_MS
from tests.e2e.running import PASSWORD, digits_project, oracle, running
from tests.e2e.test_loop import LOOP_S, local_env
from tests.waiting import wait_for

LABELS, HOLDOUT = 160, 120


def test_wrong_answers_are_found_and_mended(chromium: Browser, migrated_database_url: str, tmp_path: Path) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        project = digits_project(
            stack,
            pool=300,
            holdout=HOLDOUT,
            initial=LABELS,
            shard_size=300,
            max_rounds=1,
            recipe={"folds": 5, "min_steps": 120},
        )
        errs = random.Random(3)
        said = {one: name if errs.random() > 0.1 else str((int(name) + 5) % 10) for one, name in project.truth.items()}
        annotator = oracle(stack, replace(project, truth=said), "ann")
        annotator.in_thread(lambda: annotator.answered >= LABELS)

        def finished() -> bool:
            stack.processes.tend()
            return bool(stack.rows("SELECT 1 AS done FROM projects WHERE state = 'finished'"))

        wait_for(finished, "a round", LOOP_S)

        def wrong() -> set[int]:
            rows = stack.rows(
                "SELECT l.image_id, encode(i.sha256, 'hex') AS sha256, c.name FROM labels l "
                "JOIN images i ON i.id = l.image_id JOIN classes c ON c.id = l.class_id"
            )
            return {row["image_id"] for row in rows if project.truth[row["sha256"]] != row["name"]}

        before = wrong()
        context = chromium.new_context(base_url=stack.ui_url, viewport={"width": 1280, "height": 800}, locale="en-GB")
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto("/sign-in")
        page.get_by_label("User name").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Handwritten digits").first.click()
        page.get_by_role("link", name="Review").click()
        expect(page.locator("#standing")).to_contain_text(f"It had not been told {LABELS + HOLDOUT} of these labels.")
        page.get_by_role("link", name="Likely wrong").click()
        expect(page.locator("#shots .tile").first).to_be_visible()
        ids = [int(one) for one in page.locator("#shots .tile").evaluate_all("all => all.map(one => one.dataset.shot)")]
        found = before & set(ids)
        assert len(found) > len(before) / 2, f"{len(found)} of {len(before)} wrong labels are among {len(ids)} in doubt"
        assert len(found & set(ids[: len(before)])) > len(found) / 2, "and they lead the list"
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        expect(page.locator("#sent")).to_have_text("Every decision is saved")
        assert len(wrong()) < len(before) / 2
        print(f"{len(before)} wrong, {len(ids)} in doubt, {len(found)} of these wrong, {len(wrong())} wrong afterwards")
        context.close()
