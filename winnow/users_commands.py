"""``winnow users``: people who sign in."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer
from rich.console import Console

from shared.domain import Role
from shared.errors import Invalid
from winnow.target import DEFAULT_DATA, DatabaseOption, DataOption, transaction

app = typer.Typer(no_args_is_help=True, help="People who sign in: add, change a password.")
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


@app.command("add")
def add(
    username: str,
    name: Annotated[str | None, typer.Option(help="As shown to others.")] = None,
    password: Annotated[str | None, typer.Option(help="None: one is made up and shown.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May do everything everywhere.")] = False,
    role: Annotated[Role | None, typer.Option(help="What they are in --project.")] = None,
    project: Annotated[int | None, typer.Option(help="Id of the project that they work in.")] = None,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Add somebody who may sign in: an admin, or with a role in a project."""
    from services.ui.passwords import hash_password
    from shared.db import events, members, projects, users
    from shared.domain import ProjectId

    if (role is None) != (project is None):
        raise Invalid("--role and --project go together")
    chosen = password or secrets.token_urlsafe(9)
    with transaction(database, data) as tx:
        user = users.add(tx, username, name or username, hash_password(chosen), admin=admin)
        events.record(tx, None, "system", "user.added", {"user": user.id, "username": username, "admin": admin})
        if role is not None and project is not None:
            where = projects.get(tx, ProjectId(project)).id
            members.put(tx, where, user.id, role)
            events.record(tx, where, "system", "member.added", {"user": user.id, "role": role.value})
    console.print(f"{username} may sign in" + ("" if password else f" with the password {chosen}"), markup=False)
    if not admin and role is None:
        errors.print("They see no project until a manager lets them into one.")


@app.command("password")
def password(
    username: str,
    password: Annotated[str | None, typer.Option(help="None: one is made up and shown.")] = None,
    database: DatabaseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Give somebody a new password; they are signed out everywhere."""
    from services.ui.passwords import hash_password
    from shared.db import events, users

    chosen = password or secrets.token_urlsafe(9)
    with transaction(database, data) as tx:
        users.set_password(tx, username, hash_password(chosen))
        users.close_sessions_of(tx, username)
        events.record(tx, None, "system", "user.password_changed", {"username": username})
    console.print(f"{username} signs in with the new password" + ("" if password else f" {chosen}"), markup=False)
