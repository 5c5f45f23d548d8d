"""``winnow preflight``: refuses to let a stack start with secrets that are missing, weak, or known to everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

SECRETS: Mapping[str, int] = {
    "postgres_superuser": 20,
    "postgres_owner": 20,
    "postgres_api": 20,
    "postgres_ui": 20,
    "postgres_trainer": 20,
    "postgres_scorer": 20,
    "rabbitmq_api": 20,
    "rabbitmq_ui": 20,
    "rabbitmq_trainer": 20,
    "rabbitmq_scorer": 20,
    "rabbitmq_operator": 20,
    "s3_access_key": 12,
    "s3_secret_key": 20,
    "admin_password": 12,
    "grafana_admin": 12,
}
"""Name of the file and the fewest characters."""
DERIVED: Mapping[str, str] = {
    **{f"database_url_{name}": f"postgres_{name}" for name in ("owner", "api", "ui", "trainer", "scorer")},
    **{f"bus_url_{name}": f"rabbitmq_{name}" for name in ("api", "ui", "trainer", "scorer", "operator")},
}
"""Files that hold another secret inside an address."""
_KNOWN = re.compile(
    r"(pass(word|wd)?|secret|changeme|admin(istrator)?|root|guest|winnow|postgres|rabbit(mq)?|minio(admin)?|test|demo|"
    r"default|example|letmein|qwerty|access|key|user|abc)+"
)
"""Words that make no secret, however often repeated and whatever digits stand between them."""
_FEWEST_DIFFERENT = 6
_MOST_NEIGHBOURS = 0.75
"""Of texts of 20 random hexadecimal digits, fewer than one in ten million is so regular."""


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with the secrets in a folder, a sentence each; none if they will do. Never tells a secret."""
    values: dict[str, str] = {}
    for name, fewest in SECRETS.items():
        value = _read(folder / name)
        if isinstance(value, _Unusable):
            yield f"{name} {value.why}"
        elif reason := _weakness(value, fewest):
            yield f"{name} {reason}"
        else:
            values[name] = value
    yield from _shared(values)
    for name, secret in DERIVED.items():
        url = _read(folder / name)
        if isinstance(url, _Unusable):
            yield f"{name} {url.why}"
        elif not _is_ours(url) or secret not in values:
            continue
        elif quote(values[secret], safe="") != values[secret]:
            yield f"{secret} has characters that an address can't hold: use letters, digits and -._~ alone"
        elif values[secret] not in url:
            yield f"{name} does not hold the password in {secret}: delete it to have it made anew"


class _Unusable:
    def __init__(self, why: str) -> None:
        self.why = why


def _read(path: Path) -> str | _Unusable:
    if path.is_dir():
        return _Unusable("is a folder, which Docker makes where it finds no file: remove it")
    try:
        value = path.read_text().strip()
    except FileNotFoundError:
        return _Unusable("is missing")
    except (OSError, UnicodeDecodeError) as error:
        return _Unusable(f"can't be read: {error}")
    return value or _Unusable("is empty")


def _weakness(value: str, fewest: int) -> str | None:
    if len(value) < fewest:
        return f"has {len(value)} characters, at least {fewest} are needed"
    if _KNOWN.fullmatch(re.sub("[^a-z]", "", value.lower())):
        return "is one of those that everybody tries first"
    if len(set(value)) < _FEWEST_DIFFERENT:
        return f"has only {len(set(value))} different characters"
    if _is_regular(value):
        return "repeats itself, or counts up or down"
    return None


def _is_regular(value: str) -> bool:
    """Whether it is a shorter text again and again, or most characters are neighbours of the one before."""
    size = len(value)
    if any(value == (value[:period] * size)[:size] for period in range(1, size // 2 + 1)):
        return True
    steps = [abs(ord(b) - ord(a)) for a, b in pairwise(value)]
    return sum(step <= 1 for step in steps) > _MOST_NEIGHBOURS * len(steps)


def _shared(values: Mapping[str, str]) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, value in values.items():
        if first.setdefault(value, name) != name:
            yield f"{name} is the same as {first[value]}: who learns one has both"


def _is_ours(url: str) -> bool:
    """Whether an address is that of a server of this stack; for one of your own, any password of yours will do."""
    return "@postgres:" in url or "@rabbitmq:" in url
