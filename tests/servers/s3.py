"""An S3 server of the tests' own that checks signatures, which may be stopped, killed and started again."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Unavailable
from tests.servers.docker import Container, has_image
from tests.servers.process import Elsewhere, Process, Runner, free_port, wait_until

IMAGE = "versity/versitygw"
ROOT = Path(__file__).resolve().parents[2]
SWIFT = ROOT / ".testservers" / "venv"
SWIFT_INSTALLED = SWIFT / "installed.txt"
"""Written last by ``tests.servers.prepare``."""
NODE = Path(__file__).with_name("swift_node.py")
KEY, SECRET = "winnow:tester", "a-secret-for-tests"


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """What a client needs to know. ``endpoint`` begins with ``http://`` or ``https://``."""

    endpoint: str
    access_key: str = KEY
    secret_key: str = SECRET
    region: str = "us-east-1"


class S3Server:
    """``start`` returns when clients can connect; ``kill`` is SIGKILL. The data survives both ``stop`` and ``kill``."""

    def __init__(self, address: S3Address, runner: Runner, release: Callable[[], None] = lambda: None) -> None:
        self.address = address
        self._runner = runner
        self._release = release

    @property
    def endpoint(self) -> str:
        return self.address.endpoint

    @property
    def access_key(self) -> str:
        return self.address.access_key

    @property
    def secret_key(self) -> str:
        return self.address.secret_key

    @property
    def region(self) -> str:
        return self.address.region

    @property
    def restartable(self) -> bool:
        return self._runner.restartable

    def start(self) -> None:
        self._runner.start()
        wait_until(self._answers, "the S3 server answers", self._runner)

    def stop(self) -> None:
        self._runner.stop()

    def kill(self) -> None:
        self._runner.kill()

    def close(self) -> None:
        """End the server for good and let go of what it needed."""
        self._runner.stop()
        self._release()

    def _answers(self) -> bool:
        """Whether a request without credentials gets an answer: that it is refused is a good sign."""
        try:
            urllib.request.urlopen(f"{self.endpoint}/winnow-test", timeout=30).close()
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code < 500
        except OSError:
            return False
        return True


def find(scratch: Path, *, restartable: bool = False) -> S3Server:
    """An S3 server, not yet started. ``restartable``: one that may be killed, so not one of somebody else's.

    Raises ``Unavailable``.
    """
    named = os.environ.get("WINNOW_TEST_S3_URL")
    if named and not restartable:
        address = S3Address(
            endpoint=named,
            access_key=os.environ["WINNOW_TEST_S3_ACCESS_KEY"],
            secret_key=os.environ["WINNOW_TEST_S3_SECRET_KEY"],
            region=os.environ.get("WINNOW_TEST_S3_REGION", "us-east-1"),
        )
        return S3Server(address, Elsewhere())
    if has_image(IMAGE):
        return _contained()
    if SWIFT_INSTALLED.exists():
        return _installed(scratch)
    raise Unavailable(
        f"no S3 server: WINNOW_TEST_S3_URL is not set, Docker has no {IMAGE}, "
        "and Swift is not installed (python -m tests.servers.prepare installs it)"
    )


def _contained() -> S3Server:
    # The keys by option and not by variable: the variables' names differ between versions of the image.
    keys = S3Address(endpoint="", access_key="winnowtester")
    command = ["--access", keys.access_key, "--secret", keys.secret_key, "--port", ":7070", "posix", "/data"]
    container = Container(IMAGE, 7070, {}, command, folders=["/data"])
    address = S3Address(endpoint=f"http://127.0.0.1:{container.host_port}", access_key=keys.access_key)
    return S3Server(address, container, container.remove)


def _installed(scratch: Path) -> S3Server:
    """OpenStack Swift. It keeps what it knows of a file in the file's extended attributes."""
    scratch.mkdir(parents=True, exist_ok=True)
    if not _has_attributes(scratch):
        raise Unavailable(
            f"no S3 server: the file system of {scratch} has no extended attributes; set TMPDIR to one that has"
        )
    port = free_port()
    command = [str(SWIFT / "bin" / "python"), str(NODE), str(scratch), str(port), KEY, SECRET]
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(scratch)}
    return S3Server(S3Address(endpoint=f"http://127.0.0.1:{port}"), Process(command, env, scratch / "server.log"))


def _has_attributes(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.name, "user.winnow", b"1" * 512)
        except OSError:
            return False
    return True
