"""The API's document and its settings agree with what stands behind them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from services.api.app import create_app
from services.api.parts import decode_cursor, encode_cursor
from shared.configuring import MeasureName, Settings, new_settings
from shared.domain import ProjectSettings
from shared.errors import Invalid
from shared.selection.registry import names
from shared.selection.uncertainty import MEASURES
from shared.settings import ApiSettings
from tests.world import open_system


@pytest.fixture
def document(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with open_system("postgresql://nobody@localhost/nowhere", tmp_path) as system:  # nothing here connects
        yield create_app(system, ApiSettings()).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_settings_left_out_have_the_same_defaults_everywhere() -> None:
    assert asdict(new_settings(Settings())) == asdict(ProjectSettings())


def test_the_strategies_that_can_be_chosen_are_those_that_exist() -> None:
    assert Settings.model_json_schema()["properties"]["strategy"]["enum"] == list(names())
    assert set(get_args(MeasureName)) == set(MEASURES)
    with pytest.raises(ValidationError, match="unknown strategy 'best'"):
        Settings(strategy="best")
    with pytest.raises(Invalid, match="no option alpha"):
        new_settings(Settings(strategy="margin", strategy_options={"alpha": 0.5}))


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"] and operation["description"], name
        assert set(operation["tags"]) <= known and len(operation["tags"]) == 1, name
        assert operation["security"] == [{"ApiKey": []}], name


def test_operations_have_short_names_of_their_own(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(ids)) == len(ids) > 15
    assert all(name.count("_") <= 3 for name in ids)


def test_every_error_is_shown_as_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        failures = {status: r for status, r in operation["responses"].items() if status >= "400"}
        assert {"401", "403", "422", "503"} <= set(failures), name
        for response in failures.values():
            assert list(response["content"]) == ["application/problem+json"], name
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_everything_that_is_referred_to_is_there(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    schemas = document["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in references(document)} <= set(schemas)
    assert "class" in schemas["PredictionOut"]["properties"]


def test_the_api_needs_neither_torch_nor_faiss() -> None:
    script = "import sys, services.api.__main__; print(*{'torch', 'torchvision', 'faiss'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""


@pytest.mark.parametrize("last", [0, 1, 2**63 - 1])
def test_a_cursor_leads_back_to_its_place(last: int) -> None:
    assert decode_cursor(encode_cursor(last)) == last


@pytest.mark.parametrize("cursor", ["", "MTI", "YWZ0ZXI6", "YWZ0ZXI6LTE", "%00"])
def test_anything_else_is_no_cursor(cursor: str) -> None:
    with pytest.raises(Invalid):
        decode_cursor(cursor)
