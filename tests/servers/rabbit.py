"""A RabbitMQ of the tests' own, which may be stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.servers import Unavailable
from tests.servers.docker import Container, has_image
from tests.servers.process import Elsewhere, Process, Runner, free_port, wait_until

IMAGE = "rabbitmq:4-management"
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's server itself: the command of the same name in PATH changes the user and hides the log."""
DEPLOYED = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "rabbitmq.conf"
LOADED = "/run/secrets/rabbitmq_definitions"
"""Where the deployed configuration looks for the definitions."""


class RabbitServer:
    """``start`` returns when clients can connect; ``kill`` is SIGKILL. The data survives both ``stop`` and ``kill``."""

    def __init__(self, url: str, runner: Runner, release: Callable[[], None] = lambda: None) -> None:
        self.url = url
        self._runner = runner
        self._release = release

    @property
    def restartable(self) -> bool:
        return self._runner.restartable

    def start(self) -> None:
        self._runner.start()
        wait_until(self._answers, "RabbitMQ speaks AMQP", self._runner)

    def stop(self) -> None:
        self._runner.stop()

    def kill(self) -> None:
        self._runner.kill()

    def close(self) -> None:
        """End the server for good and let go of what it needed."""
        self._runner.stop()
        self._release()

    def url_of(self, user: str, password: str) -> str:
        """The address for somebody else."""
        address = urlsplit(self.url)
        return urlunsplit(address._replace(netloc=f"{user}:{password}@{address.hostname}:{address.port or 5672}"))

    def _answers(self) -> bool:
        """Whether the port is open and the server begins an AMQP connection, which it does only once it is ready."""
        address = urlsplit(self.url)
        with suppress(OSError), socket.create_connection((address.hostname, address.port or 5672), timeout=5) as link:
            link.sendall(b"AMQP\x00\x00\x09\x01")
            return link.recv(1) == b"\x01"
        return False


def find(scratch: Path, *, restartable: bool = False) -> RabbitServer:
    """A RabbitMQ, not yet started. ``restartable``: one that may be killed, so not one of somebody else's.

    Raises ``Unavailable``.
    """
    named = os.environ.get("WINNOW_TEST_AMQP_URL")
    if named and not restartable:
        return RabbitServer(named, Elsewhere())
    if has_image(IMAGE):
        container = Container(IMAGE, 5672, {"RABBITMQ_DEFAULT_USER": "winnow", "RABBITMQ_DEFAULT_PASS": "winnow"})
        url = f"amqp://winnow:winnow@127.0.0.1:{container.host_port}/%2F"
        return RabbitServer(url, container, container.remove)
    if PROGRAM.exists() and os.geteuid() == 0:
        return _installed(scratch)
    raise Unavailable(
        "no RabbitMQ: WINNOW_TEST_AMQP_URL is not set, Docker has no "
        f"{IMAGE}, and Debian's rabbitmq-server is not installed (or this is not root)"
    )


def find_deployed(scratch: Path, definitions: Path) -> RabbitServer:
    """A RabbitMQ with the configuration of the deployment and these definitions, not yet started.

    Its URL names no account that is there: use ``url_of``. Raises ``Unavailable``.
    """
    if has_image(IMAGE):
        mounted = (f"{DEPLOYED}:/etc/rabbitmq/rabbitmq.conf:ro", f"{definitions}:{LOADED}:ro")
        container = Container(IMAGE, 5672, {}, folders=mounted)
        url = f"amqp://nobody:nothing@127.0.0.1:{container.host_port}/%2F"
        return RabbitServer(url, container, container.remove)
    if PROGRAM.exists() and os.geteuid() == 0:
        return _installed(scratch, DEPLOYED.read_text().replace(LOADED, str(definitions)))
    raise Unavailable(f"no RabbitMQ to configure: Docker has no {IMAGE}, and Debian's rabbitmq-server is not installed")


def _installed(scratch: Path, configuration: str = "") -> RabbitServer:
    """Debian's server with every file, port and name of its own, so that it never meets one that runs already."""
    scratch.mkdir(parents=True, exist_ok=True)
    port, distribution_port, names_port = free_port(), free_port(), free_port()
    (scratch / "rabbitmq.conf").write_text(
        f"{configuration}\nlisteners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\nlog.file = false\n"
    )
    (scratch / "enabled_plugins").write_text("[].\n")
    (scratch / "environment").touch()
    env = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(scratch),  # where the Erlang cookie is made
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names_port),
        "RABBITMQ_NODENAME": f"winnow-test-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_MNESIA_BASE": str(scratch / "data"),
        "RABBITMQ_LOG_BASE": str(scratch / "log"),
        "RABBITMQ_PID_FILE": str(scratch / "pid"),
        "RABBITMQ_CONFIG_FILE": str(scratch / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(scratch / "environment"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(scratch / "enabled_plugins"),
        # The start script then becomes the Erlang machine instead of keeping it as a child: it can be waited for.
        "RUNNING_UNDER_SYSTEMD": "true",
        # No busy waiting: the tests share few cores with it.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
        ),
    }
    # Erlang would leave a name server behind that outlives the tests; started first, ours is found and used.
    name_server = shutil.which("epmd")
    if name_server is None:
        raise Unavailable("no RabbitMQ: rabbitmq-server is installed, but Erlang's epmd is not in PATH")
    names = Process([name_server, "-port", str(names_port), "-address", "127.0.0.1"], env, scratch / "epmd.log")
    names.start()
    server = Process([str(PROGRAM)], env, scratch / "server.log")
    return RabbitServer(f"amqp://guest:guest@127.0.0.1:{port}/%2F", server, names.kill)
