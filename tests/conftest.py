"""Fixtures that every kind of test may use: real servers, started once per run and only if a test asks for them."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests import made_secrets
from tests.made_secrets import MadeSecrets
from tests.servers import Unavailable, promtool
from tests.servers import postgres as postgres_servers
from tests.servers import rabbit as rabbit_servers
from tests.servers import s3 as s3_servers
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer
from tests.servers.s3 import S3Server

Server = TypeVar("Server")


def _find(find: Callable[[], Server]) -> Server:
    """The server, or a skip that says why there is none. Where CI is true a skip would hide that nothing was tested."""
    try:
        return find()
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def _scratch() -> Iterator[Path]:
    """Where the servers keep their data. Not pytest's own folder: when root runs the tests, PostgreSQL runs as somebody
    else, whom the next pytest to start would lock out of it."""
    folder = Path(tempfile.mkdtemp(prefix="winnow-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(_scratch: Path) -> Iterator[PostgresServer]:
    server = _find(lambda: postgres_servers.find(_scratch / "postgres"))
    yield server
    server.close()


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database of this test's own."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def _migrated_template(postgres: PostgresServer) -> Iterator[str]:
    from shared.db.migrate import migrate

    url = postgres.create_database()
    migrate(url)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def migrated_database_url(postgres: PostgresServer, _migrated_template: str) -> Iterator[str]:
    """A database of this test's own with Winnow's tables in it and no rows."""
    url = postgres.create_database(template=_migrated_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def _rabbit(_scratch: Path) -> Iterator[RabbitServer]:
    server = _find(lambda: rabbit_servers.find(_scratch / "rabbit"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def rabbit(_rabbit: RabbitServer) -> RabbitServer:
    """A RabbitMQ that runs. Tests share it, so each takes a prefix of its own for its exchanges and queues."""
    _rabbit.start()
    return _rabbit


@pytest.fixture
def amqp_url(rabbit: RabbitServer) -> str:
    return rabbit.url


@pytest.fixture(scope="session")
def _killable_rabbit(_scratch: Path) -> Iterator[RabbitServer]:
    server = _find(lambda: rabbit_servers.find(_scratch / "killable-rabbit", restartable=True))
    yield server
    server.close()


@pytest.fixture
def killable_rabbit(request: pytest.FixtureRequest) -> Iterator[RabbitServer]:
    """A RabbitMQ that runs and that a test may stop and kill; the next test finds it running again."""
    shared: RabbitServer = request.getfixturevalue("_rabbit")
    server: RabbitServer = shared if shared.restartable else request.getfixturevalue("_killable_rabbit")
    server.start()
    yield server


@pytest.fixture(scope="session")
def deployed_secrets(_scratch: Path) -> MadeSecrets:
    """What ``deploy/make-secrets`` makes."""
    return _find(lambda: made_secrets.make(_scratch / "secrets"))


@pytest.fixture(scope="session")
def deployed_rabbit(_scratch: Path, deployed_secrets: MadeSecrets) -> Iterator[RabbitServer]:
    """A RabbitMQ with the configuration, accounts, queues and policies of the deployment."""
    definitions = deployed_secrets.rabbitmq_definitions
    server = _find(lambda: rabbit_servers.find_deployed(_scratch / "deployed-rabbit", definitions))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def _s3(_scratch: Path) -> Iterator[S3Server]:
    server = _find(lambda: s3_servers.find(_scratch / "s3"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def s3(_s3: S3Server) -> S3Server:
    """An S3 server that runs. Tests share it, so each takes a bucket of its own."""
    _s3.start()
    return _s3


@pytest.fixture(scope="session")
def _killable_s3(_scratch: Path) -> Iterator[S3Server]:
    server = _find(lambda: s3_servers.find(_scratch / "killable-s3", restartable=True))
    yield server
    server.close()


@pytest.fixture
def killable_s3(request: pytest.FixtureRequest) -> S3Server:
    """An S3 server that runs and that a test may stop and kill; the next test finds it running again."""
    shared: S3Server = request.getfixturevalue("_s3")
    server: S3Server = shared if shared.restartable else request.getfixturevalue("_killable_s3")
    server.start()
    return server


@pytest.fixture
def unique() -> str:
    """A name that no other test uses, fit for a bucket or a queue."""
    return f"t-{uuid.uuid4().hex[:20]}"


@pytest.fixture(scope="session")
def promtool_installed() -> None:
    """For tests that run promtool."""
    _find(promtool.find)
