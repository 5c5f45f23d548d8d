"""Every text that people read goes through the words of the ui, so that another language is one catalogue away."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from jinja2 import Environment, nodes

from services.ui import assets

TEMPLATES = sorted(path.relative_to(assets.TEMPLATES).as_posix() for path in assets.TEMPLATES.rglob("*.html"))
SCRIPTS = sorted(path.name for path in (assets.STATIC / "js").glob("*.js"))
NO_WORDS = {"Winnow", "UTC"}
_PIECE = re.compile(
    r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<!--.*?-->|<(?:[^<>{]|\{\{.*?\}\}|\{%.*?%\}|\{(?![{%]))*>)", re.DOTALL
)
_CLASSES = re.compile(r"\{% block body_class %\}.*?\{% endblock %\}")
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_SAID = re.compile(r"\b(?:aria-label|title|alt|placeholder)=\"((?:\{\{.*?\}\}|[^\"])*)\"", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2}")
_CODE = ("code", "kbd", "script", "style")
_MARKS = {"_", "gettext", "ngettext", "trans"}


def bare_texts(source: str) -> Iterator[str]:
    """Words between the tags of a template, or in attributes that are read out, that no call of ``_`` is around."""
    inside: list[str] = []
    for piece in _PIECE.split(_CLASSES.sub("", source)):
        if not _PIECE.fullmatch(piece):
            if not inside and _is_word(piece):
                yield piece.strip()
        elif piece.startswith("<") and not piece.startswith("<!"):
            name = re.match(r"</?\s*(\w+)", piece)
            if name and name.group(1) in _CODE:
                inside = inside[:-1] if piece.startswith("</") else [*inside, name.group(1)]
            for said in _SAID.finditer(piece):
                literal = _JINJA.sub(" ", said.group(1))
                if _is_word(literal):
                    yield said.group(0)


def bare_strings(source: str) -> Iterator[str]:
    """Sentences inside of expressions: ``{{ note or "No note." }}``."""
    tree = Environment(extensions=["jinja2.ext.i18n"]).parse(source)
    marked: set[int] = set()
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in _MARKS:
            marked |= {id(one) for one in call.find_all(nodes.Const)}
    for output in tree.find_all(nodes.Output):
        for one in output.find_all(nodes.Const):
            if id(one) not in marked and isinstance(one.value, str) and re.search(r"[A-Z]\w+ \w", one.value):
                yield one.value


def _is_word(text: str) -> bool:
    left = text
    for name in NO_WORDS:
        left = left.replace(name, "")
    return _WORD.search(re.sub(r"&\w+;|https?://\S+", "", left)) is not None


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_holds_a_bare_text(name: str) -> None:
    source = (assets.TEMPLATES / name).read_text()
    assert [*bare_texts(source), *bare_strings(source)] == []


@pytest.mark.parametrize(
    "source",
    [
        "<p>Nothing is here.</p>",
        '<p aria-label="Where you are"></p>',
        "<p>{{ count }} images</p>",
        '<img alt="Image {{ id }}">',
        '<p>{{ note or "No note was left." }}</p>',
    ],
)
def test_a_bare_text_is_found(source: str) -> None:
    assert [*bare_texts(source), *bare_strings(source)]


def test_marked_texts_and_code_are_not_taken_for_bare_ones() -> None:
    source = '<p title="{{ _(\'Here\') }}">{{ _("Two") }} <code>winnow up</code> <kbd>Enter</kbd> {{ n }} · Winnow</p>'
    assert [*bare_texts(source), *bare_strings(source)] == []


_STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|`((?:[^`\\]|\\.)*)`")
_SENTENCE = re.compile(r"^(?:\$\{[^}]*\} )?[A-Z][\w’']*(?:[ ,.:;]+[\w’'$%({][^\s]*)+[.!?…]?$|[.!?]$")


def bare_sentences(script: str) -> Iterator[str]:
    """String literals of a script that read like a sentence and that no call of ``_`` or ``ngettext`` takes."""
    code = re.sub(r"/\*.*?\*/|^\s*//.*$|\s//\s.*$", "", script, flags=re.DOTALL | re.MULTILINE)
    for found in _STRING.finditer(code):
        text = found.group(1) if found.group(1) is not None else found.group(2)
        before = code[: found.start()].rstrip()
        marked = re.search(r"\b(?:_|N_|ngettext)\(\s*(?:\"(?:[^\"\\]|\\.)*\",\s*)?$", code[: found.start()])
        for_developers = re.search(r"(?:Error|console\.\w+)\($", before)
        if _SENTENCE.search(text) and " " in text and not marked and not for_developers:
            yield text


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_holds_a_bare_sentence(name: str) -> None:
    assert list(bare_sentences((assets.STATIC / "js" / name).read_text())) == []
