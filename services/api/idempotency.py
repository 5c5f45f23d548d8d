"""``Idempotency-Key``: a POST that is sent twice is done once, and answered twice the same.

The first request with a key is done; what it is answered is kept for a day, for the API key that sent it, and given to
whoever sends the same again. Another request under that key is refused (422), and one that comes while the first is
under way is put off (409). Only what succeeded is kept: after an error the same key may be tried again, with a better
body if need be. The first request is known to be under way by a mark that its process renews; if the process dies the
mark runs out, and the request is done when it comes next. By then it may have been done, the reply alone being lost: so
what is made has a name, or a key of its own, that makes it once.

Uploads and pictures are not held in memory and not looked at here: an upload is told by its contents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.credentials import digest
from shared.db import idempotency, members
from shared.db.idempotency import Kept
from shared.db.pool import Database
from shared.domain import ApiKeyId
from shared.errors import WinnowError
from shared.telemetry import logger
from shared.web import Problem, problem_from, problem_of, problem_response

log = logger(__name__)
HEADER = "Idempotency-Key"
REPLAYED = b"idempotency-replayed"
LONGEST_KEY = 200
BUSY_S, RENEW_S = 10.0, 3.0
"""For how long a request is marked as under way, and how often the mark is renewed."""
KEPT_BYTES = 4 * 1024 * 1024
"""A longer answer is not kept: the request would be done again."""
_KEPT_HEADERS = frozenset({b"content-type", b"location", b"etag", b"retry-after"})


@dataclass
class _Answer:
    """What the application answers, held back until it is kept."""

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 500

    @property
    def headers(self) -> Mapping[str, str]:
        sent: Sequence[tuple[bytes, bytes]] = self.messages[0].get("headers", ())
        return {name.decode(): value.decode("latin-1") for name, value in sent if name in _KEPT_HEADERS}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


class Idempotency:
    """ASGI middleware, within that which names requests and makes problems of what nobody caught."""

    def __init__(self, app: ASGIApp, *, database: Database) -> None:
        self._app = app
        self._database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        key = headers.get(HEADER)
        if key is None or scope["method"] != "POST" or headers.get("content-type", "").startswith("multipart/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            owner = await self._owner(headers)
            if owner is None:  # the application says what is wrong with the credentials
                await self._app(scope, receive, send)
                return
            _check(key)
            body = await request.body()
            sha256 = _fingerprint(request, body)
            kept = await to_thread.run_sync(self._begin, owner, key, sha256)
        except WinnowError as error:
            await problem_response(request, problem_from(error))(scope, receive, send)
            return
        except Problem as problem:
            await problem_response(request, problem)(scope, receive, send)
            return
        except HTTPException as error:  # the body is too large
            await problem_response(request, problem_of(error))(scope, receive, send)
            return
        if kept is None:
            await self._do(scope, _again(body, receive), send, owner, key)
        else:
            await _answer_again(request, kept, sha256, send)

    async def _owner(self, headers: Headers) -> ApiKeyId | None:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None

        def look() -> ApiKeyId | None:
            with self._database.transaction() as tx:
                principal = members.principal_of_key(tx, digest(secret.strip()))
            return principal.key.id if principal is not None and principal.key is not None else None

        return await to_thread.run_sync(look)

    def _begin(self, owner: ApiKeyId, key: str, sha256: bytes) -> Kept | None:
        with self._database.transaction() as tx:
            return idempotency.begin(tx, owner, key, sha256, busy_s=BUSY_S)

    async def _do(self, scope: Scope, receive: Receive, send: Send, owner: ApiKeyId, key: str) -> None:
        """Do the request, keep what it is answered, then answer, whether the caller is still there or not."""
        answer = _Answer()

        async def hold(message: Message) -> None:
            answer.messages.append(message)

        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._renew, owner, key)
                await self._app(scope, receive, hold)
                beside.cancel_scope.cancel()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._end, owner, key, None)
            raise
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._end, owner, key, answer)
        for message in answer.messages:
            await send(message)

    async def _renew(self, owner: ApiKeyId, key: str) -> None:
        def renew() -> None:
            try:
                with self._database.transaction() as tx:
                    idempotency.renew(tx, owner, key, busy_s=BUSY_S)
            except WinnowError as error:
                log.warning("idempotency.not_renewed", error=str(error))

        while True:
            await anyio.sleep(RENEW_S)
            await to_thread.run_sync(renew)

    def _end(self, owner: ApiKeyId, key: str, answer: _Answer | None) -> None:
        """Keep what succeeded. If the database can't be reached the mark runs out: the answer itself is good."""
        good = answer is not None and 200 <= answer.status < 300 and len(answer.body) <= KEPT_BYTES
        try:
            with self._database.transaction() as tx:
                if good and answer is not None:
                    idempotency.finish(tx, owner, key, answer.status, answer.headers, answer.body)
                else:
                    idempotency.forget(tx, owner, key)
        except WinnowError as error:
            log.warning("idempotency.not_kept", error=str(error))


def _check(key: str) -> None:
    if not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise Problem(
            status=422,
            kind="invalid",
            title="The input can't be accepted",
            detail=f"an {HEADER} has 1 to {LONGEST_KEY} printable ASCII characters; a UUID will do",
        )


def _fingerprint(request: Request, body: bytes) -> bytes:
    """What makes a request the same as another."""
    told = f"{request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(told + body).digest()


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` for the application: the body that was read, then whatever else comes."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _answer_again(request: Request, kept: Kept, sha256: bytes, send: Send) -> None:
    if kept.request_sha256 != sha256:
        problem = Problem(
            status=422,
            kind="idempotency-key-reused",
            title="The key was used for another request",
            detail=f"this {HEADER} came with another request before: a new request needs a key of its own",
        )
    elif kept.status is None:
        problem = Problem(
            status=409,
            kind="idempotency-in-flight",
            title="The same request is under way",
            detail="the first request with this key is not answered yet: send it again shortly",
            headers={"Retry-After": "1"},
        )
    else:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in kept.headers.items()]
        headers += [(b"content-length", str(len(kept.body)).encode()), (REPLAYED, b"true")]
        await send({"type": "http.response.start", "status": kept.status, "headers": headers})
        await send({"type": "http.response.body", "body": kept.body})
        return
    await problem_response(request, problem)(request.scope, request.receive, send)
