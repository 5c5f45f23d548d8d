"""Images in and labels out, with the ``winnow`` command against running services."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

from typer.testing import CliRunner

from shared.errors import Invalid
from tests.e2e.running import Running, running
from tests.e2e.test_loop import local_env
from winnow.cli import app
from winnow.datasets import write_digits


def winnow(stack: Running, *arguments: str) -> str:
    place = ["--url", stack.api_url, "--key", stack.api_key]
    result = CliRunner().invoke(app, [*arguments, *place], catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_is_imported_comes_out_again(migrated_database_url: str, tmp_path: Path) -> None:
    digits = write_digits(tmp_path / "digits", test=200)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.png").write_bytes(b"not a picture")
    (photos / "digit.png").write_bytes(next((digits / "train" / "7").iterdir()).read_bytes())
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack:
        said = winnow(stack, "import", str(digits), "--project", "digits", "--with-labels")
        assert "1797 stored, 0 already there, 0 rejected, 1797 labels" in said
        again = winnow(stack, "import", str(photos), "--project", "digits")
        assert "0 stored, 1 already there, 1 rejected" in again and "broken.png" in again
        refused = CliRunner().invoke(
            app, ["import", str(photos), "--project", "new", "--url", stack.api_url, "--key", stack.api_key]
        )
        assert isinstance(refused.exception, Invalid), "a new project needs its classes"

        winnow(stack, "export", "digits", "--out", str(tmp_path / "out"))
        with (tmp_path / "out" / "digits-labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 1797
        assert {row["source"] for row in rows} == {"import"}
        assert sum(row["split"] == "holdout" for row in rows) == 200
        with zipfile.ZipFile(tmp_path / "out" / "digits-images.zip") as archive:
            assert archive.testzip() is None
            names = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(names) == 1797
        assert {name.split("/")[0] for name in names} == {str(n) for n in range(10)}
        winnow(stack, "export", "digits", "--wait", "--out", str(tmp_path / "prepared"))
        with zipfile.ZipFile(tmp_path / "prepared" / "digits-images.zip") as archive:
            assert archive.testzip() is None and len(archive.namelist()) == 1799
        assert "0 job(s) queued again" in winnow(stack, "requeue", "digits")
