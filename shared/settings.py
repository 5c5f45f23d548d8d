"""Settings from the environment (prefix ``WINNOW_``), one small class per concern.

Only composition roots build them (a service's ``__main__`` or ``app`` factory, the ``winnow`` command); everything
else is handed what it needs. Each value may also come from a file: ``WINNOW_X_FILE=/run/secrets/x`` for secrets.
"""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class _Settings(BaseSettings):
    """Reads ``NAME_FILE`` for ``NAME`` where that is set, so that secrets can be mounted as files."""

    # What can't be accepted is not repeated in the error: it may hold a secret, and errors are logged.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        prefix = cls.model_config.get("env_prefix", "")
        for name in cls.model_fields:
            path = os.environ.get(f"{prefix}{name}_file".upper())
            if path:
                try:
                    values[name] = Path(path).read_text().strip()
                except OSError as error:
                    raise ValueError(f"{prefix}{name}_file".upper() + f" can't be read: {error}") from None
        return values


class DatabaseSettings(_Settings):
    """``WINNOW_DATABASE_*``. ``url`` is a libpq connection string."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_DATABASE_")
    url: SecretStr
    pool_size: int = Field(default=10, ge=1)
    acquire_timeout_s: float = Field(default=30.0, gt=0)


class BusSettings(_Settings):
    """``WINNOW_BUS_*``. ``local`` needs only Postgres; ``amqp`` needs RabbitMQ 3.10 or newer."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_BUS_")
    kind: Literal["local", "amqp"] = "local"
    url: SecretStr | None = None

    @model_validator(mode="after")
    def _needs_url(self) -> BusSettings:
        if self.kind == "amqp" and self.url is None:
            raise ValueError("WINNOW_BUS_URL must be set when WINNOW_BUS_KIND is amqp")
        return self


class StoreSettings(_Settings):
    """``WINNOW_STORE_*``. ``endpoint`` is what services connect to, ``public_endpoint`` what browsers reach."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_STORE_")
    kind: Literal["disk", "s3"] = "disk"
    path: Path | None = None
    endpoint: str | None = None
    public_endpoint: str | None = None
    region: str = "us-east-1"
    bucket: str = "winnow"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None

    @model_validator(mode="after")
    def _complete(self) -> StoreSettings:
        if self.kind == "disk" and self.path is None:
            raise ValueError("WINNOW_STORE_PATH must be set when WINNOW_STORE_KIND is disk")
        if self.kind == "s3" and not (self.endpoint and self.access_key and self.secret_key):
            raise ValueError(
                "WINNOW_STORE_ENDPOINT, WINNOW_STORE_ACCESS_KEY and WINNOW_STORE_SECRET_KEY must be set for s3"
            )
        return self


class TelemetrySettings(_Settings):
    """``WINNOW_LOG_*``. JSON lines by default; ``console`` is for a person at a terminal."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_LOG_")
    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class WorkerSettings(_Settings):
    """``WINNOW_WORKER_*``. A job's lease is renewed every third of ``lease_s``."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_WORKER_")
    lease_s: float = Field(default=30.0, gt=0)
    drain_s: float = Field(default=8.0, gt=0)
    """After SIGTERM a running job may finish for this long, then it is given back."""
    sweep_every_s: float = Field(default=2.0, gt=0)
    metrics_port: int | None = None
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` are served; None: nowhere."""
    metrics_host: str = "127.0.0.1"
    device: str | None = None
    """``cpu`` or ``cuda``; None: whichever is there."""
    weights_dir: Path | None = Field(default=None, validation_alias="WINNOW_WEIGHTS_DIR")


class TrainerSettings(_Settings):
    """``WINNOW_TRAINER_*``. With more than one process or node, networks are trained by all of them together."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_TRAINER_", env_ignore_empty=True)
    processes: int | None = Field(default=None, ge=1)
    """Processes that train one model on this machine; None: one for each GPU that it may use."""
    nodes: int = Field(default=1, ge=1)
    """Machines that train one model; one runs the trainer, the others ``python -m services.trainer.member``."""
    node: int = Field(default=0, ge=0)
    """This machine's number among them: 0 for the trainer, 1 and up for the members."""
    master: str | None = None
    """``host:port`` at which the trainer's machine is reached by the members, on a network that nobody else is in."""
    journal_s: float = Field(default=15.0, gt=0)
    """How often the state of a training is written down, from which it goes on after a crash."""
    unlabelled: int = Field(default=20_000, ge=0)
    """The most images of the unlabelled pool that a training reads, where its recipe uses any."""

    @model_validator(mode="after")
    def _reachable(self) -> TrainerSettings:
        if self.nodes > 1 and self.master is None:
            raise ValueError("WINNOW_TRAINER_MASTER must say host:port when WINNOW_TRAINER_NODES is above 1")
        if self.node >= self.nodes:
            raise ValueError("WINNOW_TRAINER_NODE must be below WINNOW_TRAINER_NODES")
        return self


