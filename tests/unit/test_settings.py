"""What the environment says, and what is said of an environment that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import BusSettings, StoreSettings


def test_a_value_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("amqp://host\n")
    monkeypatch.setenv("WINNOW_BUS_URL_FILE", str(tmp_path / "url"))
    url = BusSettings().url
    assert url is not None and url.get_secret_value() == "amqp://host"


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_BUS_URL_FILE", "/nowhere/url")
    with pytest.raises(ValidationError, match=r"WINNOW_BUS_URL_FILE can't be read.*/nowhere/url"):
        BusSettings()


def test_an_error_does_not_repeat_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_STORE_KIND", "s3")  # and no endpoint
    monkeypatch.setenv("WINNOW_STORE_ACCESS_KEY", "hunter")
    monkeypatch.setenv("WINNOW_STORE_SECRET_KEY", "hunter2")
    with pytest.raises(ValidationError, match="WINNOW_STORE_ENDPOINT") as raised:
        StoreSettings()
    assert "hunter" not in str(raised.value)
