"""Parts of a resource instead of the whole (https://hl7.org/fhir/R4/search.html#summary, #elements).

Members are cut out raw, so what stays keeps its bytes. What a reader cannot do without stays whatever was asked for:
id, meta, mandatory elements and those that change the meaning of others (modifiers). A subset says in `meta.tag` that
it is one, so that nobody writes it back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

import msgspec

from fhir_server.fhir.definitions import Definitions, ElementDefinition, TypeDefinition
from fhir_server.fhir.splice import members

SUMMARIES: Final = ("true", "text", "data")
SUBSETTED: Final = b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'

_Keeps: TypeAlias = Callable[[ElementDefinition], bool]
# What is kept of a member: all of it (None), or the members of its values that a table of the same kind names.
_Members: TypeAlias = Mapping[str, "_Members | None"]

_ALWAYS: Final = ("resourceType", "id", "meta")
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_INTO_CONTAINED: Final = re.compile(rb'"reference"\s*:\s*"#').search


class Subsets:
    """Cuts resources by the definitions; what it works out for a type is kept."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._summaries: dict[tuple[str, str], _Members] = {}
        self._values: dict[str, _Members | None] = {}

    def cut(self, type: str, body: bytes, *, summary: str = "", elements: Collection[str] = ()) -> bytes:
        """The resource of that type as `_summary` ("", true, text, data) and `_elements` (names, with or without the
        type of a choice) ask for it; the same bytes when they ask for nothing. KeyError for an unknown type."""
        if elements:
            return _subset(body, self._named(type, frozenset(elements)))
        if summary in SUMMARIES:
            return _subset(body, self._summary(type, summary))
        return body

    def _summary(self, type: str, summary: str) -> _Members:
        if (type, summary) not in self._summaries:
            self._summaries[type, summary] = self._of_resource(type, summary)
        return self._summaries[type, summary]

    def _of_resource(self, type: str, summary: str) -> _Members:
        definition = self._definitions.type(type)
        if summary == "data":
            return self._top(definition, lambda element: element.name != "text", whole=True)
        if summary == "text":
            return self._top(definition, lambda element: element.name == "text" or element.min > 0, whole=True)
        return self._top(definition, _in_summary, whole=False)

    def _named(self, type: str, names: frozenset[str]) -> _Members:
        definition = self._definitions.type(type)
        # The type of a choice may be named or not: `value`, `valueQuantity`.
        wanted = {definition.properties[name][0].name for name in names if name in definition.properties} | names
        return self._top(
            definition,
            lambda element: element.name in wanted or element.min > 0 or element.is_modifier,
            whole=True,
        )

    def _top(self, definition: TypeDefinition, keeps: _Keeps, *, whole: bool) -> _Members:
        kept: dict[str, _Members | None] = dict.fromkeys(_ALWAYS)
        for name, (element, type_) in definition.properties.items():
            if name not in kept and keeps(element):
                kept[name] = None if whole else self._value(type_)
        return kept

    def _value(self, type: str) -> _Members | None:
        """What a summary keeps of a value of a datatype or backbone element; None when that is all of it."""
        if type not in self._values:
            # A type inside itself (Reference.identifier.assigner) is as whole as the rest of it.
            self._values[type] = None
            self._values[type] = self._of_value(self._definitions.type(type))
        return self._values[type]

    def _of_value(self, definition: TypeDefinition) -> _Members | None:
        # An extension may be all that stands for a mandatory value (data-absent-reason), so it stays, and whole.
        if definition.kind not in ("complex-type", "backbone") or definition.name == "Extension":
            return None
        kept: dict[str, _Members | None] = {}
        for name, (element, type_) in definition.properties.items():
            if _in_summary(element) or name in ("id", "extension"):
                kept[name] = self._value(type_)
        whole = len(kept) == len(definition.properties) and not any(kept.values())
        return None if whole else kept


def _in_summary(element: ElementDefinition) -> bool:
    return element.is_summary or element.is_modifier or element.min > 0


def _subset(body: bytes, kept: _Members) -> bytes:
    parts = members(body)
    contained = parts.get("contained")
    left = _pick(parts, kept)
    if contained and "contained" not in left and any(map(_INTO_CONTAINED, left.values())):
        left["contained"] = contained
    left["meta"] = _tagged(left.get("meta", b"{}"))
    return _joined(left)


def _pick(parts: Mapping[str, bytes], kept: _Members) -> dict[str, bytes]:
    """The members that stay; `_name` goes with `name`."""
    found = {}
    for name, raw in parts.items():
        key = name[1:] if name[:1] == "_" else name
        if key in kept:
            inner = kept[key]
            found[name] = raw if inner is None or name != key else _inside(raw, inner)
    return found


def _inside(raw: bytes, kept: _Members) -> bytes:
    if raw[:1] == b"[":
        return b"[" + b",".join(_inside(bytes(each), kept) for each in _LIST.decode(raw)) + b"]"
    return _joined(_pick(members(raw), kept))


def _joined(parts: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), raw) for name, raw in parts.items()) + b"}"


def _tagged(meta: bytes) -> bytes:
    if b'"SUBSETTED"' in meta:
        return meta
    parts = members(meta)
    tags = parts.get("tag", b"[]").rstrip()[:-1].rstrip()
    joined = tags + (b"," if tags[-1:] != b"[" else b"") + SUBSETTED + b"]"
    return _joined({**parts, "tag": joined})