class ApiSettings(_Settings):
    """``WINNOW_API_*``. Limits that protect the service from what it is sent."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_API_")
    host: str = "127.0.0.1"
    port: int = 8000
    max_file_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 50_000_000
    decode_memory_bytes: int = 1280 * 1024 * 1024
    """What all images being decoded at once may take. One of ``max_pixels`` takes up to 24 bytes a pixel; what could
    never fit is refused."""
    requests_per_minute: int = Field(default=6000, ge=1)
    """Of one API key, to one process; beyond these it is told to wait (429)."""
    image_endpoint: str | None = Field(default=None, validation_alias="WINNOW_STORE_PUBLIC_ENDPOINT")
    """Where vendors reach the store, by signed links; None: they fetch images through the api."""


class UiSettings(_Settings):
    """``WINNOW_UI_*``. The limits of uploads are those of the api."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_UI_")
    host: str = "127.0.0.1"
    port: int = 8080
    max_file_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 50_000_000
    decode_memory_bytes: int = 1280 * 1024 * 1024
    session_hours: int = Field(default=12, ge=1)
    """How long a session lasts at most."""
    idle_minutes: int = Field(default=120, ge=1)
    """After so long without a request it ends, too. A page on which somebody labels asks every few seconds."""
    secure_cookies: bool = False
    """True behind TLS."""


class OidcSettings(_Settings):
    """``WINNOW_OIDC_*``. The provider (OpenID Connect) through which people may sign in, if ``issuer`` is set."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_OIDC_", env_ignore_empty=True)
    issuer: str | None = None
    """As its discovery document has it: ``https://id.example.org/realms/lab``."""
    client_id: str = "winnow"
    client_secret: SecretStr | None = None
    name: str = "single sign-on"
    """What the button says after "Sign in with"."""
    sign_up: bool = False
    """True: whoever the provider vouches for becomes a user, of no project. Else they need an invitation."""


class AdminSettings(_Settings):
    """``WINNOW_ADMIN_*``. The first user, made by ``winnow migrate`` where there is none yet."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_ADMIN_")
    username: str = "admin"
    password: SecretStr | None = None


class RolesSettings(_Settings):
    """``WINNOW_ROLES_*``. ``dir`` holds the passwords of the services' accounts, ``postgres_<service>`` each."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_ROLES_")
    dir: Path | None = None


class RetentionSettings(_Settings):
    """``WINNOW_RETENTION_*``. How much of what can be computed again is kept, per project."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_RETENTION_")
    scores: int = Field(default=2, ge=1)
    """Of how many of the newest scored models the scores are kept."""
    weights: int = Field(default=10, ge=1)
    """How many of the newest models are kept, beside the best on the holdout and those that labels came from."""
    predictions_s: float = Field(default=24 * 3600.0, ge=600)
    """How long what a model said of callers' pictures can be fetched. Must be longer than such a request takes."""
    webhooks_s: float = Field(default=30 * 24 * 3600.0, ge=600)
    """How long the log of a delivery is kept, once it was delivered or given up."""
    exports_s: float = Field(default=7 * 24 * 3600.0, ge=600)
    """How long the file of an export can be downloaded."""
    every_s: float = Field(default=3600.0, gt=0)
    """How often the sweepers look for what is surplus."""


class WebhookSettings(_Settings):
    """``WINNOW_WEBHOOK_*``. Where webhooks may go, and how patiently they are delivered. Lists are JSON: ``[443]``."""

    model_config = SettingsConfigDict(env_prefix="WINNOW_WEBHOOK_")
    allow_hosts: list[str] = []
    """Names of inside hosts that webhooks may go to, by http and at any port as well."""
    allow_networks: list[str] = []
    """The same for addresses, as ``10.1.0.0/16``."""
    ports: list[int] = [443, 8443]
    """Of hosts that are not in these lists."""
    ca_file: Path | None = None
    """Certificates of authorities beside the public ones, for inside hosts."""
    timeout_s: float = Field(default=20.0, gt=0)
    """How long one attempt may take, from connecting to the end of the answer."""
    concurrency: int = Field(default=16, ge=1)
    """Requests under way at once, of one process."""
    per_endpoint: int = Field(default=4, ge=1)
    """The most of these to one endpoint; to one that fails it is one."""
    lease_s: float = Field(default=120.0, gt=0)
    """After this a message in hand of a silent process is delivered by another. Longer than an attempt takes."""
    poll_s: float = Field(default=1.0, gt=0)

    @field_validator("allow_networks")
    @classmethod
    def _networks(cls, given: list[str]) -> list[str]:
        return [str(ip_network(text)) for text in given]
