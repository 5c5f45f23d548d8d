"""``python -m tests.servers.prepare``: install what the tests need beyond Python packages, as far as it can be had.

Done in a moment where everything is there. Swift goes into an environment of its own; RabbitMQ, Chromium and
Prometheus' promtool come from Debian when root runs this on a Debian machine, axe-core from npm. A server that an
environment variable names, or that Docker can run, is not installed. What can't be had is said and is no failure: the
tests that need it are skipped, or fail if ``CI=true``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import axe, docker, promtool, rabbit, s3

REQUIREMENTS = Path(__file__).with_name("swift.txt")
POLICY = Path("/usr/sbin/policy-rc.d")


def main() -> int:
    missing = [*prepare_swift(), *prepare_debian(), *prepare_axe()]
    for line in missing:
        print(f"prepare: {line}", file=sys.stderr)
    return 0


def prepare_swift() -> list[str]:
    """Install Swift, unless tests have another S3 server. Returns what could not be had."""
    if os.environ.get("WINNOW_TEST_S3_URL") or docker.fetch_image(s3.IMAGE):
        return []
    wanted = REQUIREMENTS.read_text()
    if s3.SWIFT_INSTALLED.exists() and s3.SWIFT_INSTALLED.read_text() == wanted:
        return []
    print("prepare: installing OpenStack Swift, the S3 server of the tests")
    venv.create(s3.SWIFT, clear=True, with_pip=True)
    installed = subprocess.run(
        [s3.SWIFT / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=False
    )
    if installed.returncode != 0:
        shutil.rmtree(s3.SWIFT)
        return ["Swift could not be installed: no S3 server for the tests"]
    s3.SWIFT_INSTALLED.write_text(wanted)
    return []


def prepare_debian() -> list[str]:
    """Install Debian's packages for what is missing. Returns what could not be had."""
    packages = _missing_packages()
    if not packages:
        return []
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return [f"not installed, as this is not root on Debian: {', '.join(packages)}"]
    print(f"prepare: installing {', '.join(packages)} from Debian")
    with _no_services():
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            if subprocess.run(["apt-get", "-qq", *command], env=_apt_environment(), check=False).returncode != 0:
                return [f"apt-get {command[0]} failed: no {', '.join(packages)}"]
    return []


def prepare_axe() -> list[str]:
    """Fetch axe-core. Returns what could not be had."""
    missing = axe.install()
    return [missing] if missing else []


def _missing_packages() -> list[str]:
    packages = []
    has_rabbit = os.environ.get("WINNOW_TEST_AMQP_URL") or rabbit.PROGRAM.exists() or docker.fetch_image(rabbit.IMAGE)
    if not has_rabbit:
        packages.append("rabbitmq-server")
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        packages.append("chromium")
    if shutil.which(promtool.PROGRAM) is None:
        packages.append("prometheus")
    if shutil.which("npm") is None:  # by which axe-core is fetched
        packages.append("npm")
    return packages


def _apt_environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep the packages from starting their servers: the tests start their own, on ports of their own."""
    if POLICY.exists():  # the machine has its own opinion, and most containers this very one
        yield
        return
    with tempfile.NamedTemporaryFile("w", dir=POLICY.parent, delete=False) as script:
        script.write("#!/bin/sh\nexit 101\n")
    Path(script.name).chmod(0o755)
    Path(script.name).rename(POLICY)
    try:
        yield
    finally:
        POLICY.unlink()


if __name__ == "__main__":
    sys.exit(main())
