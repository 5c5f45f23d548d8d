"""``winnow doctor``: looks at everything a deployment stands on, and says what to do about what is wrong."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from shared.db import gauges, roles
from shared.db.migrate import migrations, require_schema
from shared.db.pool import Tx
from shared.errors import WinnowError
from shared.system import System

Verdict = Literal["ok", "warn", "FAIL"]
SKEW_S = 2.0
"""Leases and signed requests are reckoned in seconds; S3 refuses requests that are off by fifteen minutes."""
WAIT_S = 120.0
BACKUP_S = 26 * 3600.0
LOW_DISK, FULL_DISK = 0.10, 0.02
"""Free shares."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``advice`` says what to do, unless all is well."""

    about: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(system: System, site: str | None = None) -> Iterator[Finding]:
    """Every check, one after the other; one that breaks is a finding too.

    Parameters
    ----------
    site : where people reach the deployment, to be asked as they would.
    """
    yield Finding(about="version", verdict="ok", found=version("winnow"))
    database = _try("database", lambda: _database(system), "see that Postgres runs, and WINNOW_DATABASE_URL(_FILE)")
    yield database
    if database.verdict != "FAIL":
        yield _try("schema", lambda: _schema(system), "run `winnow migrate` with the version that is deployed")
        yield _try("clock", lambda: _clock(system), "")
        yield from _read(system)
        yield _try("accounts", lambda: _accounts(system), "run `winnow migrate` as the owner of the database")
    yield from _bus(system)
    yield _try("store", lambda: _store(system), "see that the object store runs, its keys and its disk")
    yield from (_disk(path) for path in _folders())
    yield _gpu()
    if site is not None:
        yield _try("site", lambda: _site(site), "see that caddy, ui and api run, and what their logs say")


def _try(about: str, check: Callable[[], Finding], advice: str) -> Finding:
    try:
        return check()
    except WinnowError as error:
        return Finding(about=about, verdict="FAIL", found=str(error), advice=advice)


def _database(system: System) -> Finding:
    with system.database.transaction() as tx:
        row = tx.one("SELECT current_setting('server_version') AS version, current_user AS account") or {}
    return Finding(about="database", verdict="ok", found=f"PostgreSQL {row['version']} as {row['account']}")


def _schema(system: System) -> Finding:
    with system.database.transaction() as tx:
        require_schema(tx)
        row = tx.one("SELECT max(number) AS number FROM schema_migrations") or {}
    needed = migrations()[-1].number
    if row["number"] > needed:
        found = f"at migration {row['number']}, this version knows {needed}"
        return Finding(about="schema", verdict="warn", found=found, advice="fine during an upgrade: finish it")
    return Finding(about="schema", verdict="ok", found=f"at migration {needed}")


def _clock(system: System) -> Finding:
    with system.database.transaction() as tx:
        before = time.time()
        row = tx.one("SELECT extract(epoch FROM clock_timestamp())::float8 AS now") or {}
        skew = abs(row["now"] - (before + time.time()) / 2)
    verdict: Verdict = "ok" if skew < SKEW_S else "FAIL"
    advice = "" if verdict == "ok" else "set the clocks of both machines by NTP"
    return Finding(about="clock", verdict=verdict, found=f"{skew:.2f} s from the database's", advice=advice)


def _read(system: System) -> Iterator[Finding]:
    """What the database says about work, people and backups."""
    try:
        with system.database.transaction() as tx:
            reading = gauges.read(tx)
            workers = _workers(tx)
    except WinnowError as error:
        yield Finding(about="jobs", verdict="FAIL", found=str(error), advice="run `winnow migrate`")
        return
    dead = sum(count for (_, state), count in reading.jobs.items() if state == "dead")
    advice = "`winnow dead list` shows why; `winnow dead requeue --all` tries again"
    yield Finding(about="jobs", verdict="warn" if dead else "ok", found=f"{dead} dead", advice=advice if dead else "")
    waiting = {kind: age for kind, age in reading.oldest_due_s.items() if age > WAIT_S}
    longest = ", ".join(f"{kind} for {age:.0f} s" for kind, age in waiting.items())
    yield Finding(
        about="workers",
        verdict="warn" if waiting else "ok",
        found=f"{workers} at work" + (f"; waiting: {longest}" if longest else ""),
        advice="start more trainers or scorers, or see why those that are there don't work" if waiting else "",
    )
    age = None if reading.backup_at is None else time.time() - reading.backup_at
    late = age is None or age > BACKUP_S
    yield Finding(
        about="backup",
        verdict="warn" if late else "ok",
        found="there was none" if age is None else f"{age / 3600:.1f} hours ago",
        advice="run `winnow backup DIR`, every day" if late else "",
    )


