"""The form of a project's settings, made from what settings there are, and what is typed into it read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.ui.explanations import GROUPS, LEFT_OUT, ONLY_ALIKE, PREPARED, REST, STARTED, WORDS, Group
from services.ui.words import _
from shared.configuring import Settings, fixed, shown
from shared.domain import Project, ProjectSettings, ProjectState
from shared.errors import Invalid
from shared.selection import catalog
from shared.selection.catalog import Option

_FLAT = ("measure", "alpha", "clusters")
_AT_START = ("initial", "holdout_size", "cold_start", "cold_labels_per_class")
_FEATURES = ({"scratch", "finetune"}, {"head", "ridge"})
Errors = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Field:
    """``kind`` is whole, number, yes, choice, json or text. ``why``: why it can't be changed, empty where it can."""

    name: str
    title: str
    about: str
    kind: str
    value: str
    choices: Sequence[str] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = False
    why: str = ""
    note: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    group: Group
    fields: Sequence[Field]


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """``family``: what it goes by. ``needs_model``: it chooses at random until there is one."""

    name: str
    family: str
    meaning: str
    chosen: bool
    options: Sequence[Field]


def sections(project: Project, *, sealed: bool, typed: Mapping[str, str], errors: Errors) -> list[Section]:
    """Every setting there is, in groups; what was typed in place of what is stored."""
    properties = Settings.model_json_schema()
    stored = shown(project.settings).model_dump(mode="json")
    known = [name for name in properties["properties"] if name not in LEFT_OUT]
    made = {
        name: _field(name, properties, stored[name], project, sealed, typed, errors.get(name, "")) for name in known
    }
    grouped = {name for group in GROUPS for name in group.names}
    groups = [*GROUPS, REST]
    rest = [name for name in known if name not in grouped]
    found = [
        Section(group=group, fields=[made[name] for name in (rest if group is REST else group.names) if name in made])
        for group in groups
    ]
    return [section for section in found if section.fields]


def strategies(settings: ProjectSettings, typed: Mapping[str, str], errors: Errors) -> list[Strategy]:
    """As the catalogue has them."""
    chosen = typed.get("strategy", settings.strategy)
    present = catalog.options_of(settings)
    found = []
    for name in catalog.names():
        entry = catalog.entry(name)
        values = present if name == settings.strategy else {}
        options = [
            _option(f"option.{name}.{key}", key, option, values.get(key, option.default), typed, errors)
            for key, option in entry.options.items()
        ]
        found.append(
            Strategy(name=name, family=entry.group, meaning=entry.meaning, chosen=name == chosen, options=options)
        )
    return found


def read(project: Project, typed: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """The settings that differ from those stored, and errors by field. Fields that weren't shown stay as they are."""
    properties = Settings.model_json_schema()["properties"]
    stored = shown(project.settings).model_dump(mode="json")
    names = [name for name in typed.get("shown", "").split() if name in properties and name not in LEFT_OUT]
    given: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in names:
        try:
            given[name] = _raw(properties[name], typed.get(name, ""))
        except ValueError as error:
            errors[name] = str(error)
    strategy = str(given.get("strategy", project.settings.strategy))
    if "strategy" in given and strategy in catalog.CATALOG:
        given |= _options(strategy, typed, errors)
    try:
        whole = Settings.model_validate(given, strict=False)
    except ValidationError as error:
        errors |= {str(one["loc"][0]): one["msg"] for one in error.errors()}
        return Settings(), errors
    new = whole.model_dump(mode="json")
    changed = {name: given[name] for name in given if new[name] != stored[name]}
    return Settings.model_validate(changed, strict=False), errors


def _options(strategy: str, typed: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, option in catalog.entry(strategy).options.items():
        name = f"option.{strategy}.{key}"
        try:
            values[key] = option.checked(key, _typed_option(option, typed.get(name)))
        except (Invalid, ValueError) as error:
            errors[name] = str(error)
    flat = {key: value for key, value in values.items() if key in _FLAT}
    return {**flat, "strategy_options": {key: value for key, value in values.items() if key not in _FLAT}}


def _typed_option(option: Option, text: str | None) -> Any:
    if isinstance(option.default, bool):
        return text is not None
    if text is None or not text.strip():
        return option.default
    try:
        return type(option.default)(text.strip())
    except ValueError:
        raise ValueError(_("“%s” is not a number") % text[:50]) from None


def _raw(schema: Mapping[str, Any], text: str) -> Any:
    """What a field's text means. Raises ``ValueError``."""
    text = text.strip()
    if _kind(schema) == "json":
        try:
            return json.loads(text or "{}")
        except json.JSONDecodeError as error:
            raise ValueError(_("this is not JSON: %s") % error) from None
    if _kind(schema) == "yes":
        return text != ""
    if text == "" and _optional(schema):
        return None
    return int(text) if _kind(schema) == "choice" and text.isdecimal() else text


def _field(
    name: str,
    schema: Mapping[str, Any],
    value: Any,
    project: Project,
    sealed: bool,
    typed: Mapping[str, str],
    error: str,
) -> Field:
    own = schema["properties"][name]
    core = _core(own, schema)
    title, about = WORDS.get(name, (name.replace("_", " ").capitalize(), own.get("description", "")))
    choices = [str(one) for one in core.get("enum", ())]
    note = ""
    if name == "train_mode" and sealed:
        choices = [one for one in choices if any(one in kind and value in kind for kind in _FEATURES)]
        note = _(ONLY_ALIKE)
    return Field(
        name=name,
        title=_(title),
        about=_(about),
        kind="choice" if choices else _kind(core),
        value=typed.get(name, _text(value)) if "shown" not in typed else typed.get(name, ""),
        choices=choices,
        low=core.get("minimum", core.get("exclusiveMinimum")),
        high=core.get("maximum", core.get("exclusiveMaximum")),
        optional=_optional(own),
        why=_why(name, project, sealed),
        note=note,
        error=error,
    )


def _option(name: str, key: str, option: Option, value: Any, typed: Mapping[str, str], errors: Errors) -> Field:
    kinds = {bool: "yes", int: "whole", float: "number"}
    kind = "choice" if option.choices else kinds.get(type(option.default), "text")
    return Field(
        name=name,
        title=key.replace("_", " ").capitalize(),
        about=option.meaning[:1].upper() + option.meaning[1:] + ".",
        kind=kind,
        value=typed.get(name, _text(value)),
        choices=option.choices,
        low=option.low if kind in ("whole", "number") else None,
        high=option.high if kind in ("whole", "number") and option.high != float("inf") else None,
        error=errors.get(name, ""),
    )


def _why(name: str, project: Project, sealed: bool) -> str:
    if sealed and name in fixed(project.settings):
        return _(PREPARED)
    return _(STARTED) if name in _AT_START and project.state is not ProjectState.DRAFT else ""


def _core(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without null and references."""
    own = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    own = next(iter(own.get("allOf", (own,))))
    reference = own.get("$ref")
    meant: Mapping[str, Any] = whole["$defs"][reference.rpartition("/")[2]] if reference else own
    return meant


def _optional(schema: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "null" for one in schema.get("anyOf", ()))


def _kind(schema: Mapping[str, Any]) -> str:
    own = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    if "enum" in own:
        return "choice"
    return {"integer": "whole", "number": "number", "boolean": "yes", "object": "json"}.get(own.get("type", ""), "text")


def _text(value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    return json.dumps(value) if isinstance(value, dict) else str(value)
