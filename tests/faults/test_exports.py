"""kill -9 of the api half way through an export: another finishes it, once, and nobody is ever offered a half."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from shared.domain import ProjectId
from shared.store.base import exports_of
from shared.store.disk import DiskStore
from tests.e2e.running import Running, running
from tests.e2e.test_loop import local_env
from tests.integration.api_support import picture
from tests.waiting import wait_for
from winnow.client import Client

IMAGES, SIDE, PIECES_BEFORE = 48, 1100, 3


def project_of_large_images(client: Client) -> int:
    """Some 170 MB of them, all labelled: ten pieces and more."""
    project = int(client.create_project("large", ["a", "b"])["id"])
    for start in range(0, IMAGES, 8):
        bodies = [picture(seed, SIDE, SIDE) for seed in range(start, start + 8)]
        client.upload(project, [(f"{start}-{n}.png", body) for n, body in enumerate(bodies)])
        client.import_labels(project, [{"sha256": hashlib.sha256(body).hexdigest(), "class": "a"} for body in bodies])
    return project


def finished(stack: Running) -> list[dict[str, object]]:
    return stack.rows(
        "SELECT e.key, j.attempts FROM exports e JOIN jobs j ON j.id = e.job_id WHERE e.finished_at IS NOT NULL"
    )


def test_an_export_outlives_its_api_and_is_made_once(migrated_database_url: str, tmp_path: Path) -> None:
    with running(migrated_database_url, local_env(tmp_path), tmp_path) as stack, stack.client() as client:
        project = project_of_large_images(client)
        store = DiskStore(Path(local_env(tmp_path)["WINNOW_STORE_PATH"]))
        asked = client.prepare_export(project, "zip")["id"]
        wait_for(lambda: len(list(store.list(exports_of(ProjectId(project))))) >= PIECES_BEFORE, "the first pieces", 60)
        stack.kill("api")
        halves = set(store.list(exports_of(ProjectId(project))))
        assert finished(stack) == [], "it was killed half way"

        def tended() -> bool:
            stack.processes.tend()
            return bool(finished(stack))

        wait_for(tended, "another api to make it", 120)
        stack.processes.wait_ready({"api": stack.api_url})
        ready = client.await_export(project, asked, 60)
        assert not {key for key in halves if key.startswith(str(finished(stack)[0]["key"]))}
        assert client.download_export(project, ready, tmp_path / "images.zip") == ready["bytes"]
        with zipfile.ZipFile(tmp_path / "images.zip") as archive:
            assert archive.testzip() is None
            assert len([name for name in archive.namelist() if name.startswith("a/")]) == IMAGES
        (done,) = finished(stack)
        assert done["attempts"] == 2
        (told,) = stack.rows("SELECT count(*) AS n FROM events WHERE kind = 'export.ready'")
        assert told["n"] == 1
