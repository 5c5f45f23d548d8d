"""``winnow keys``: API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from shared.errors import Invalid
from winnow.target import DEFAULT_DATA, DatabaseOption, DataOption, transaction

if TYPE_CHECKING:
    from shared.credentials import NewKey
    from shared.db.pool import Tx
    from shared.domain import UserId

app = typer.Typer(no_args_is_help=True, help="API keys: create, rotate, list, revoke.")
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
PrefixArgument = Annotated[str, typer.Argument(help="As `winnow keys list` shows it.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated: read, ingest, label, manage, batch.")] = "read",
    project: Annotated[int | None, typer.Option(help="Id of the only project it may reach; none: all.")] = None,
    days: Annotated[int | None, typer.Option(help="Days until it expires; none: never.")] = None,
    acts_as: Annotated[
        str | None, typer.Option(help="User name that it acts as, and may do no more than: a vendor for `batch`.")
    ] = None,
    vendor: Annotated[
        str | None, typer.Option(help="Name of the vendor that it acts as, made if new; its scope is `batch`.")
    ] = None,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Make an API key and show it, this once."""
    from shared.db import events, keys, users
    from shared.domain import ProjectId, Scope

    if vendor is not None and (acts_as is not None or scopes not in ("read", "batch")):
        raise Invalid("a vendor's key acts as the vendor and has the scope batch alone")
    scopes = scopes if vendor is None else Scope.BATCH.value
    try:
        wanted = [Scope(scope.strip()) for scope in scopes.split(",")]
    except ValueError:
        raise Invalid(f"scopes are {', '.join(scope.value for scope in Scope)}; got {scopes!r}") from None
    with transaction(database, data) as tx:
        owner = None if acts_as is None else _owner(tx, acts_as)
        new, key = keys.make(
            tx,
            name=name,
            scopes=wanted,
            project_id=None if project is None else ProjectId(project),
            expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
            user_id=owner if vendor is None else users.vendor_named(tx, vendor),
        )
        events.record(tx, None, "system", "key.created", {"prefix": key.prefix, "name": name, "scopes": scopes})
    _show(new)


@app.command("rotate")
def rotate(prefix: PrefixArgument, database: DatabaseOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """Make a second key like one that is live, to change over to; then revoke the first."""
    from shared.db import events, keys

    with transaction(database, data) as tx:
        new, key = keys.rotate(tx, prefix)
        scopes = ",".join(sorted(key.scopes))
        events.record(tx, None, "system", "key.created", {"prefix": key.prefix, "name": key.name, "scopes": scopes})
    _show(new)


@app.command("list")
def list_(database: DatabaseOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """Show every key's name, prefix, scopes and last use; never the key."""
    from shared.db import keys

    with transaction(database, data) as tx:
        found = keys.listed(tx)
    table = Table(
        Column("prefix", no_wrap=True), "name", "scopes", "project", "acts as", "expires", "last used", "state"
    )
    for one in found:
        key = one.key
        table.add_row(
            key.prefix,
            key.name,
            ",".join(sorted(key.scopes)),
            str(key.project_id or "all"),
            one.acts_as or "-",
            f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "never",
            f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
            one.state(datetime.now(UTC)),
        )
    console.print(table)


@app.command("revoke")
def revoke(prefix: PrefixArgument, database: DatabaseOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """End a key at once."""
    from shared.db import events, users

    with transaction(database, data) as tx:
        key = users.revoke_key(tx, prefix)
        events.record(tx, None, "system", "key.revoked", {"prefix": prefix})
    console.print(f"{key.prefix} ({key.name}) is revoked")


def _owner(tx: Tx, username: str) -> UserId:
    from shared.db import users

    found = users.credentials(tx, username)
    if found is None:
        raise Invalid(f"there is no user {username}")
    return found.user.id


def _show(new: NewKey) -> None:
    console.print(new.secret, markup=False)
    errors.print("Keep it now: only its hash is stored, so it can't be shown again.")
