"""An identity provider, by OpenID Connect: where to send a browser, and whether to believe what it comes back with."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import authlib.deprecate  # noqa: F401  it has its warnings shown always, so it comes before what is said of them here
import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from services.ui.words import _
from shared.errors import Forbidden, Retryable
from shared.settings import OidcSettings
from shared.telemetry import logger

with warnings.catch_warnings():  # it would rather have a fork of httpx, and says so into a log where each line is JSON
    warnings.simplefilter("ignore", DeprecationWarning)
    from authlib.integrations.httpx_client import OAuth2Client

log = logger(__name__)
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a key that only the provider has. ``none`` and shared secrets are not among them."""
_PATIENCE_S = 10.0
_KEPT_S = 3600.0
_LEEWAY_S = 60


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What the provider vouches for."""

    subject: str
    username: str
    display_name: str


class Provider:
    """An identity provider as its discovery document describes it, read when it is first needed. Thread-safe."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def begin(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """The address to send the browser to."""
        with self._client(redirect_uri) as client:
            url, _state = client.create_authorization_url(
                self._described("authorization_endpoint"), state=state, code_verifier=verifier, nonce=nonce
            )
        return str(url)

    def end(self, redirect_uri: str, *, code: str, nonce: str, verifier: str) -> Claims:
        """Who signed in there. Raises ``Forbidden`` for what can't be believed, ``Retryable`` without an answer."""
        try:
            with self._client(redirect_uri) as client:
                token = client.fetch_token(self._described("token_endpoint"), code=code, code_verifier=verifier)
            found = self._believed(str(token["id_token"]), nonce)
        except httpx.HTTPError as error:
            raise Retryable(f"the identity provider can't be reached: {error}") from error
        except (AuthlibBaseError, JoseError, KeyError, ValueError) as error:
            log.warning("oidc.refused", error=f"{type(error).__name__}: {error}")
            raise Forbidden(_("the identity provider's answer can't be believed: sign in again")) from error
        name = str(found.get("preferred_username") or found.get("email") or found["sub"])
        return Claims(
            subject=f"{found['iss']} {found['sub']}", username=name, display_name=str(found.get("name") or name)
        )

    def _believed(self, id_token: str, nonce: str) -> Mapping[str, Any]:
        try:
            decoded = jwt.decode(id_token, self._keys(), algorithms=ALGORITHMS)
        except InvalidKeyIdError:  # no key of that id: the provider may have changed its keys since they were read
            self._kept.pop(self._described("jwks_uri"), None)
            decoded = jwt.decode(id_token, self._keys(), algorithms=ALGORITHMS)
        options = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client_id},
        }
        params = {"nonce": nonce, "client_id": self.settings.client_id}
        CodeIDToken(decoded.claims, decoded.header, options, params).validate(leeway=_LEEWAY_S)
        return dict(decoded.claims)

    def _keys(self) -> KeySet:
        return KeySet.import_key_set(self._read(self._described("jwks_uri")))  # type: ignore[arg-type]

    def _described(self, name: str) -> str:
        found = self._read(f"{str(self.settings.issuer).rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self.settings.issuer:
            raise Forbidden(_("the identity provider calls itself something else than WINNOW_OIDC_ISSUER"))
        return str(found[name])

    def _read(self, url: str) -> dict[str, Any]:
        with self._lock:
            at, kept = self._kept.get(url, (0.0, {}))
            if not kept or time.monotonic() - at > _KEPT_S:
                try:
                    kept = dict(httpx.get(url, timeout=_PATIENCE_S).raise_for_status().json())
                except (httpx.HTTPError, ValueError) as error:
                    raise Retryable(f"the identity provider can't be reached: {error}") from error
                self._kept[url] = (time.monotonic(), kept)
            return kept

    def _client(self, redirect_uri: str) -> OAuth2Client:
        secret = self.settings.client_secret
        return OAuth2Client(
            client_id=self.settings.client_id,
            client_secret=secret.get_secret_value() if secret else None,
            scope="openid profile email",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            timeout=_PATIENCE_S,
        )
