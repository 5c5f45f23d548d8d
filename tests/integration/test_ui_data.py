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
from tests.exporting import make
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


# Exports that are prepared


def prepare(ui: Ui, world: World, form: str = "zip") -> Any:
    return ui.ann.post(f"/projects/{world.id}/data/exports", data={"form": form})


def data_page(ui: Ui, world: World) -> str:
    return text_of(ui.ann.get(f"/projects/{world.id}/data").text)


def test_without_an_export_the_page_says_what_one_is(ui: Ui, draft: World) -> None:
    assert "An export is a frozen version" in data_page(ui, draft)


def test_an_export_is_prepared_listed_and_downloaded(ui: Ui) -> None:
    world = open_for_labelling(hang(ui.system, digits(12), ["x", "y"], initial=4))
    world.answer(3)
    asked = prepare(ui, world)
    assert asked.status_code == 303 and asked.headers["location"].endswith("/data#exports")
    assert "waits for its turn" in data_page(ui, world)
    file = f"/projects/{world.id}/data/exports/1/file"
    assert ui.ann.get(file).status_code == 409
    make(world)
    page = data_page(ui, world)
    assert "12 images, 3 of them labelled" in page and "Prepared for Ann Lee" in page
    answer = ui.ann.get(file)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert len([name for name in archive.namelist() if name.startswith("x/")]) == 3
    rest = ui.ann.get(file, headers={"Range": "bytes=100-", "If-Range": answer.headers["etag"]})
    assert rest.status_code == 206 and rest.content == answer.content[100:]
    told = [event.kind for event in ui.events(world.id) if event.kind.startswith("export.")]
    assert told == ["export.downloaded", "export.ready", "export.asked"], "the rest of a download is no other one"


def test_an_export_that_is_ready_is_deleted_on_purpose_only(ui: Ui, draft: World) -> None:
    prepare(ui, draft, "csv")
    make(draft)
    place = f"/projects/{draft.id}/data/exports/1"
    assert ui.ann.post(f"{place}/delete").status_code == 422
    assert ui.ann.post(f"{place}/delete", data={"confirmed": "1"}).status_code == 303
    assert ui.ann.get(f"{place}/file").status_code == 404
    assert "An export is a frozen version" in data_page(ui, draft)


def test_one_that_is_not_made_yet_is_given_up_without_a_question(ui: Ui, draft: World) -> None:
    prepare(ui, draft)
    assert ui.ann.post(f"/projects/{draft.id}/data/exports/1/delete").status_code == 303
    assert draft.queued() == []


def test_an_export_that_was_not_made_says_why(ui: Ui) -> None:
    world = open_for_labelling(hang(ui.system, digits(4), ["x", "y"], stored=False, initial=4))
    world.answer(2)
    prepare(ui, world)
    make(world)
    assert "It was not made: Permanent: something that belongs in the export is lost" in data_page(ui, world)


def test_who_does_not_manage_prepares_and_sees_no_export(ui: Ui, draft: World) -> None:
    assert prepare(ui, draft, "exe").status_code == 422
    stranger = ui.stranger()
    assert stranger.post(f"/projects/{draft.id}/data/exports", data={"form": "csv"}).status_code in (303, 401)
    assert ui.ann.post(f"/projects/{draft.id}/data/exports", headers=ELSEWHERE).status_code == 403
    assert draft.queued() == []
