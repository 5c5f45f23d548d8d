"""Which Winnow a command works on: the deployment that was named, or a local stack, whether it runs or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from shared.settings import DatabaseSettings
from shared.store.base import Store
from winnow import target


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything is that a backup holds. ``data`` is the folder of a local stack, None for a deployment."""

    database_url: str
    store: Store
    data: Path | None = None

    def database_settings(self) -> DatabaseSettings:
        return DatabaseSettings(url=SecretStr(self.database_url), pool_size=1)


@contextmanager
def place(database: str | None, data: Path, *, new: bool = False) -> Iterator[Place]:
    """The database that was given, or that the services are told, with its store; else the local stack in ``data``.

    A local stack's Postgres is started for as long as the block runs, if it doesn't run. Raises ``NotFound`` if there
    is no stack, unless it is to be a ``new`` one; ``Conflict`` if that runs.
    """
    if database or os.environ.get("WINNOW_DATABASE_URL_FILE"):
        yield Place(database_url=target.database_url(database, data), store=target.store(data))
        return
    from winnow.local import postgres_of  # needs what only the extra `local` installs

    folder = data.resolve()
    with postgres_of(folder, new=new) as url:
        yield Place(database_url=url, store=target.store(folder), data=folder)
