"""What the commands work on: the database that was named, that the services are told, or of the local stack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import NotFound

if TYPE_CHECKING:
    from shared.db.pool import Tx
    from shared.store.base import Store
    from shared.system import System
    from winnow.client import Client

DEFAULT_DATA = Path("winnow-data")
DataOption = Annotated[Path, typer.Option("--data", help="Folder of the local stack.", envvar="WINNOW_DATA")]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", help="libpq connection string.", envvar="WINNOW_DATABASE_URL")
]

UrlOption = Annotated[str | None, typer.Option("--url", help="Address of the api.", envvar="WINNOW_URL")]
KeyOption = Annotated[str | None, typer.Option("--key", help="API key.", envvar="WINNOW_API_KEY")]


def database_url(given: str | None, data: Path) -> str:
    """What was given, else what the services are told (``WINNOW_DATABASE_URL_FILE``), else the local stack's."""
    from shared.settings import DatabaseSettings

    if given:
        return given
    if os.environ.get("WINNOW_DATABASE_URL_FILE"):
        return DatabaseSettings().url.get_secret_value()
    from winnow.local import read_stack

    return read_stack(data).database_url


@contextmanager
def transaction(database: str | None, data: Path) -> Iterator[Tx]:
    from shared.db.pool import Database
    from shared.settings import DatabaseSettings

    pool = Database(DatabaseSettings(url=database_url(database, data), pool_size=1))
    try:
        with pool.transaction() as tx:
            yield tx
    finally:
        pool.close()


def store(data: Path) -> Store:
    """The store that the services are told, else the local stack's."""
    from shared.settings import StoreSettings
    from shared.store.factory import open_store

    if os.environ.get("WINNOW_STORE_KIND") or os.environ.get("WINNOW_STORE_PATH"):
        return open_store(StoreSettings())
    return open_store(StoreSettings(kind="disk", path=data / "objects"))


@contextmanager
def opened(database: str | None, data: Path) -> Iterator[System]:
    """The whole system, as a service has it."""
    from shared.db.pool import Database
    from shared.settings import BusSettings, DatabaseSettings
    from shared.system import joined

    settings = DatabaseSettings(url=database_url(database, data), pool_size=2)
    system = joined(Database(settings), settings, BusSettings(), store(data))
    try:
        yield system
    finally:
        system.close()


@contextmanager
def client_of(url: str | None, key: str | None, data: Path) -> Iterator[Client]:
    """The api that was named, else the local stack's. Raises ``NotFound`` where neither is there."""
    from winnow.client import Client
    from winnow.local import read_stack

    if url is None or key is None:
        try:
            stack = read_stack(data)
        except NotFound as error:
            raise NotFound(f"{error}; or give --url and --key of another one") from None
        url, key = url or stack.api_url, key or stack.api_key
    with Client(url, key) as client:
        yield client
