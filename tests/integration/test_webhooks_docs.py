"""What docs/webhooks.md says about verifying is run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db.webhooks import EventType
from tests.integration.webhooks_support import Post
from tests.receiver import Heard, receiver
from tests.world import build, open_system

DOCUMENT = Path(__file__).parents[2] / "docs" / "webhooks.md"


@pytest.fixture
def sent(migrated_database_url: str, tmp_path: Path) -> Iterator[tuple[str, Heard]]:
    """A secret, and a request that was signed with it."""
    with open_system(migrated_database_url, tmp_path) as system, receiver() as there:
        post = Post.of(system, build(system, pool=1).id)
        endpoint, old = post.endpoint(there.url())
        post.webhooks.rotate(endpoint.id, actor="test")  # two signatures, the given one not the first
        post.emit(name="Füße")
        post.step()
        yield old, there.heard[0]


def test_the_verification_by_hand_accepts_what_is_sent_and_nothing_else(sent: tuple[str, Heard]) -> None:
    secret, heard = sent
    (code,) = re.findall(r"```python\n(import base64.*?)```", DOCUMENT.read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    verify = scope["verify"]
    headers = dict(heard.headers)
    assert verify(secret, headers, heard.body)
    assert not verify(secret, headers, heard.body + b" ")
    assert not verify("whsec_" + "A" * 43 + "=", headers, heard.body)
    assert not verify(secret, {**headers, "webhook-timestamp": "1764091800"}, heard.body)


def test_every_type_of_event_is_in_the_table() -> None:
    table = re.findall(r"^\| (`[^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", row)}
    assert named == {one.value for one in EventType}
