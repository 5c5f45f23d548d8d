"""What `winnow preflight` lets through."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from winnow.preflight import DERIVED, SECRETS, problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Secrets as make-secrets makes them."""
    for name in SECRETS:
        (tmp_path / name).write_text(secrets.token_hex(24))
    for name, secret in DERIVED.items():
        host = "postgres" if name.startswith("database") else "rabbitmq"
        (tmp_path / name).write_text(f"scheme://account:{(tmp_path / secret).read_text()}@{host}:1/x")
    return tmp_path


def only_problem(folder: Path) -> str:
    (problem,) = problems(folder)
    return problem


def test_good_secrets_pass(folder: Path) -> None:
    assert list(problems(folder)) == []


@pytest.mark.parametrize(
    "weak",
    [
        "password" * 4,
        "minioadminminioadmin",
        "guest-guest-guest-guest",
        "Winnow-Winnow-2026-winnow",
        "changeme_changeme_changeme",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "123123123123123123123123",
        "12345678901234567890",
        "zyxwvutsrqponmlkjihg",
        "Tr0ub4dorTr0ub4dorTr0ub4dor",
        "short",
    ],
)
def test_what_everybody_tries_first_is_refused_and_not_repeated(folder: Path, weak: str) -> None:
    (folder / "s3_secret_key").write_text(weak)
    assert only_problem(folder).startswith("s3_secret_key ")
    assert weak not in only_problem(folder)


def test_a_missing_an_empty_and_a_folder_are_told_apart(folder: Path) -> None:
    (folder / "s3_secret_key").unlink()
    assert "missing" in only_problem(folder)
    (folder / "s3_secret_key").write_text("\n")
    assert "empty" in only_problem(folder)
    (folder / "s3_secret_key").unlink()
    (folder / "s3_secret_key").mkdir()
    assert "folder" in only_problem(folder)


def test_two_services_must_not_share_a_password(folder: Path) -> None:
    (folder / "postgres_superuser").write_text((folder / "admin_password").read_text())
    assert "the same as" in only_problem(folder)


def test_an_address_with_an_old_password_is_found(folder: Path) -> None:
    (folder / "rabbitmq_api").write_text(secrets.token_hex(24))
    assert only_problem(folder).startswith("bus_url_api ")


def test_an_address_of_a_server_of_your_own_may_hold_any_password(folder: Path) -> None:
    (folder / "database_url_api").write_text("postgresql://me:mine@db.example.org/winnow?sslmode=verify-full")
    assert list(problems(folder)) == []


def test_a_password_that_breaks_the_address_made_of_it_is_refused(folder: Path) -> None:
    (folder / "postgres_api").write_text("f00t-b4ll/h0rse@c4stle:9")
    assert only_problem(folder).startswith("postgres_api has characters")
