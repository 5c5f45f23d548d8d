"""What only S3 can do, or get wrong. The server checks signatures, so a wrong one is refused."""

from __future__ import annotations

import io
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from minio import Minio

from shared.errors import Invalid, Permanent, Retryable
from shared.settings import StoreSettings
from shared.store.factory import open_store
from shared.store.s3 import S3Store
from tests.servers.process import free_port
from tests.servers.s3 import S3Server
from tests.waiting import wait_for

OpenStore = Callable[..., S3Store]


@pytest.fixture
def open_s3(s3: S3Server, unique: str) -> OpenStore:
    """Opens a store in this test's bucket; what is given differs from what is right."""

    def opened(**different: str) -> S3Store:
        right = {"endpoint": s3.endpoint, "access_key": s3.access_key, "secret_key": s3.secret_key}
        return S3Store(**{**right, "region": s3.region, "bucket": unique, **different})

    return opened


def fetch(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def test_a_wrong_secret_is_refused_for_good_and_the_message_says_by_whom(open_s3: OpenStore, s3: S3Server) -> None:
    open_s3().put_bytes("a", b"x")
    stranger = open_s3(secret_key="not-the-secret")
    for use in (lambda: stranger.put_bytes("a", b"y"), lambda: stranger.get("a"), lambda: stranger.exists("a")):
        with pytest.raises(Permanent, match="refused the access key") as raised:
            use()
        assert s3.endpoint in str(raised.value)
        assert "not-the-secret" not in str(raised.value)
    assert open_s3().get("a") == b"x"


def test_an_unknown_access_key_is_refused_for_good(open_s3: OpenStore) -> None:
    with pytest.raises(Permanent, match="refused the access key"):
        open_s3(access_key="nobody").get("a")


def test_a_check_with_a_wrong_secret_fails_as_a_check_does(open_s3: OpenStore) -> None:
    with pytest.raises(Retryable, match="refused the access key"):
        open_s3(secret_key="not-the-secret").check()


def test_the_bucket_is_made_once_and_then_shared(open_s3: OpenStore) -> None:
    open_s3().put_bytes("a", b"x")
    assert open_s3().get("a") == b"x"


def test_a_bucket_that_is_deleted_is_made_again(open_s3: OpenStore, s3: S3Server, unique: str) -> None:
    store = open_s3()
    store.put_bytes("a", b"x")
    store.delete("a")
    Minio(urlsplit(s3.endpoint).netloc, s3.access_key, s3.secret_key, secure=False, region=s3.region).remove_bucket(
        unique
    )
    with pytest.raises(Retryable, match="bucket"):
        store.put_bytes("b", b"y")
    store.put_bytes("b", b"y")
    assert store.get("b") == b"y"


def test_a_browser_can_fetch_a_signed_link(open_s3: OpenStore) -> None:
    store = open_s3()
    store.put_bytes("a/b.png", b"pixels", "image/png")
    link = store.presigned_get("a/b.png", 60)
    assert link is not None
    with urllib.request.urlopen(link, timeout=30) as response:
        assert response.read() == b"pixels"
        assert response.headers["Content-Type"] == "image/png"


def test_a_signed_link_ends_when_it_says(open_s3: OpenStore) -> None:
    store = open_s3()
    store.put_bytes("a", b"x")
    link = store.presigned_get("a", 1)
    assert link is not None
    wait_for(lambda: fetch(link)[0] == 403, "the link to end")


def test_a_signed_link_is_good_for_nothing_else(open_s3: OpenStore) -> None:
    store = open_s3()
    store.put_bytes("mine", b"x")
    store.put_bytes("other", b"secret")
    link = store.presigned_get("mine", 60)
    assert link is not None
    assert fetch(link.replace("/mine?", "/other?"))[0] == 403


def test_links_point_to_the_public_endpoint_and_are_signed_without_asking_anyone(open_s3: OpenStore) -> None:
    store = open_s3(endpoint=f"http://127.0.0.1:{free_port()}", public_endpoint="https://images.example.org")
    link = store.presigned_get("a", 60)
    assert link is not None
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc) == ("https", "images.example.org")
    assert parse_qs(parts.query)["X-Amz-SignedHeaders"] == ["host"]


def test_a_link_signed_for_the_public_endpoint_is_accepted_there(open_s3: OpenStore, s3: S3Server) -> None:
    store = open_s3(public_endpoint=s3.endpoint.replace("127.0.0.1", "localhost"))
    store.put_bytes("a", b"x")
    link = store.presigned_get("a", 60)
    assert link is not None
    assert urlsplit(link).hostname == "localhost"
    assert fetch(link) == (200, b"x")


@pytest.mark.parametrize("seconds", [0, -1, 8 * 24 * 3600])
def test_a_link_that_can_not_be_signed_is_refused(open_s3: OpenStore, seconds: int) -> None:
    with pytest.raises(Invalid, match="7 days"):
        open_s3().presigned_get("a", seconds)


def test_a_server_that_can_not_be_reached_is_a_passing_fault(open_s3: OpenStore) -> None:
    store = open_s3(endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Retryable, match="can't be reached"):
        store.get("a")
    with pytest.raises(Retryable, match="can't be reached"):
        store.check()


def test_a_server_that_is_killed_is_a_passing_fault_and_keeps_what_it_had(killable_s3: S3Server, unique: str) -> None:
    store = S3Store(
        endpoint=killable_s3.endpoint,
        access_key=killable_s3.access_key,
        secret_key=killable_s3.secret_key,
        region=killable_s3.region,
        bucket=unique,
    )
    store.put_bytes("a", b"x")
    killable_s3.kill()
    with pytest.raises(Retryable):
        store.put(key="b", body=io.BytesIO(b"y"), length=1)
    killable_s3.start()
    assert store.get("a") == b"x"


def answering(answer: bytes) -> str:
    """A server that answers whatever it is asked with these bytes and hangs up; its endpoint."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            link, _ = listener.accept()
            with link:
                link.recv(65536)
                link.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_that_breaks_off_is_a_passing_fault(open_s3: OpenStore) -> None:
    endpoint = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nonly this")
    with pytest.raises(Retryable, match="broke off"):
        open_s3(endpoint=endpoint).get("a")


def test_an_answer_that_is_not_of_s3_is_a_passing_fault(open_s3: OpenStore) -> None:
    endpoint = answering(
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno!\n"
    )
    store = open_s3(endpoint=endpoint)
    store._bucket_known = True
    with pytest.raises(Retryable, match="not S3's"):
        store.get("a")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://host", "http://host/path", "http://", ""])
def test_an_endpoint_that_is_none_is_refused(open_s3: OpenStore, endpoint: str) -> None:
    with pytest.raises(Invalid, match="endpoint"):
        open_s3(endpoint=endpoint)


def test_a_bucket_name_that_is_none_is_refused_for_good(open_s3: OpenStore) -> None:
    with pytest.raises(Permanent, match="bucket"):
        open_s3(bucket="No Such Name").get("a")


def test_the_settings_choose_this_store(s3: S3Server, unique: str) -> None:
    settings = StoreSettings(
        kind="s3",
        endpoint=s3.endpoint,
        region=s3.region,
        bucket=unique,
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )
    open_store(settings).check()
