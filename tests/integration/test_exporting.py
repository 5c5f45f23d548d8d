"""Exports: everything is in them, nothing in them does harm, and none of it is whole in memory."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from shared import arrays
from shared.db import images, labels, projects, rounds
from shared.domain import ImageState, JobKind, NewImage, ProjectId, ProjectSettings
from shared.errors import NotFound
from shared.exporting import COLUMNS, Exporter
from shared.store.base import image_key, scores_prefix
from shared.system import System
from tests.integration.api_support import open_api
from tests.world import World, build, new_images, open_system

BESIDE_IMAGES = ("labels.csv", "models.json")


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


def table(system: System, project: ProjectId) -> list[dict[str, str]]:
    body = b"".join(Exporter(system.database, system.store).csv(project))
    return list(csv.DictReader(io.StringIO(body.decode("utf-8"), newline="")))


def archive(system: System, project: ProjectId) -> zipfile.ZipFile:
    body = b"".join(Exporter(system.database, system.store).zip(project))
    opened = zipfile.ZipFile(io.BytesIO(body))
    assert opened.testzip() is None
    return opened


def labelled_project(system: System, classes: Sequence[str], files: Sequence[tuple[str, str, str]]) -> ProjectId:
    """A project with files of (filename, format, class), each holding its own digest as content."""
    with system.database.transaction() as tx:
        project = projects.create(tx, "odd", list(classes), ProjectSettings())
        ids = {c.name: c.id for c in projects.classes(tx, project.id)}
        known = {}
        for filename, format_name, label in files:
            plain = new_images(1)[0]
            row = NewImage(sha256=plain.sha256, filename=filename, width=8, height=8, bytes=99, format=format_name)
            images.add(tx, project.id, [row])
            known[row.sha256] = ids[label]
            system.store.put_bytes(image_key(project.id, row.sha256), row.sha256.encode())
        labels.import_known(tx, project.id, known)
    return project.id


def labelled_world(system: System) -> tuple[World, int]:
    """Two shards; one human label; a model that has scored the first shard but not the second."""
    world = build(system, pool=4, shard_size=2, initial=1, batch_size=1, queue_factor=1)
    world.start()
    world.do_embed()
    world.do_embed()
    world.do_select()
    world.answer(1, world.user("bea"))
    world.do_train()
    with system.database.transaction() as tx:
        current = rounds.latest(tx, world.id)
        first = images.shards(tx, world.id)[0]
    assert current is not None and current.checkpoint_id is not None
    key = scores_prefix(world.id, current.checkpoint_id, first.id) + "probabilities.npy"
    arrays.save(system.store, key, np.array([[0.75, 0.25], [0.125, 0.875]], dtype=np.float32))
    world.do_score()
    world.do_score()
    return world, current.checkpoint_id


def test_every_image_has_a_row_that_tells_where_its_label_comes_from(system: System) -> None:
    world, checkpoint = labelled_world(system)
    rows = table(system, world.id)
    assert [row["image_id"] for row in rows] == [str(image.id) for image in world.images]
    assert tuple(rows[0]) == COLUMNS
    first = rows[0]
    assert first["sha256"] == world.images[0].sha256
    assert (first["label"], first["source"], first["annotator"]) == ("a", "human", "bea")
    assert (first["round"], first["strategy"], first["split"], first["state"]) == ("0", "random", "pool", "ready")
    assert first["labelled_at"].endswith("+00:00")
    assert (first["predicted"], first["confidence"], first["checkpoint"]) == ("a", "0.750000", str(checkpoint))
    assert (rows[1]["label"], rows[1]["predicted"], rows[1]["confidence"]) == ("", "b", "0.875000")


def test_an_image_that_was_not_scored_has_no_prediction(system: System) -> None:
    world, _ = labelled_world(system)
    rows = table(system, world.id)
    assert [row["predicted"] for row in rows] == ["a", "b", "", ""]
    assert [row["checkpoint"] for row in rows[2:]] == ["", ""]


def test_a_project_without_images_has_a_table_without_rows(system: System) -> None:
    assert table(system, build(system, pool=0).id) == []


def test_an_unknown_project_is_not_found_before_anything_is_sent(system: System) -> None:
    exporter = Exporter(system.database, system.store)
    for make in (exporter.csv, exporter.zip):
        with pytest.raises(NotFound):
            make(ProjectId(7))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|'/c calc'!A1.png", "'=cmd|'/c calc'!A1.png"),
        ("+SUM(A1).png", "'+SUM(A1).png"),
        ("@x.png", "'@x.png"),
        ("-1", "-1"),
        ('quo"te, and comma.png', 'quo"te, and comma.png'),
        ("写真.png", "写真.png"),
    ],
)
def test_no_text_is_a_formula_to_a_spreadsheet(system: System, text: str, cell: str) -> None:
    project = labelled_project(system, ["a", "b"], [(text, "PNG", "a")])
    assert [row["filename"] for row in table(system, project)] == [cell]


def test_the_archive_holds_the_labelled_images_in_folders_of_their_classes(system: System) -> None:
    files = [("one.png", "PNG", "heron"), ("two.jpg", "JPEG", "swan"), ("three.png", "PNG", "swan")]
    project = labelled_project(system, ["heron", "swan", "never"], files)
    rows = table(system, project)
    opened = archive(system, project)
    names = [f"{row['label']}/{row['image_id']}_{row['filename']}" for row in rows]
    assert sorted(opened.namelist()) == sorted(["labels.csv", "models.json", *names])
    for row, name in zip(rows, names, strict=True):
        assert opened.read(name) == row["sha256"].encode()
    inside = list(csv.DictReader(io.TextIOWrapper(opened.open("labels.csv"), "utf-8", newline="")))
    assert inside == rows


def test_an_image_without_a_label_is_only_in_the_table(system: System) -> None:
    world = build(system, pool=2)
    opened = archive(system, world.id)
    assert opened.namelist() == ["labels.csv", "models.json"]
    assert len(opened.read("labels.csv").splitlines()) == 3


def test_the_archive_tells_of_every_model_and_which_is_in_use(system: System) -> None:
    world = build(system, pool=4, initial=1, batch_size=1, mode="strict", arch="cnn_mnist")
    for image in world.images:
        system.store.put_bytes(image_key(world.id, image.sha256), b"image")
    world.start()
    world.do_embed()
    world.do_select()
    calibration = {"temperature": 1.5, "ece_before": 0.2, "ece_after": 0.05}
    for accuracy in (0.5, 0.75):
        world.answer(1)
        system.rounds.nudge(world.id)
        world.do_train(accuracy=accuracy, mode="scratch", calibration=calibration)
        world.do_score()
        world.do_select()
    with system.database.transaction() as tx:
        first, second = (point.checkpoint_id for point in rounds.curve(tx, world.id))
        rounds.promote(tx, world.id, first)
    told = json.loads(archive(system, world.id).read("models.json"))
    assert [one["checkpoint_id"] for one in told] == [first, second]
    assert [(one["round"], one["labels"], one["in_use"]) for one in told] == [(1, 1, True), (2, 2, False)]
    assert [one["metrics"]["accuracy"] for one in told] == [0.5, 0.75]
    assert {(one["arch"], one["mode"]) for one in told} == {("cnn_mnist", "scratch")}
    assert told[0]["metrics"]["calibration"] == calibration
    assert told[0]["promoted_at"].endswith("+00:00") and told[1]["promoted_at"] is None


def test_without_a_model_the_list_of_models_is_empty(system: System) -> None:
    assert json.loads(archive(system, build(system, pool=1).id).read("models.json")) == []


def test_figures_of_many_models_are_not_held_together(system: System) -> None:
    world, _ = labelled_world(system)
    large = "jsonb_build_object('confusion', repeat('x', 4000000))"
    with system.database.transaction() as tx:
        tx.run(f"UPDATE checkpoints SET metrics = {large}")
        for _ in range(12):
            tx.run(
                "WITH r AS (INSERT INTO rounds (project_id, number, state, labels) SELECT project_id, "
                "max(number) + 1, 'done', 1 FROM rounds WHERE project_id = %(id)s GROUP BY project_id RETURNING *) "
                "INSERT INTO checkpoints (project_id, round_id, key, sha256, arch, data_version, metrics) "
                f"SELECT project_id, id, 'k' || id, sha256(''), 'cnn', 'v', {large} FROM r",
                {"id": world.id},
            )
    with system.database.transaction() as tx:
        tx.run("DELETE FROM labels")
    tracemalloc.start()
    try:
        parts = Exporter(system.database, system.store).zip(world.id)
        sent = sum(len(chunk) for chunk in parts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 0, "it compresses well"
    assert peak < 24 << 20, "thirteen of them are over fifty megabytes"


def test_no_name_leads_out_of_the_archive_or_on_to_another(system: System) -> None:
    classes = ["../up", "a/b", "a:b", "A?B", "CON", "labels.csv", "models.json", "=sum", "...", "x" * 150]
    files = [(f"../../{n}.png", "PNG", name) for n, name in enumerate(classes)]
    project = labelled_project(system, classes, files)
    names = archive(system, project).namelist()
    assert len({name.lower() for name in names}) == len(classes) + 2
    for name in names:
        parts = name.split("/")
        assert len(parts) == (1 if name in BESIDE_IMAGES else 2)
        assert not {"", ".", "..", "con"} & {part.lower() for part in parts}
        assert not set('<>:"\\|?*') & set(name)
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert {"a_b", "a_b_2", "A_B_3", "_CON", "labels.csv_5", "models.json_6", "=sum", "class"} <= folders


@pytest.mark.parametrize(
    ("filename", "format_name", "ends"),
    [
        ("photo.txt", "PNG", "_photo.txt.png"),
        ("photo", "JPEG", "_photo.jpg"),
        ("photo.JPEG", "JPEG", "_photo.JPEG"),
        ("photo.png", "JPEG", "_photo.png.jpg"),
        ("scan.tif", "TIFF", "_scan.tif"),
        ("a/../b\n.gif", "GIF", "_a_.._b_.gif"),
        ("y" * 250 + ".png", "PNG", "y" * 146 + ".png"),
    ],
)
def test_the_extension_in_the_archive_says_what_the_file_is(
    system: System, filename: str, format_name: str, ends: str
) -> None:
    project = labelled_project(system, ["a", "b"], [(filename, format_name, "a")])
    names = [name for name in archive(system, project).namelist() if name not in BESIDE_IMAGES]
    assert len(names) == 1 and names[0].endswith(ends)


def test_an_archive_whose_image_is_gone_breaks_instead_of_passing_for_whole(system: System) -> None:
    project = labelled_project(system, ["a", "b"], [("a.png", "PNG", "a")])
    with system.database.transaction() as tx:
        image = images.page(tx, project)[0]
    system.store.delete(image_key(project, image.sha256))
    with pytest.raises(NotFound):
        b"".join(Exporter(system.database, system.store).zip(project))


def test_an_archive_of_100_mb_takes_a_fraction_of_that_in_memory(system: System) -> None:
    project = labelled_project(system, ["a", "b"], [(f"{n}.bmp", "BMP", "a") for n in range(25)])
    block = np.random.default_rng(0).bytes(4 << 20)
    with system.database.transaction() as tx:
        for image in images.page(tx, project):
            system.store.put_bytes(image_key(project, image.sha256), block)
    tracemalloc.start()
    try:
        sent = sum(len(chunk) for chunk in Exporter(system.database, system.store).zip(project))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 25 * len(block)
    assert peak < 12 << 20


def test_a_reader_who_takes_their_time_holds_no_connection(migrated_database_url: str, tmp_path: Path) -> None:
    with open_system(migrated_database_url, tmp_path, pool_size=1) as system:
        world = build(system, pool=5)
        exports = [Exporter(system.database, system.store).csv(world.id) for _ in range(3)]
        begun = [next(export) for export in exports]
        system.database.check()
        assert all(begin.startswith(b"image_id,sha256,") for begin in begun)


def test_exports_come_over_http_with_a_name_and_a_type(migrated_database_url: str, tmp_path: Path) -> None:
    with open_api(migrated_database_url, tmp_path) as api:
        world = build(api.system, pool=2)
        path = f"/v1/projects/{world.id}/export"
        as_csv, as_zip = api.client.get(f"{path}.csv"), api.client.get(f"{path}.zip")
        assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
        assert as_csv.headers["content-disposition"] == f'attachment; filename="project-{world.id}.csv"'
        assert len(as_csv.text.splitlines()) == 3
        assert as_zip.headers["content-type"] == "application/zip"
        assert zipfile.ZipFile(io.BytesIO(as_zip.content)).namelist() == ["labels.csv", "models.json"]
        assert api.client.get("/v1/projects/99/export.zip").status_code == 404


def test_an_unreadable_image_is_in_the_table_too(system: System) -> None:
    world = build(system, pool=2)
    world.start()
    job = world.next_job(JobKind.EMBED)
    with system.ledger.transaction() as tx:
        system.ledger.finish(tx, job)
        system.rounds.embedded(tx, job, job.payload["shard_id"], {world.images[0].id: "cut off"})
    assert {row["state"] for row in table(system, world.id)} == {ImageState.UNREADABLE, ImageState.READY}
