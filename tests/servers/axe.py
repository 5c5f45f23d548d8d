"""axe-core, which finds what keeps people from using a page. It comes from npm and is only ever used by tests.

``WINNOW_TEST_AXE`` may name another copy of ``axe.min.js``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.servers import Unavailable
from tests.servers.s3 import ROOT

VERSION = "4.14.1"
SCRIPT = ROOT / ".testservers" / f"axe-core-{VERSION}" / "axe.min.js"


def find() -> Path:
    """The script. Raises ``Unavailable``."""
    script = Path(os.environ.get("WINNOW_TEST_AXE", SCRIPT))
    if not script.exists():
        raise Unavailable("no axe-core: with npm and its registry at hand, run python -m tests.servers.prepare")
    return script


def install() -> str | None:
    """Fetch it with npm, unless it is there; why not, if it can't be."""
    if "WINNOW_TEST_AXE" in os.environ or SCRIPT.exists():
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "no npm: the pages are not looked at with axe-core"
    print("prepare: fetching axe-core, which looks at the pages")
    with tempfile.TemporaryDirectory() as name:
        command = [npm, "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", name]
        packed = subprocess.run(command, cwd=name, stdout=subprocess.DEVNULL, check=False)
        found = list(Path(name).glob("*.tgz"))
        if packed.returncode != 0 or not found:
            return "axe-core could not be fetched with npm: the pages are not looked at with it"
        SCRIPT.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(found[0]) as package:
            member = package.extractfile("package/axe.min.js")
            assert member is not None  # it is a file
            SCRIPT.write_bytes(member.read())
    return None