def _workers(tx: Tx) -> int:
    row = tx.one("SELECT count(DISTINCT worker) AS workers FROM jobs WHERE state = 'running'")
    return int(row["workers"]) if row else 0


def _accounts(system: System) -> Finding:
    """The services' accounts in Postgres, where there are any."""
    with system.database.transaction() as tx:
        accounts, lacking = roles.standing(tx)
    if lacking:
        raise WinnowError(f"rights are missing: {', '.join(lacking)}")
    found = (
        f"{', '.join(accounts)} have their rights" if accounts else "one for all: the services have none of their own"
    )
    return Finding(about="accounts", verdict="ok", found=found)


def _bus(system: System) -> Iterator[Finding]:
    kind = type(system.bus).__name__.removesuffix("Bus").lower()
    try:
        system.bus.check()
        standing = system.bus.standing()
    except WinnowError as error:
        advice = "see that the broker runs, and WINNOW_BUS_URL(_FILE)"
        yield Finding(about="bus", verdict="FAIL", found=str(error), advice=advice)
        return
    dead = standing.dead
    found, advice = kind + (f", with {dead} dead letters" if dead else ""), "`winnow dead messages` shows them"
    yield Finding(about="bus", verdict="warn" if dead else "ok", found=found, advice=advice if dead else "")
    deaf = [each.value for each, workers in standing.listening.items() if workers == 0]
    yield Finding(
        about="listeners",
        verdict="warn" if deaf else "ok",
        found=", ".join(f"{each.value} {workers}" for each, workers in standing.listening.items()),
        advice=f"unless they are all busy, start what does {', '.join(deaf)}" if deaf else "",
    )


def _store(system: System) -> Finding:
    started = time.perf_counter()
    system.store.check()
    took = time.perf_counter() - started
    return Finding(about="store", verdict="ok", found=f"an object written, read and deleted in {took * 1000:.0f} ms")


def _folders() -> Iterator[Path]:
    yield Path(tempfile.gettempdir())
    if stored := os.environ.get("WINNOW_STORE_PATH"):
        yield Path(stored)


def _disk(path: Path) -> Finding:
    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        return Finding(about="disk", verdict="FAIL", found=str(error), advice=f"make {path}, or name another folder")
    free = usage.free / usage.total if usage.total else 1.0
    verdict: Verdict = "FAIL" if free < FULL_DISK else "warn" if free < LOW_DISK else "ok"
    found = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f} at {path}"
    return Finding(about="disk", verdict=verdict, found=found, advice="" if verdict == "ok" else "make room")


def _gpu() -> Finding:
    """What this process could use. Only where PyTorch is: a web image has no business with a GPU."""
    if not find_spec("torch"):
        return Finding(about="gpu", verdict="ok", found="not looked at: no PyTorch here")
    from shared.gpu import Gpus
    from shared.learning.model import usable_gpus

    try:
        there = [gpu.name for gpu in Gpus().read()]
    except OSError:
        there = []
    usable = usable_gpus()
    wanted = os.environ.get("WINNOW_WORKER_DEVICE")
    if usable or wanted == "cpu" or not (there or wanted):
        return Finding(about="gpu", verdict="ok", found=", ".join(usable) or "none used: work is done on the CPU")
    found = f"PyTorch can use none; the driver shows {', '.join(there) or 'none either'}"
    advice = "use the CUDA image, the NVIDIA container toolkit and a recent driver, or set WINNOW_WORKER_DEVICE=cpu"
    return Finding(about="gpu", verdict="FAIL" if wanted == "cuda" else "warn", found=found, advice=advice)


def _site(site: str) -> Finding:
    import httpx

    try:
        ready = httpx.get(f"{site}/readyz", timeout=10)
        api = httpx.get(f"{site}/openapi.json", timeout=10)
    except httpx.HTTPError as error:
        return Finding(
            about="site", verdict="FAIL", found=f"{site}: {error}", advice="see that caddy runs, and its address"
        )
    if ready.status_code == api.status_code == 200:
        return Finding(about="site", verdict="ok", found=f"ui and api answer at {site}")
    found = f"{site}: ui {ready.status_code}, api {api.status_code}"
    return Finding(about="site", verdict="FAIL", found=found, advice="see what the logs of ui and api say")
