"""Weights from the Hugging Face hub: its own client, and a server on this machine that speaks as the hub does."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

COMMIT = "0" * 40
FILES = {
    "/timm/safe/resolve/main/model.safetensors": b"safe weights",
    "/timm/old/resolve/main/pytorch_model.bin": b"old weights",
}
PROGRAM = """
import sys
from pathlib import Path
from shared.errors import Permanent
from shared.weights import find_weights
try:
    print(find_weights("timm/tiny", url=sys.argv[1], weights_dir=Path(sys.argv[2])).decode())
except Permanent as error:
    print(error)
"""


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        body = FILES.get(self.path)
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body and body is not None:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the test's stderr."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def found(url: str, folder: Path, **environment: str) -> str:
    """What a process says that asks for the weights: the client reads its settings once, when it is imported."""
    env = os.environ | {"HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1"} | environment
    command = [sys.executable, "-c", PROGRAM, url, str(folder)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True).stdout.strip()


def test_safetensors_are_preferred_and_fetched_once(hub: str, tmp_path: Path) -> None:
    url = "hf://timm/safe/pytorch_model.bin"
    assert found(url, tmp_path, HF_ENDPOINT=hub) == "safe weights"
    assert found(url, tmp_path, HF_HUB_OFFLINE="1") == "safe weights"


def test_a_repository_without_safetensors_gives_its_older_file(hub: str, tmp_path: Path) -> None:
    assert found("hf://timm/old/pytorch_model.bin", tmp_path, HF_ENDPOINT=hub) == "old weights"


def test_what_a_repository_lacks_is_named(hub: str, tmp_path: Path) -> None:
    said = found("hf://timm/none/pytorch_model.bin", tmp_path, HF_ENDPOINT=hub)
    assert said.startswith("no weights for timm/tiny (timm/none holds no pytorch_model.bin)")


def test_offline_the_file_to_put_there_is_named(tmp_path: Path) -> None:
    said = found("hf://timm/safe/pytorch_model.bin", tmp_path, HF_HUB_OFFLINE="1")
    assert f"put the weights file at {tmp_path}/timm/tiny.pth (or .safetensors)" in said
    assert "fetch it from https://huggingface.co/timm/safe" in said


def test_a_file_in_the_folder_comes_before_the_hub(tmp_path: Path) -> None:
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "tiny.safetensors").write_text("my own")
    assert found("hf://timm/safe/pytorch_model.bin", tmp_path, HF_HUB_OFFLINE="1") == "my own"
