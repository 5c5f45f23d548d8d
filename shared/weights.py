"""Where pretrained weights come from: a file that is named, a folder, torchvision's server or the Hugging Face hub.

What is downloaded is kept in the same folders in which PyTorch's hub and Hugging Face's client keep their own, so each
file travels once.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import tempfile
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from shared.errors import Permanent

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.pth$")
_SUFFIXES = (".pth", ".safetensors")
_HUB_SCHEME = "hf://"
_SAFE_NAMES = {"pytorch_model.bin": "model.safetensors", "open_clip_pytorch_model.bin": "open_clip_model.safetensors"}
"""Most repositories on the hub hold the same weights as safetensors, under these names."""


def find_weights(
    arch: str,
    *,
    url: str | None,
    weights_dir: Path | None = None,
    explicit: Path | None = None,
    timeout_s: float = 15.0,
) -> bytes:
    """The bytes of the state-dict file for ``arch``.

    Tried in order: ``explicit``; ``weights_dir/<arch>.pth`` and ``.safetensors``; what was downloaded before; ``url``,
    which may be ``hf://<owner>/<repository>/<file>`` on the Hugging Face hub. A download whose hash is not the one in
    its file name is refused. Raises ``Permanent`` with the name of the file to put there.
    """
    if explicit is not None:
        return _read(explicit)
    for suffix in _SUFFIXES:
        if weights_dir is not None and (weights_dir / f"{arch}{suffix}").is_file():
            return _read(weights_dir / f"{arch}{suffix}")
    if url is None:
        raise Permanent(f"no weights for {arch}: {_advice(arch, weights_dir, None)}")
    if url.startswith(_HUB_SCHEME):
        return _from_hub(arch, url, weights_dir, timeout_s)
    cached = download_dir() / PurePosixPath(urlsplit(url).path).name
    if cached.is_file():
        return _read(cached)
    try:
        data = _download(url, timeout_s)
        _check_hash(cached.name, data)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Permanent(f"no weights for {arch} ({error}): {_advice(arch, weights_dir, url)}") from error
    _keep(cached, data)
    return data


def download_dir() -> Path:
    """``$TORCH_HOME/hub/checkpoints``, where ``TORCH_HOME`` is ``~/.cache/torch`` unless the environment differs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser() / "hub" / "checkpoints"


def _from_hub(arch: str, url: str, weights_dir: Path | None, timeout_s: float) -> bytes:
    """Hugging Face's own client does it, so that its mirror, token, cache and offline settings hold here too."""
    repository, _, name = url.removeprefix(_HUB_SCHEME).rpartition("/")
    try:
        import huggingface_hub
        from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        advice = f"{_advice(arch, weights_dir, _page(url))}, or pip install 'winnow[timm]' to have it downloaded"
        raise Permanent(f"no weights for {arch}: {advice}") from error
    reason = f"{repository} holds no {name}"
    for candidate in filter(None, (_SAFE_NAMES.get(name), name)):
        try:
            return _read(Path(huggingface_hub.hf_hub_download(repository, candidate, etag_timeout=timeout_s)))
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):  # the hub wasn't reached, or may not be
                reason = _first_line(error)
                break
        except Exception as error:  # which ones depends on the HTTP library that this version of the client uses
            reason = _first_line(error)
            break
    raise Permanent(f"no weights for {arch} ({reason}): {_advice(arch, weights_dir, _page(url))}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _page(url: str) -> str:
    """Where a person can fetch what ``hf://`` names."""
    return f"https://huggingface.co/{url.removeprefix(_HUB_SCHEME).rpartition('/')[0]}"


def _advice(arch: str, weights_dir: Path | None, url: str | None) -> str:
    where = (weights_dir or Path("$WINNOW_WEIGHTS_DIR")) / f"{arch}.pth"
    if arch.startswith("timm/"):
        where = where.with_name(f"{where.name} (or .safetensors)")
    source = f" (fetch it from {url} on a machine that can)" if url else ""
    return f"put the weights file at {where}{source}, or name it with --weights"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Permanent(f"can't read the weights file {path}: {error.strerror}") from error


def _download(url: str, timeout_s: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout_s) as response:
        body: bytes = response.read()
        return body


def _check_hash(name: str, data: bytes) -> None:
    wanted = _HASH_IN_NAME.search(name)
    if wanted and not hashlib.sha256(data).hexdigest().startswith(wanted[1]):
        raise ValueError(f"the download is damaged: its hash is not the one in {name}")


def _keep(path: Path, data: bytes) -> None:
    """Write beside, then rename: another process never sees half a file. A read-only cache is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(data)
        Path(part.name).replace(path)
    except OSError:
        return
