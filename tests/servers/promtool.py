"""promtool, which checks and tests what is written for Prometheus. Debian has it in its package ``prometheus``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.servers import Unavailable

PROGRAM = "promtool"


def find() -> str:
    """Raises ``Unavailable``."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise Unavailable("no promtool: as root on Debian, run python -m tests.servers.prepare")
    return found


def run(*arguments: str | Path, text: str = "") -> str | None:
    """What promtool complains of, of its arguments or of ``text`` on its input; None if it is content."""
    command = [find(), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    return None if done.returncode == 0 else done.stdout + done.stderr
