"""Whatever is sent to the API, it answers as its OpenAPI document says, and never with a fault of its own.

schemathesis makes requests up, good ones and bad ones, operation by operation, and in chains: what one answer names,
the next request uses. ``WINNOW_FUZZ_S=900`` lets it look for longer than the suite has time for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.api.app import create_app
from shared.db import flags
from shared.domain import Scope
from shared.settings import ApiSettings
from shared.store.base import image_key
from tests.browser.gallery import serve
from tests.integration.api_support import Api, add_key, open_api, picture
from tests.integration.test_api_predict import SIDE, made, put, scorer
from tests.integration.webhooks_support import LOOPBACK
from tests.world import build

SECONDS = int(os.environ.get("WINNOW_FUZZ_S", "60"))
# An upload tells of each part what became of it, those that are no files included.
EXCEPTIONS = """
[checks]
positive_data_acceptance.enabled = false

[[operations]]
include-operation-id = ["upload_images", "predict_pictures"]
checks.negative_data_rejection.enabled = false
"""
SEED = int(os.environ.get("WINNOW_FUZZ_SEED", "1"))


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A project with images, answers, two models and a flag; and one in draft."""
    monkeypatch.setenv("WINNOW_WEBHOOK_ALLOW_NETWORKS", f'["{LOOPBACK[0]}"]')
    with open_api(migrated_database_url, tmp_path / "objects") as opened:
        world = build(opened.system, pool=6, initial=1, batch_size=1, mode="strict", image_size=SIDE)
        world.start()
        world.do_embed()
        world.do_select()
        for number in (1, 2):
            world.answer(1)
            opened.system.rounds.nudge(world.id)
            world.do_train()
            put(opened, world, number, made(number))
            world.do_score()
            world.do_select()
        for seed, image in enumerate(world.images):
            opened.system.store.put_bytes(image_key(world.id, image.sha256), picture(seed))
        with opened.system.database.transaction() as tx:
            for seed, image in enumerate(world.images):
                size = {"bytes": len(picture(seed)), "id": image.id}
                tx.run("UPDATE images SET bytes = %(bytes)s WHERE id = %(id)s", size)
            flags.add(tx, world.id, world.images[0].id, world.user().id, "odd", key="1")
        draft = opened.new_project("draft")
        opened.upload(draft, [(f"{seed}.png", picture(seed)) for seed in range(3)])
        body = {"url": "http://127.0.0.1:9/", "types": ["round.completed"]}
        assert opened.client.post("/v1/webhooks", json=body).status_code == 201
        yield opened


def test_the_api_keeps_to_its_document_whatever_it_is_sent(api: Api, tmp_path: Path) -> None:
    key = add_key(api.system, Scope.MANAGE)
    (tmp_path / "schemathesis.toml").write_text(EXCEPTIONS)
    with serve(create_app(api.system, ApiSettings())) as url, scorer(api):
        asked = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
                *("--header", f"Authorization: Bearer {key}", "--seed", str(SEED), "--max-time", str(SECONDS)),
                *("--phases", "coverage,fuzzing,stateful"),
                *("--continue-on-failure", "--no-color", "--generation-database", "none"),
                *("--suppress-health-check", "all", "--request-timeout", "75"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS + 300,
        )
    print(asked.stdout[-20_000:], asked.stderr[-2000:])
    assert asked.returncode == 0
