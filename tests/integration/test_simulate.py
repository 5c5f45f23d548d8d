"""The loop in one process, on files on disk: what it reports, that it repeats itself, and what data sets it takes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from shared.errors import Invalid
from shared.selection import catalog, registry
from winnow.datasets import open_dataset, write_digits
from winnow.options import SimulateOptions
from winnow.simulate import aulc, simulate


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """What is computed here is small, and other processes may hold the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("data") / "digits")


def options(data: Path, **changes: Any) -> SimulateOptions:
    small = SimulateOptions(
        data=data, image_size=8, channels=1, epochs=1, initial=40, batch=30, rounds=2, learning_rate=3e-3
    )
    return replace(small, **changes)


def png(value: int, size: int = 8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((size, size), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tiny_files(prefix: str = "") -> dict[str, bytes]:
    return {
        f"{prefix}{part}/{name}/{number}.png": png(value + number)
        for part in ("train", "test")
        for name, value in (("dark", 0), ("light", 200))
        for number in range(6)
    }


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    rounds = [{key: value for key, value in row.items() if not key.endswith("_s")} for row in result["rounds"]]
    return result | {"rounds": rounds}


@pytest.mark.parametrize("strategy", registry.names())
def test_every_strategy_runs_the_loop_and_reports_in_the_agreed_form(digits: Path, strategy: str) -> None:
    seen: list[dict[str, Any]] = []
    recipe = {"committee": 2} if catalog.entry(strategy).needs.members else {}
    result = simulate(options(digits, strategy=strategy, recipe=recipe), on_round=seen.append)
    assert list(result) == ["dataset", "arch", "mode", "strategy", "seed", "rounds", "aulc"]
    assert (result["dataset"], result["arch"], result["strategy"]) == ("digits", "cnn", strategy)
    assert result["rounds"] == seen
    for row in seen:
        assert set(row) == {"labels", "accuracy", "macro_f1", "per_class", "train_s", "score_s", "select_s"}
        assert set(row["per_class"]) == set("0123456789")
    assert [row["labels"] for row in seen] == [40, 70]
    assert seen[-1]["accuracy"] > 0.5
    assert json.loads(json.dumps(result)) == result


def test_the_same_seed_gives_the_same_run_and_every_strategy_starts_alike(digits: Path) -> None:
    first, again = (simulate(options(digits, strategy="margin")) for _ in range(2))
    assert without_times(first) == without_times(again)
    other = simulate(options(digits, strategy="random"))
    assert without_times(other)["rounds"][0] == without_times(first)["rounds"][0]


def test_how_the_pool_is_sharded_changes_nothing(digits: Path) -> None:
    whole, pieces = (simulate(options(digits, strategy="random", shard_size=size)) for size in (10_000, 97))
    assert without_times(whole) == without_times(pieces)


def test_it_ends_when_there_is_nothing_left_to_ask(tmp_path: Path) -> None:
    data = zipped(tmp_path / "tiny.zip", tiny_files())
    result = simulate(options(data, initial=7, batch=4, rounds=9))
    assert [row["labels"] for row in result["rounds"]] == [7, 11, 12]
    assert result["rounds"][-1]["accuracy"] == 1.0


def test_a_head_on_a_frozen_backbone_runs_from_a_weights_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet1_1.pth")
    data = zipped(tmp_path / "tiny.zip", tiny_files())
    head = options(
        data, arch="squeezenet1_1", mode="head", image_size=32, initial=4, batch=4, weights_dir=tmp_path, channels=3
    )
    result = simulate(head)
    assert [row["labels"] for row in result["rounds"]] == [4, 8]
    assert result["rounds"][-1]["accuracy"] == 1.0


def test_settings_that_cannot_work_are_refused(digits: Path) -> None:
    for wrong in ({"rounds": 0}, {"initial": 0}, {"strategy": "best"}, {"mode": "head"}, {"image_size": 4}):
        with pytest.raises(Invalid):
            simulate(options(digits, **wrong))


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    files = tiny_files() | {"train/dark/broken.png": b"no image"}
    with pytest.raises(Invalid, match=r"train/dark/broken\.png: the file is not an image"):
        simulate(options(zipped(tmp_path / "tiny.zip", files)))


def test_the_area_under_the_curve_is_the_mean_height() -> None:
    assert aulc([100, 200, 400], [0.5, 0.7, 0.7]) == pytest.approx((0.6 * 100 + 0.7 * 200) / 300)
    assert aulc([100], [0.4]) == 0.4


def test_the_digits_are_all_written_and_split_in_the_proportions_of_the_classes(digits: Path) -> None:
    with open_dataset(digits) as data:
        assert (len(data.train), len(data.test)) == (1297, 500)
        assert data.classes == tuple("0123456789")
        counts = np.bincount([item.label for item in data.test])
        assert counts.min() >= 48
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(data.read(item)))) for item in data.test])
    assert (pixels.shape, pixels.dtype) == ((500, 8, 8), np.uint8)
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("prefix", ["", "fruits/"])
def test_a_folder_and_a_zip_give_the_same_data_with_or_without_a_folder_around(tmp_path: Path, prefix: str) -> None:
    clutter = {f"{prefix}.DS_Store": b"", "__MACOSX/._train": b"", f"{prefix}README.txt": b"about"}
    archive = zipped(tmp_path / "fruits.zip", tiny_files(prefix) | clutter)
    with zipfile.ZipFile(archive) as whole:
        whole.extractall(tmp_path / "unpacked")
    with open_dataset(archive) as packed, open_dataset(tmp_path / "unpacked") as unpacked:
        assert packed.classes == unpacked.classes == ("dark", "light")
        assert packed.train == unpacked.train
        assert packed.test == unpacked.test
        assert [packed.read(item) for item in packed.train] == [unpacked.read(item) for item in unpacked.train]


