"""The data page over HTTP: uploads with a session, what imports remember, exports, versions."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db import images, imports, labels
from shared.db.imports import ImportId
from shared.domain import Split
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.integration.api_support import picture
from tests.integration.ui_support import ELSEWHERE, PAGE, Ui, open_ui, text_of
from tests.world import World


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path, max_file_bytes=50_000) as opened:
        yield opened


@pytest.fixture
def draft(ui: Ui) -> World:
    return hang(ui.system, [], ["cat", "dog"], initial=4)


def send(ui: Ui, world: World, *files: tuple[str, bytes], query: str = "", **headers: str) -> Any:
    parts = [("files", (name, data, "image/png")) for name, data in files]
    return ui.ann.post(f"/projects/{world.id}/data/upload{query}", files=parts, headers=headers)


def counts(ui: Ui, world: World) -> tuple[int, int]:
    with ui.system.database.transaction() as tx:
        found = images.counts(tx, world.id)
    return found.total, found.holdout


def brought(ui: Ui, world: World) -> list[imports.Import]:
    with ui.system.database.transaction() as tx:
        return imports.page(tx, world.id)


def test_every_file_has_its_own_outcome(ui: Ui, draft: World) -> None:
    good = picture(1)
    answer = send(ui, draft, ("a.png", good), ("b.png", b"no image"), ("again.png", good), ("big.bmp", b"x" * 60_000))
    results = answer.json()["results"]
    assert [one["status"] for one in results] == ["stored", "rejected", "duplicate", "rejected"]
    assert "not an image" in results[1]["reason"] and "the limit is 50,000" in results[3]["reason"]
    (one,) = brought(ui, draft)
    assert (one.stored, one.duplicates, one.rejected) == (1, 1, 2)
    assert [name for name, _ in one.rejects] == ["b.png", "big.bmp"]
    assert ui.events(draft.id)[0].kind == "images.uploaded"


def test_files_go_where_they_are_meant_to_and_come_with_their_class(ui: Ui, draft: World) -> None:
    send(ui, draft, ("a.png", picture(1)), query="?split=holdout&class=dog")
    assert counts(ui, draft) == (1, 1)
    with ui.system.database.transaction() as tx:
        (image,) = images.page(tx, draft.id)
        label = labels.of_image(tx, image.id)
    assert label is not None and label.name == "dog" and image.split is Split.HOLDOUT


def test_a_series_is_one_import_with_its_progress(ui: Ui, draft: World) -> None:
    begun = ui.ann.post(f"/projects/{draft.id}/data/imports", json={"expected": 3, "split": "pool"})
    number = begun.json()["import_id"]
    for seed in (1, 2):
        send(ui, draft, (f"{seed}.png", picture(seed)), query=f"?import={number}")
    page = text_of(ui.ann.get(f"/projects/{draft.id}/data").text)
    assert "under way" in page and "2 of 3 files" in page
    send(ui, draft, ("3.png", b"broken"), query=f"?import={number}")
    assert ui.ann.post(f"/projects/{draft.id}/data/imports/{number}/end").status_code == 204
    (one,) = brought(ui, draft)
    assert (one.stored, one.rejected, one.ended_at is None) == (2, 1, False)
    assert [event.kind for event in ui.events(draft.id)] == ["images.uploaded", "import.announced"]
    assert "broken" not in ui.ann.get(f"/projects/{draft.id}/data").text
    assert "3.png" in ui.ann.get(f"/projects/{draft.id}/data/imports/{number}").text


def test_an_import_that_fell_silent_is_said_to_have_broken_off(ui: Ui, draft: World) -> None:
    ui.ann.post(f"/projects/{draft.id}/data/imports", json={"expected": 3, "split": "pool"})
    with ui.system.ledger.transaction() as tx:
        tx.run("UPDATE imports SET heard_at = now() - interval '1 hour'")
    assert "broken off" in text_of(ui.ann.get(f"/projects/{draft.id}/data").text)


def test_a_form_without_a_script_leads_to_what_became_of_its_files(ui: Ui, draft: World) -> None:
    answer = send(ui, draft, ("a.png", picture(1)), ("b.png", b"no image"), query="?split=pool", **PAGE)
    assert answer.status_code == 303
    page = text_of(ui.ann.get(answer.headers["location"]).text)
    assert "Refused, and why" in page and "b.png" in page and "not an image" in page


@pytest.mark.parametrize(
    ("query", "status"),
    [("?split=attic", 422), ("?class=horse", 422), ("?import=999", 404), ("?import=x", 422)],
)
def test_an_upload_that_makes_no_sense_is_refused_and_nothing_is_stored(
    ui: Ui, draft: World, query: str, status: int
) -> None:
    assert send(ui, draft, ("a.png", picture(1)), query=query).status_code == status
    assert counts(ui, draft) == (0, 0)


def test_what_is_no_form_is_refused(ui: Ui, draft: World) -> None:
    assert ui.ann.post(f"/projects/{draft.id}/data/upload", content=b"x").status_code == 415
    assert ui.ann.post(f"/projects/{draft.id}/data/imports", json={"expected": 0}).status_code == 422


def test_an_import_of_another_project_or_person_is_out_of_reach(ui: Ui, draft: World) -> None:
    other = hang(ui.system, [], ["x", "y"], name="other")
    with ui.system.database.transaction() as tx:
        theirs = imports.announce(tx, draft.id, "user:77", Split.POOL, 3)
        elsewhere = imports.announce(tx, other.id, "user:1", Split.POOL, 3)
    assert send(ui, draft, ("a.png", picture(1)), query=f"?import={theirs.id}").status_code == 409
    assert send(ui, draft, ("a.png", picture(1)), query=f"?import={elsewhere.id}").status_code == 404
    for number in (theirs.id, elsewhere.id, ImportId(999)):
        assert ui.ann.post(f"/projects/{draft.id}/data/imports/{number}/end").status_code == 404
    assert ui.ann.get(f"/projects/{draft.id}/data/imports/{elsewhere.id}").status_code == 404


def test_exports_are_downloads_and_on_record(ui: Ui) -> None:
    world = open_for_labelling(hang(ui.system, digits(12), ["x", "y"], initial=4))
    world.answer(3)
    table = ui.ann.get(f"/projects/{world.id}/data/export.csv")
    assert table.text.count("\n") == 13 and "attachment" in table.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(ui.ann.get(f"/projects/{world.id}/data/export.zip").content))
    assert len([name for name in archive.namelist() if name.startswith("x/")]) == 3
    assert [event.data for event in ui.events(world.id)[:2]] == [{"form": "zip"}, {"form": "csv"}]
    assert ui.ann.get(f"/projects/{world.id}/data/export.exe").status_code == 422
    assert ui.ann.get("/projects/999/data/export.csv").status_code == 404


def test_each_model_names_the_version_of_the_labels_it_learnt_from(ui: Ui) -> None:
    world = open_for_labelling(hang(ui.system, digits(12), ["x", "y"], initial=4))
    world.answer(4)
    world.system.rounds.nudge(world.id)
    world.do_train()
    page = ui.ann.get(f"/projects/{world.id}/data").text
    assert f"/projects/{world.id}/models/1" in page and '<code title="v">' in page


def test_strangers_and_other_sites_are_refused(ui: Ui, draft: World) -> None:
    stranger, file = ui.stranger(), {"files": ("a.png", picture(1), "image/png")}
    assert stranger.post(f"/projects/{draft.id}/data/upload", files=file).status_code == 401
    assert stranger.get(f"/projects/{draft.id}/data/export.csv").status_code == 303
    for path in ("upload", "imports", "imports/1/end"):
        assert ui.ann.post(f"/projects/{draft.id}/data/{path}", headers=ELSEWHERE).status_code == 403
    assert counts(ui, draft) == (0, 0)
