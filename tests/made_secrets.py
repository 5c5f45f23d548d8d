"""The secrets of a deployment, made by ``deploy/make-secrets`` itself."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Unavailable

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class MadeSecrets:
    """``folder`` holds a file each."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return (self.folder / name).read_text()

    @property
    def rabbitmq_definitions(self) -> Path:
        return self.folder / "rabbitmq_definitions.json"


def make(scratch: Path) -> MadeSecrets:
    """Secrets in a folder of their own. Raises ``Unavailable`` without openssl, ``CalledProcessError`` if it fails."""
    if shutil.which("openssl") is None:
        raise Unavailable("deploy/make-secrets needs openssl, which is not installed")
    deploy = scratch / "deploy"
    (deploy / "rabbitmq").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", scratch)
    shutil.copy(ROOT / "deploy" / "make-secrets", deploy)
    shutil.copy(ROOT / "deploy" / "rabbitmq" / "definitions.template.json", deploy / "rabbitmq")
    subprocess.run([deploy / "make-secrets"], check=True, capture_output=True, timeout=120)
    return MadeSecrets(deploy / "secrets")
