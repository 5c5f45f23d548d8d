"""The two forms of handing out tasks: what the fast one asks of a task the full one asks too."""

from __future__ import annotations

from shared.db.sql import queries


def conditions(name: str) -> list[str]:
    """The lines between what is read and what is done with it, and all that follows."""
    sql = queries("tasks")[name]
    return [line.strip() for line in sql[sql.index("WHERE t.project_id") :].splitlines()]


def test_the_fast_lease_is_the_full_one_less_what_concerns_copies_and_gold() -> None:
    full, fast = conditions("lease"), conditions("lease_plain")
    differs = [line for line in fast if line not in full]
    assert differs == ["FROM next WHERE tasks.id = next.id AND (SELECT bool_and(plain) FROM next)"]
    left_out = "\n".join(line for line in full if line not in fast)
    assert (
        left_out.count("AND (t.") == 2 and "t.question_id IS NULL OR" in left_out and "t.kind <> 'gold' OR" in left_out
    )