def test_a_zip_with_paths_that_climb_out_writes_nothing_anywhere(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = zipped(inner / "evil.zip", tiny_files() | {"../../train/dark/evil.png": png(1), "/etc/evil": b""})
    with open_dataset(archive) as data:
        assert all(".." not in item.path for item in (*data.train, *data.test))
        assert len(data.train) == 12
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "evil.zip"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/b.png": png(1)}, "laid out otherwise .*found a at the top"),
        ({}, "laid out otherwise .*found nothing"),
        ({"train/a/1.png": png(1), "train/b/1.png": png(1)}, "no images under test/<class>/"),
        ({"train/1.png": png(1), "test/a/1.png": png(1)}, "no images under train/<class>/"),
        ({"train/a/1.png": png(1), "test/a/1.png": png(1)}, "single class 'a'"),
    ],
)
def test_another_layout_is_refused_with_what_was_expected(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        open_dataset(zipped(tmp_path / "odd.zip", files))


def test_what_is_neither_a_folder_nor_a_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no folder or"):
        open_dataset(tmp_path / "gone")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(Invalid, match="neither a folder nor a readable"):
        open_dataset(tmp_path / "text.zip")


def test_a_damaged_entry_of_a_zip_is_named(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "torn.zip", tiny_files())
    data = bytearray(archive.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 0xFF
    archive.write_bytes(data)
    with open_dataset(archive) as dataset, pytest.raises(Invalid, match=r"\.png can't be read from"):
        for item in (*dataset.train, *dataset.test):
            dataset.read(item)


def test_it_ends_once_the_model_is_unsure_of_few(digits: Path) -> None:
    told = simulate(options(digits, strategy="margin", rounds=9, until_unsure=0.5))["rounds"]
    assert 1 <= len(told) < 9
    assert told[-1]["unsure"] < 0.5 and all(row["unsure"] >= 0.5 for row in told[:-1])
    assert len(simulate(options(digits, strategy="margin", rounds=2, until_unsure=0.0))["rounds"]) == 2
