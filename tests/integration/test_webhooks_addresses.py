"""Webhooks reach nothing of the inside: each way in is tried, and the listener there must not be connected to."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.db.webhooks import MessageState
from shared.errors import Invalid
from shared.settings import WebhookSettings
from shared.webhooks.addresses import Guard
from tests.integration.webhooks_support import Post
from tests.receiver import Receiver, Reply, receiver
from tests.world import World, build, open_system

PUBLIC = "93.184.216.34"


@pytest.fixture
def world(migrated_database_url: str, tmp_path: Path) -> Iterator[World]:
    with open_system(migrated_database_url, tmp_path / "store") as system:
        yield build(system, pool=1)


@pytest.fixture
def inside() -> Iterator[Receiver]:
    """What must not be reached."""
    with receiver() as found:
        yield found


class Names:
    """A resolver that gives each answer once, and the last one for ever; it counts how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def guard(*addresses: str, **settings: object) -> Guard:
    return Guard(
        WebhookSettings.model_validate(settings), (lambda host, port: addresses) if addresses else socket_names
    )


def socket_names(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def deliver_inside(world: World, inside: Receiver, url: str, names: Names | None = None) -> Post:
    """An endpoint that got into the database somehow, all checks on the way passed, and an attempt at it."""
    chosen = {"resolve": names} if names else {}
    post = Post.of(world.system, world.id, allow_networks=[], ports=[443, inside.port], **chosen)
    trusting = Post.of(world.system, world.id, resolve=lambda host, port: ["127.0.0.1"])
    mine, _ = trusting.endpoint("http://127.0.0.1:9/")
    with world.system.database.transaction() as tx:
        tx.run("UPDATE webhook_endpoints SET url = %(url)s WHERE id = %(id)s", {"url": url, "id": mine.id})
    post.emit()
    assert post.step() == 1
    message = post.message(mine)
    assert message.state is MessageState.PENDING
    assert message.last is not None and message.last.status is None
    return post


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",  # decimal
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",  # octal
        "017700000001",
        "127.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "127.0.0.1.",
        "127。0。0。1",
        "user@127.0.0.1",
        "93.184.216.34@127.0.0.1",
        "93.184.216.34#@127.0.0.1",
        "127.0.0.1\\@93.184.216.34",
    ],
)
def test_no_way_to_write_loopback_reaches_it(world: World, inside: Receiver, scheme: str, host: str) -> None:
    url = f"{scheme}://{host}:{inside.port}/"
    with pytest.raises(Invalid):
        guard(ports=[inside.port]).look(url)
    deliver_inside(world, inside, url)
    assert (inside.connections, inside.heard) == (0, [])


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # metadata of most clouds
        "fd00:ec2::254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "203.0.113.9",
        "3fff::1",
        "192.0.2.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "::127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:93.184.216.34",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "nonsense",
    ],
)
def test_a_name_of_an_address_of_the_inside_is_refused(address: str) -> None:
    with pytest.raises(Invalid, match="not a public address"):
        guard(address).look("https://hooks.example.org/")


