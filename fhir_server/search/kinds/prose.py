"""The words of a resource, for `_text` and `_content` (https://hl7.org/fhir/R4/search.html#text).

`_text` asks the narrative; `_content` the narrative and everything that is written for people to read: elements of type
string and markdown. Left aside is what only looks like text (identifiers, addresses of the net, versions of code
systems, units), what is in extensions, and contained resources, which are resources of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape as unescape_html
from itertools import islice
from typing import Any, Final, TypeAlias

from fhir_server.fhir.definitions import Definitions
from fhir_server.search.entries import Prose
from fhir_server.search.kinds.asked import Asked, unescape
from fhir_server.search.kinds.sink import Sink
from fhir_server.search.kinds.string import words_of
from fhir_server.search.predicate import Predicate, Words, conj, disj, negate

MODIFIERS: Final = frozenset({""})

_TAG: Final = re.compile(r"<[^>]*>")
# Of one resource: characters that are looked at, words that are kept.
_CHARACTERS: Final = 100_000
_MOST: Final = 5_000
# Of one question: signs, brackets within brackets.
_SIGNS: Final = 50
_DEPTH: Final = 5
_SIGN: Final = re.compile(r'([()])|"([^"]*)"?|([^\s()"]+)')

_NO_TEXT: Final = frozenset(
    {"Coding.version", "ContactPoint.value", "Quantity.unit", "Reference.reference", "SampledData.data"}
)
_NOT_READ: Final = frozenset({"id", "meta", "extension", "modifierExtension", "contained"})
_NO_TEXT_IN: Final = frozenset({"Identifier", "Narrative", "Meta", "Extension", "Resource"})

# JSON property → what its values hold: None for text, or the layout of a type.
Layout: TypeAlias = dict[str, Any]


def where(asked: Asked, text: str) -> Predicate:
    """All of the words, in any order; `AND`, `OR`, `NOT` and brackets as in R4's own example
    `(bone OR liver) and metastases`. A text in quotes is asked by its words."""
    return _Question(asked, unescape(text)).whole()


class Layouts:
    """Where the types of R4 have text; made type by type when first asked for."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._made: dict[str, Layout] = {}

    def of(self, type_: str) -> Layout:
        """The layout of a type; without the properties that lead to no text."""
        if type_ not in self._made:
            known = set(self._made)
            self._make(type_)
            _prune([layout for name, layout in self._made.items() if name not in known])
        return self._made[type_]

    def _make(self, type_: str) -> Layout:
        if type_ in self._made:
            return self._made[type_]
        layout = self._made[type_] = {}
        for name, (element, inner) in self._definitions.type(type_).properties.items():
            if name in _NOT_READ or inner in _NO_TEXT_IN or element.path in _NO_TEXT:
                continue
            if inner in ("string", "markdown"):
                layout[name] = None
            elif not self._definitions.type(inner).is_primitive:
                layout[name] = self._make(inner)
        return layout


def _prune(layouts: Sequence[Layout]) -> None:
    """Takes out what leads to nothing, until nothing does."""
    while idle := [(of, name) for of in layouts for name, inner in of.items() if inner == {}]:
        for of, name in idle:
            del of[name]


def add(resource: dict[str, Any], layout: Layout, sink: Sink) -> None:
    """The words of one resource: those of its narrative, and those that are only elsewhere."""
    text = resource.get("text")
    div = text.get("div") if type(text) is dict else None
    narrative = _words([_narrative(div)]) if type(div) is str else {}
    if narrative:
        sink.prose.append(Prose("_text", " ".join(narrative)))
    texts: list[str] = []
    _gather(resource, layout, texts)
    words = _words(texts)
    beyond = [word for word in words if word not in narrative] if narrative else words
    if beyond:
        sink.prose.append(Prose("_content", " ".join(beyond)))


def _narrative(div: str) -> str:
    text = _TAG.sub(" ", div[:_CHARACTERS])
    return unescape_html(text) if "&" in text else text


def _gather(value: dict[str, Any], layout: Layout, texts: list[str]) -> None:
    """Adds the texts of a value, which is no deeper than JSON may be."""
    for name in layout if len(layout) < len(value) else value:
        if name not in value or name not in layout:
            continue
        each, inner = value[name], layout[name]
        if inner is None:
            if type(each) is str:
                texts.append(each)
            elif type(each) is list:
                texts += [part for part in each if type(part) is str]
        elif type(each) is dict:
            _gather(each, inner, texts)
        elif type(each) is list:
            for part in each:
                if type(part) is dict:
                    _gather(part, inner, texts)


def _words(texts: list[str]) -> dict[str, None]:
    """The words, each once, as they come."""
    whole = " ".join(texts)
    if len(whole) > _CHARACTERS or whole.isascii():
        found = words_of(whole[:_CHARACTERS])
    else:
        # Text by text: displays are remembered.
        found = [word for text in texts for word in words_of(text)]
    words = dict.fromkeys(found)
    return words if len(words) <= _MOST else dict.fromkeys(islice(words, _MOST))


class _Question:
    """`a b`, `a AND b` (R4 also writes `and`), `a OR b`, `NOT a`, `(a)`; AND binds tighter than OR."""

    def __init__(self, asked: Asked, text: str) -> None:
        self._asked = asked
        signs = list(islice(_SIGN.finditer(text), _SIGNS + 1))
        if len(signs) > _SIGNS:
            raise asked.malformed(f"More than {_SIGNS} words.")
        self._signs = [(found.lastindex or 0, found.group(found.lastindex or 0)) for found in signs]
        self._at = 0

    def whole(self) -> Predicate:
        asked = self._either(0)
        if asked is None or self._at < len(self._signs):
            raise self._malformed()
        return asked

    def _malformed(self) -> Exception:
        return self._asked.malformed("Words are expected, such as: (bone OR liver) AND metastases.")

    def _either(self, depth: int) -> Predicate | None:
        parts = [self._all(depth)]
        while self._taken("OR"):
            parts.append(self._all(depth))
        said = [part for part in parts if part is not None]
        if len(parts) > 1 and len(said) < len(parts):
            raise self._malformed()
        return disj(*said) if said else None

    def _all(self, depth: int) -> Predicate | None:
        words: list[str] = []
        parts: list[Predicate] = []
        while self._at < len(self._signs) and self._signs[self._at] not in ((1, ")"), (3, "OR")):
            if self._taken("AND") or self._taken("and"):
                continue
            part = self._one(depth)
            if isinstance(part, Words):
                words += part.words
            elif part is not None:
                parts.append(part)
        if words:
            parts.insert(0, Words(self._asked.param, tuple(sorted(set(words)))))
        return conj(*parts) if parts else None

    def _one(self, depth: int) -> Predicate | None:
        if self._taken("NOT"):
            inner = self._one(depth) if self._at < len(self._signs) else None
            if inner is None:
                raise self._malformed()
            return negate(inner)
        kind, text = self._signs[self._at]
        self._at += 1
        if kind != 1:
            words = words_of(text)
            return Words(self._asked.param, tuple(sorted(set(words)))) if words else None
        inner = self._either(depth + 1) if text == "(" and depth < _DEPTH else None
        if inner is None or not self._taken(")", 1):
            raise self._malformed()
        return inner

    def _taken(self, text: str, kind: int = 3) -> bool:
        if self._at < len(self._signs) and self._signs[self._at] == (kind, text):
            self._at += 1
            return True
        return False
