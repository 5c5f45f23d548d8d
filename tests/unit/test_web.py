"""What every HTTP service answers when things go wrong, and what it notes of every request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated

import pytest
import structlog
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from pydantic import BaseModel
from starlette.types import Message
from structlog.testing import capture_logs

from shared.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Permanent,
    PoolEmpty,
    Retryable,
    StaleFence,
    Unauthorized,
    WinnowError,
)
from shared.web import MAX_BODY_BYTES, Problem, always, install, request_id, streams_body

ERRORS: dict[str, Exception] = {
    "unauthorized": Unauthorized("who are you?"),
    "forbidden": Forbidden("not you"),
    "not-found": NotFound("no such thing"),
    "conflict": Conflict("not now"),
    "stale-fence": StaleFence("it is another's"),
    "invalid": Invalid("not like this"),
    "pool-empty": PoolEmpty("nothing left"),
    "retryable": Retryable("host=10.0.0.7 refused"),
    "permanent": Permanent("/srv/secret is broken"),
    "winnow": WinnowError("/srv/secret is odd"),
    "bug": ZeroDivisionError("/srv/secret by zero"),
}


class Thing(BaseModel):
    name: str
    password: Annotated[str, Query(min_length=20)]


def routes(ready: Callable[[], None] = always, live: Callable[[], None] = always) -> FastAPI:
    app = FastAPI()
    install(app, service="test", ready=ready, live=live)
    router = APIRouter(prefix="/v1/things")

    @router.get("/fails/{kind}")
    def fails(kind: str) -> None:
        raise ERRORS[kind]

    @router.get("/more")
    def more() -> None:
        raise Problem(status=418, kind="teapot", title="Teapot", detail="short and stout", members={"spout": 1})

    @router.post("")
    def make(thing: Thing) -> Thing:
        return thing

    @router.get("/{thing_id}")
    def get(thing_id: int, request: Request) -> dict[str, object]:
        return {"request_id": request_id(request), "bound": structlog.contextvars.get_contextvars()}

    @router.get("/{thing_id}/stream")
    def stream(thing_id: int) -> StreamingResponse:
        def chunks() -> Iterator[bytes]:
            yield b"half"
            if thing_id == 0:
                raise RuntimeError("the other half is lost")
            yield b" whole"

        return StreamingResponse(chunks())

    @router.put("/stream")
    async def take(request: Request) -> int:
        streams_body(request)
        return sum([len(piece) async for piece in request.stream()])

    app.include_router(router)
    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(routes(), raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("kind", "status", "problem"),
    [
        ("unauthorized", 401, "unauthorized"),
        ("forbidden", 403, "forbidden"),
        ("not-found", 404, "not-found"),
        ("conflict", 409, "conflict"),
        ("stale-fence", 409, "stale-fence"),
        ("invalid", 422, "invalid"),
        ("pool-empty", 422, "invalid"),
        ("retryable", 503, "unavailable"),
        ("permanent", 500, "internal"),
        ("winnow", 500, "internal"),
        ("bug", 500, "internal"),
    ],
)
def test_every_error_is_a_problem(client: TestClient, kind: str, status: int, problem: str) -> None:
    answer = client.get(f"/v1/things/fails/{kind}", headers={"X-Request-Id": "abc-1"})
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (body["type"], body["status"]) == (f"urn:winnow:problem:{problem}", status)
    assert (body["instance"], body["request_id"]) == (f"/v1/things/fails/{kind}", "abc-1")
    assert body["title"] and body["detail"]
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_errors_of_the_caller_say_what_is_wrong(client: TestClient) -> None:
    assert client.get("/v1/things/fails/invalid").json()["detail"] == "not like this"


@pytest.mark.parametrize("kind", ["retryable", "permanent", "winnow", "bug"])
def test_what_broke_inside_is_logged_and_not_told(client: TestClient, kind: str) -> None:
    with capture_logs() as lines:
        answer = client.get(f"/v1/things/fails/{kind}")
    assert "secret" not in answer.text and "10.0.0.7" not in answer.text
    failures = [line for line in lines if line["log_level"] in ("warning", "error")]
    assert len(failures) == 1
    assert str(ERRORS[kind]) in str(failures[0]) or failures[0].get("exc_info")


def test_a_problem_may_have_members_of_its_own(client: TestClient) -> None:
    answer = client.get("/v1/things/more")
    assert (answer.status_code, answer.json()["spout"], answer.json()["title"]) == (418, 1, "Teapot")


def test_a_request_that_does_not_fit_names_its_fields_and_repeats_no_values(client: TestClient) -> None:
    answer = client.post("/v1/things", json={"password": "hunter2"})
    assert answer.status_code == 422
    assert [(e["in"], e["field"]) for e in answer.json()["errors"]] == [("body", "name"), ("body", "password")]
    assert "hunter2" not in answer.text
    assert answer.json()["detail"] == "body name Field required (and 1 more)"


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"", b'"text"'])
def test_what_is_no_json_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/things", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/none", 404), ("DELETE", "/v1/things/1", 405)])
def test_what_the_framework_refuses_is_a_problem_too(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["instance"] == path


def test_a_method_that_a_path_does_not_have_is_told_those_that_it_has() -> None:
    app = FastAPI()
    install(app, service="test", ready=lambda: None)
    router = APIRouter(prefix="/v1/things")
    router.add_api_route("", lambda: None, methods=["GET"])
    router.add_api_route("", lambda: None, methods=["POST"])
    router.add_api_route("/{name}", lambda name: None, methods=["PATCH"])
    app.include_router(router)
    answer = TestClient(app).delete("/v1/things")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_a_sane_request_id_is_kept_and_bound_to_the_log(client: TestClient) -> None:
    answer = client.get("/v1/things/1", headers={"X-Request-Id": "trace:7.a_b-C"})
    assert answer.headers["x-request-id"] == "trace:7.a_b-C"
    assert answer.json()["request_id"] == "trace:7.a_b-C"
    assert answer.json()["bound"]["request_id"] == "trace:7.a_b-C"
    assert "request_id" not in structlog.contextvars.get_contextvars()


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "né", "a\tb", '"><script>'])
def test_any_other_request_id_is_replaced(client: TestClient, given: str) -> None:
    made = client.get("/v1/things/1", headers={"X-Request-Id": given.encode()}).headers["x-request-id"]
    assert len(made) == 32 and made != given


def test_requests_have_ids_of_their_own(client: TestClient) -> None:
    assert len({client.get("/v1/things/1").headers["x-request-id"] for _ in range(5)}) == 5


def requests_seen(route: str, status: str, method: str = "GET") -> float:
    labels = {"service": "test", "method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("winnow_http_seconds_count", labels) or 0.0


def test_metrics_are_kept_by_route_and_not_by_path(client: TestClient) -> None:
    before = requests_seen("/v1/things/{thing_id}", "200")
    for thing in range(3):
        client.get(f"/v1/things/{thing}")
    assert requests_seen("/v1/things/{thing_id}", "200") == before + 3
    assert requests_seen("/v1/things/1", "200") == 0


def test_unknown_paths_and_methods_make_no_series_of_their_own(client: TestClient) -> None:
    before = requests_seen("(none)", "404"), requests_seen("(none)", "404", "(other)")
    client.get("/wp-login.php")
    client.request("BREW", "/pot")
    assert (requests_seen("(none)", "404"), requests_seen("(none)", "404", "(other)")) == (before[0] + 1, before[1] + 1)
    assert "wp-login" not in client.get("/metrics").text


def test_a_crash_is_counted(client: TestClient) -> None:
    before = requests_seen("/v1/things/fails/{kind}", "500")
    client.get("/v1/things/fails/bug")
    assert requests_seen("/v1/things/fails/{kind}", "500") == before + 1


def test_a_service_is_alive_while_it_is_not_ready() -> None:
    def not_ready() -> None:
        raise Permanent("the store at http://10.0.0.7 refused the key")

    client = TestClient(routes(not_ready))
    assert client.get("/healthz").json() == {"status": "alive"}
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "10.0.0.7" not in answer.text


def test_a_service_of_which_a_part_has_died_is_neither_alive_nor_ready() -> None:
    def died() -> None:
        raise Retryable("the thread exports has ended")

    client = TestClient(routes(live=died))
    with structlog.testing.capture_logs() as logs:
        assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (503, 503)
    assert [line["error"] for line in logs] == [
        "not alive: the thread exports has ended",
        "not ready: the thread exports has ended",
    ]


def test_a_service_that_can_work_is_ready(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}


def test_operations_are_not_part_of_the_api(client: TestClient) -> None:
    assert not {"/healthz", "/readyz", "/metrics"} & set(client.get("/openapi.json").json()["paths"])


def test_metrics_can_be_scraped(client: TestClient) -> None:
    client.get("/v1/things/1")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "winnow_http_seconds_count" in answer.text


# Bodies


def pieces_of(size: int) -> Iterator[bytes]:
    """A body whose length isn't declared."""
    for _ in range(0, size, 1 << 20):
        yield bytes(1 << 20)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_to_be_held_in_memory_is_limited(client: TestClient, declared: bool) -> None:
    size = MAX_BODY_BYTES + (1 << 20)
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/things", content=bytes(size) if declared else pieces_of(size), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.json()["type"] == "urn:winnow:problem:content-too-large"
    assert "8 MiB" in answer.json()["detail"]


def test_a_body_that_is_streamed_is_not_limited(client: TestClient) -> None:
    size = MAX_BODY_BYTES + (3 << 20)
    assert client.put("/v1/things/stream", content=pieces_of(size)).json() == size


async def _events(path: str) -> tuple[list[str], BaseException | None]:
    """What goes out for a request, in order, and how the application ended."""
    app, sent = routes(), []

    body = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if body:
            return body.pop()
        return await asyncio.Future()  # the client stays and sends nothing more

    async def send(message: Message) -> None:
        sent.append(str(message.get("status", message.get("body", b"").decode())))

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}
    try:
        await app(scope, receive, send)
    except RuntimeError as error:
        return sent, error
    return sent, None


def test_an_answer_goes_out_piece_by_piece() -> None:
    sent, _ = asyncio.run(_events("/v1/things/1/stream"))
    assert sent == ["200", "half", " whole", ""]


def test_half_an_answer_never_passes_for_a_whole_one() -> None:
    sent, error = asyncio.run(_events("/v1/things/0/stream"))
    assert sent == ["200", "half"]
    assert isinstance(error, RuntimeError)