def test_one_address_of_the_inside_among_public_ones_is_enough() -> None:
    with pytest.raises(Invalid, match=r"10\.0\.0\.1"):
        guard(PUBLIC, "10.0.0.1").look("https://hooks.example.org/")


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_a_public_address_is_allowed_by_https_at_usual_ports(address: str) -> None:
    assert guard(address).look("https://hooks.example.org/a?b=c").addresses == [address]
    assert guard(address).look("https://hooks.example.org:8443/").port == 8443
    for url in ("http://hooks.example.org/", "https://hooks.example.org:22/", "https://hooks.example.org:80/"):
        with pytest.raises(Invalid, match=r"must begin with https|may not go to port"):
            guard(address).look(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.org",
        "ftp://hooks.example.org/",
        "file:///etc/passwd",
        "gopher://hooks.example.org/",
        "https:///path",
        "https://:443/",
        "https://hooks.example.org:0/",
        "https://hooks.example.org:99999/",
        "https://hooks.example.org:x/",
        "https://user:pass@hooks.example.org/",
        "https://hooks.example.org/#part",
        "https://hooks.example.org/a b",
        "https://hooks.example.org/\r\nx: y",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        guard(PUBLIC).look(url)


def test_a_name_without_address_is_refused_and_says_so() -> None:
    with pytest.raises(Invalid, match=r"no-such-host\.invalid can't be resolved"):
        guard().look("https://no-such-host.invalid/")


def test_a_name_that_is_rebound_after_it_was_accepted_is_refused_at_delivery(world: World, inside: Receiver) -> None:
    names = Names([PUBLIC], ["127.0.0.1"])
    url = f"https://rebound.example.org:{inside.port}/"
    Guard(WebhookSettings(ports=[inside.port]), names).look(url)
    deliver_inside(world, inside, url, names)
    assert (names.asked, inside.connections) == (2, 0)


def test_what_was_looked_at_is_what_is_connected_to(world: World, inside: Receiver) -> None:
    """A name is asked for once for each attempt: between the look and the connection nothing can be swapped."""
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    with receiver("127.0.0.2") as meant:
        post = Post.of(world.system, world.id, allow_networks=["127.0.0.2/32"], resolve=names)
        _, _ = Post.of(world.system, world.id).endpoint(meant.url())
        with world.system.database.transaction() as tx:
            tx.run("UPDATE webhook_endpoints SET url = %(url)s", {"url": meant.url("swapped.example.org")})
        post.emit()
        post.step()
        (heard,) = meant.heard
    assert heard.headers["host"] == f"swapped.example.org:{meant.port}"
    assert (names.asked, inside.connections) == (1, 0)


def test_a_redirect_to_the_inside_is_not_followed(world: World, inside: Receiver) -> None:
    with receiver("127.0.0.2") as outside:
        outside.reply = lambda heard: Reply(307, {"location": inside.url()})
        post = Post.of(world.system, world.id, allow_networks=["127.0.0.2/32"])
        mine, _ = post.endpoint(outside.url())
        post.emit()
        post.step()
        last = post.message(mine).last
    assert last is not None and last.status == 307
    assert inside.connections == 0


def test_an_allow_list_opens_networks_and_hosts_and_nothing_beside_them(inside: Receiver) -> None:
    allowed = guard("10.1.2.3", allow_networks=["10.1.0.0/16"])
    assert allowed.look("http://hooks.corp:8080/").port == 8080
    with pytest.raises(Invalid):
        guard("10.2.0.1", allow_networks=["10.1.0.0/16"]).look("https://hooks.corp/")
    named = guard("10.2.0.1", allow_hosts=["Hooks.corp"])
    assert named.look("http://hooks.CORP:8080/").host == "hooks.corp"
    with pytest.raises(Invalid):
        named.look("http://other.corp:8080/")


def test_tls_verifies_the_name_though_the_address_was_chosen_here(world: World, tmp_path: Path) -> None:
    """The certificate is for hooks.corp: the request to that name is heard, the one to another name is not."""
    authority, server = certificate("hooks.corp", tmp_path)
    heard_names: list[str | None] = []
    server.sni_callback = lambda connection, name, context: heard_names.append(name)
    with receiver(tls=server) as there:
        post = Post.of(
            world.system,
            world.id,
            ca_file=authority,
            resolve=lambda host, port: ["127.0.0.1"],
        )
        good, _ = post.endpoint(there.url("hooks.corp", "https"))
        bad, _ = post.endpoint(there.url("other.corp", "https"))
        post.emit()
        post.step()
        assert [heard.headers["host"] for heard in there.heard] == [f"hooks.corp:{there.port}"]
    assert sorted(map(str, heard_names)) == ["hooks.corp", "other.corp"]
    assert post.message(good).state is MessageState.DELIVERED
    last = post.message(bad).last
    assert last is not None and "certificate" in (last.error or "").lower()


def test_a_certificate_that_nobody_vouches_for_is_refused(world: World, tmp_path: Path) -> None:
    _, server = certificate("hooks.corp", tmp_path)
    with receiver(tls=server) as there:
        post = Post.of(world.system, world.id, resolve=lambda host, port: ["127.0.0.1"])
        mine, _ = post.endpoint(there.url("hooks.corp", "https"))
        post.emit()
        post.step()
        assert there.heard == []
    assert post.message(mine).state is MessageState.PENDING


def certificate(name: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for a name that vouches for itself, as a file, and what a server that has it listens with."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "public.pem", folder / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
