"""Projects and their classes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import AuditFailed, Class, ClassId, Project, ProjectId, ProjectSettings, ProjectState, RoundMode
from shared.errors import Conflict, Invalid, NotFound

_Q = queries("projects")
# The first eight stay distinct with the common colour-vision deficiencies (after Okabe and Ito, 2008).
PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9",
    "#7a5195", "#8c6d1f", "#2b8a8a", "#b23a48", "#5c7f2e", "#6b6b6b",
)  # fmt: skip


def settings_from_json(values: Row) -> ProjectSettings:
    """Settings as stored; keys that this version does not know are ignored, so that a rollback can still read."""
    known = {f.name for f in fields(ProjectSettings)}
    kept = {key: value for key, value in values.items() if key in known}
    if "mode" in kept:
        kept["mode"] = RoundMode(kept["mode"])
    return ProjectSettings(**kept)


def _project(row: Row) -> Project:
    return Project(
        id=row["id"],
        name=row["name"],
        state=ProjectState(row["state"]),
        settings=settings_from_json(row["settings"]),
        stop_reason=row["stop_reason"],
        created_at=row["created_at"],
        labelling_rest=row["labelling_rest"],
        stream=row["stream"],
        audit_failed=None if row["audit_failed"] is None else AuditFailed(**row["audit_failed"]),
    )


def create(tx: Tx, name: str, class_names: Sequence[str], settings: ProjectSettings) -> Project:
    """A new project in ``draft``, with its classes in the order given.

    Classes named by distinct digits have these as hotkeys; else the first nine get 1 to 9. Raises ``Conflict`` if the
    name is taken, ``Invalid`` for fewer than two classes or a name given twice.
    """
    if len(class_names) < 2:
        raise Invalid("a project needs at least two classes")
    if len(set(class_names)) != len(class_names):
        raise Invalid("every class needs a name of its own")
    row = tx.one(_Q["insert_project"], {"name": name, "settings": json.dumps(asdict(settings))})
    assert row is not None  # INSERT ... RETURNING
    count = len(class_names)
    tx.all(
        _Q["insert_classes"],
        {
            "project_id": row["id"],
            "positions": list(range(count)),
            "names": list(class_names),
            "colours": [PALETTE[i % len(PALETTE)] for i in range(count)],
            "hotkeys": _hotkeys(class_names),
        },
    )
    return _project(row)


def _hotkeys(names: Sequence[str]) -> list[str | None]:
    if all(name in "0123456789" and len(name) == 1 for name in names):
        return list(names)  # who reads a 3 wants to press 3
    return [str(at + 1) if at < 9 else None for at in range(len(names))]


def get(tx: Tx, project_id: ProjectId) -> Project:
    """Raises ``NotFound``."""
    row = tx.one(_Q["get_project"], {"id": project_id})
    if row is None:
        raise NotFound(f"there is no project {project_id}")
    return _project(row)


def lock(tx: Tx, project_id: ProjectId) -> Project:
    """As ``get``, and nobody else moves the project on until this transaction ends."""
    row = tx.one(_Q["get_project_for_update"], {"id": project_id})
    if row is None:
        raise NotFound(f"there is no project {project_id}")
    return _project(row)


def page(tx: Tx, *, after: int = 0, limit: int = 50, only: Collection[ProjectId] | None = None) -> list[Project]:
    """Projects with an id above ``after``, in order of id; ``only`` some of them."""
    params = {"after": after, "limit": limit, "only": None if only is None else list(only)}
    return [_project(r) for r in tx.all(_Q["list_projects"], params)]


def running(tx: Tx) -> list[ProjectId]:
    return [ProjectId(row["id"]) for row in tx.all(_Q["list_running"])]


def set_state(tx: Tx, project_id: ProjectId, state: ProjectState, stop_reason: str | None = None) -> None:
    tx.run(_Q["set_state"], {"id": project_id, "state": state.value, "stop_reason": stop_reason})


def set_labelling_rest(tx: Tx, project_id: ProjectId, on: bool) -> None:
    tx.run(_Q["set_labelling_rest"], {"id": project_id, "on": on})


def set_stream(tx: Tx, project_id: ProjectId, stream: Mapping[str, float]) -> None:
    """Where the stream of arriving images stands, see ``shared.selection.streams.StreamState``."""
    tx.run(_Q["set_stream"], {"id": project_id, "stream": json.dumps(dict(stream))})


def set_audit_failed(tx: Tx, project_id: ProjectId, failed: AuditFailed) -> None:
    tx.run(_Q["set_audit_failed"], {"id": project_id, "failed": json.dumps(asdict(failed))})


def set_settings(tx: Tx, project_id: ProjectId, settings: ProjectSettings) -> Project:
    row = tx.one(_Q["set_settings"], {"id": project_id, "settings": json.dumps(asdict(settings))})
    if row is None:
        raise Conflict(f"project {project_id} is gone")
    return _project(row)


def classes(tx: Tx, project_id: ProjectId) -> list[Class]:
    """In order of position, that is of the columns of probabilities."""
    return [
        Class(
            id=ClassId(row["id"]),
            project_id=project_id,
            position=row["position"],
            name=row["name"],
            colour=row["colour"],
            hotkey=row["hotkey"],
        )
        for row in tx.all(_Q["list_classes"], {"project_id": project_id})
    ]


def has_class(tx: Tx, project_id: ProjectId, class_id: ClassId) -> bool:
    row = tx.one(_Q["class_in_project"], {"project_id": project_id, "class_id": class_id})
    return bool(row and row["found"])


def names(tx: Tx, ids: Iterable[int]) -> dict[int, str]:
    """By id, of those that there are."""
    return {row["id"]: row["name"] for row in tx.all(_Q["names"], {"ids": list(ids)})}


def class_names(tx: Tx, ids: Iterable[int]) -> dict[int, str]:
    """By id, of those that there are, whatever their projects."""
    return {row["id"]: row["name"] for row in tx.all(_Q["class_names"], {"ids": list(ids)})}


def set_name(tx: Tx, project_id: ProjectId, name: str) -> None:
    """Raises ``Conflict`` if another project has it."""
    tx.run(_Q["set_name"], {"id": project_id, "name": name})


def set_classes(tx: Tx, project_id: ProjectId, wanted: Sequence[Class]) -> None:
    """Names, places, colours and keys of all classes of a project, under its lock. Places may only change before
    ``training_began``: they are the columns of models."""
    tx.run(_Q["loosen_classes"], {"project_id": project_id})
    params = {
        "project_id": project_id,
        "ids": [one.id for one in wanted],
        "positions": [one.position for one in wanted],
        "names": [one.name for one in wanted],
        "colours": [one.colour for one in wanted],
        "hotkeys": [one.hotkey for one in wanted],
    }
    tx.run(_Q["set_classes"], params)


def add_class(tx: Tx, project_id: ProjectId, name: str) -> None:
    """A class after the last, under the project's lock; models learn it from their next training on.

    It gets the next colour, and the digit of its place as key if that is free. Raises ``Conflict`` for a name taken.
    """
    present = classes(tx, project_id)
    place = len(present)
    digit = str(place + 1) if place < 9 and all(one.hotkey != str(place + 1) for one in present) else None
    tx.all(
        _Q["insert_classes"],
        {
            "project_id": project_id,
            "positions": [place],
            "names": [name],
            "colours": [PALETTE[place % len(PALETTE)]],
            "hotkeys": [digit],
        },
    )


def training_began(tx: Tx, project_id: ProjectId) -> bool:
    """Whether a model of this project was ever trained, or is about to be."""
    row = tx.one(_Q["training_began"], {"project_id": project_id})
    return bool(row and row["began"])
