"""A small OpenID provider over HTTP, with real signatures, for tests of who is let in through one."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT_ID, CLIENT_SECRET = "winnow-test", "a secret between the two"


@dataclass
class Identity:
    """Who would sign in next at the provider, and what is wrong with what it then says."""

    subject: str = "s-1"
    claims: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)
    """Claims of the ID token that are put in place of the true ones."""
    forged: bool = False
    """Sign with a key that is not the provider's."""


class IdentityProvider:
    def __init__(self) -> None:
        self.issuer = ""
        self.who = Identity()
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})
        self._other = RSAKey.generate_key(2048, {"kid": "k1"})
        self._codes: dict[str, dict[str, str]] = {}

    def change_key(self) -> None:
        """As providers do from time to time."""
        self.key = RSAKey.generate_key(2048, {"kid": f"k{secrets.token_hex(2)}"})

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def describe() -> dict[str, str]:
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            paths = ("authorize", "token", "keys")
            return {"issuer": self.issuer, **{n: f"{self.issuer}/{p}" for n, p in zip(names, paths, strict=True)}}

        @app.get("/keys")
        def keys() -> Any:
            return KeySet([self.key]).as_dict(private=False)

        @app.get("/authorize")
        def authorize(request: Request) -> Response:
            """Whoever ``who`` is consents at once."""
            asked = dict(request.query_params)
            if asked["client_id"] != CLIENT_ID or asked["response_type"] != "code" or "openid" not in asked["scope"]:
                raise HTTPException(400)
            if asked["code_challenge_method"] != "S256":
                raise HTTPException(400)
            code = secrets.token_urlsafe(16)
            self._codes[code] = asked
            return RedirectResponse(f"{asked['redirect_uri']}?code={code}&state={asked['state']}", 303)

        @app.post("/token")
        def token(
            request: Request,
            code: Annotated[str, Form()],
            redirect_uri: Annotated[str, Form()],
            code_verifier: Annotated[str, Form()],
        ) -> dict[str, Any]:
            basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            asked = self._codes.pop(code, None)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).decode().rstrip("=")
            good = asked is not None and asked["redirect_uri"] == redirect_uri and asked["code_challenge"] == challenge
            if not good or asked is None or request.headers.get("authorization") not in (f"Basic {basic}", _quoted()):
                raise HTTPException(400, "invalid_grant")
            return {"access_token": "x", "token_type": "Bearer", "id_token": self._signed(asked["nonce"])}

        return app

    def _signed(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": self.who.subject,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.who.claims,
            **self.who.lies,
        }
        key = self._other if self.who.forged else self.key
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, key)


def _quoted() -> str:
    """Some clients quote the secret before they encode it (RFC 6749, 2.3.1)."""
    from urllib.parse import quote

    return "Basic " + base64.b64encode(f"{CLIENT_ID}:{quote(CLIENT_SECRET)}".encode()).decode()


@contextmanager
def running() -> Iterator[IdentityProvider]:
    """The provider on a port of this machine."""
    provider = IdentityProvider()
    server = uvicorn.Server(uvicorn.Config(provider.app(), host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    provider.issuer = f"http://127.0.0.1:{port}"
    try:
        yield provider
    finally:
        server.should_exit = True
        thread.join(10)
