"""What ``winnow migrate`` does to a database: schema, accounts, first user. All of it can be run again at any time."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import SecretStr

from services.ui.passwords import hash_password
from shared.db import events, users
from shared.db.migrate import migrate
from shared.db.pool import Database
from shared.db.roles import SERVICES, ensure_roles
from shared.settings import AdminSettings, DatabaseSettings, RolesSettings


def install(url: str) -> Iterator[str]:
    """Does one thing after the other, and says what was done."""
    applied = migrate(url)
    yield "\n".join(f"applied {name}" for name in applied) or "the schema is up to date"
    roles, admin = RolesSettings(), AdminSettings()
    if roles.dir is not None:
        ensure_roles(url, {name: (roles.dir / f"postgres_{name}").read_text().strip() for name in SERVICES})
        yield f"accounts of {', '.join(SERVICES)} are up to date"
    if admin.password is not None and _add_first_user(url, admin.username, admin.password):
        yield f"{admin.username} may sign in"


def _add_first_user(url: str, username: str, password: SecretStr) -> bool:
    """False if there are users already: a changed secret must not let anybody in who was locked out."""
    database = Database(DatabaseSettings(url=SecretStr(url), pool_size=1))
    try:
        with database.transaction() as tx:
            if users.any_exists(tx):
                return False
            user = users.add(tx, username, username.title(), hash_password(password.get_secret_value()), admin=True)
            events.record(tx, None, "system", "user.added", {"user": user.id, "username": username})
            return True
    finally:
        database.close()
