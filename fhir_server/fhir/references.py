"""The forms of a Reference.reference (https://hl7.org/fhir/R4/references.html#literal), read from its text alone."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

Kind = Literal["relative", "absolute", "fragment", "urn", "conditional", "invalid"]


class ParsedReference(NamedTuple):
    """What a reference says, without looking anything up; a part it does not say is empty.

    - relative: `Patient/1`, `Patient/1/_history/2`: type, id, version
    - absolute: any URL with a scheme; with base (no slash at its end), type, id, version if it ends as a relative one
    - fragment: `#id`: id, empty for `#`, the container itself
    - urn: `urn:uuid:…`, `urn:oid:…`: id is the whole text
    - conditional: `Patient?identifier=…`: type, query
    - invalid: everything else
    """

    kind: Kind
    type: str = ""
    id: str = ""
    version: str = ""
    base: str = ""
    query: str = ""


_INVALID = ParsedReference("invalid")

_REMEMBERED: Final = 4096
_SHORT: Final = 256
"""Characters of a text that is worth remembering."""

_ID = r"[A-Za-z0-9.\-]{1,64}"
_RESOURCE = rf"([A-Z][A-Za-z]+)/({_ID})(?:/_history/({_ID}))?"

_relative = re.compile(_RESOURCE).fullmatch
_absolute = re.compile(rf"([A-Za-z][A-Za-z0-9+.\-]*://\S+?)/{_RESOURCE}").fullmatch
_conditional = re.compile(r"([A-Z][A-Za-z]+)\?(\S+)").fullmatch
_fragment = re.compile(r"#\S*").fullmatch
_url = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+").fullmatch


def parse_reference(text: str) -> ParsedReference:
    """The parts of a literal reference; kind `invalid` if it has none of the forms of R4. Never raises."""
    # Each reference of a resource is read by validation, links, facts and index in turn.
    return _remembered(text) if len(text) <= _SHORT else _parsed(text)


def _parsed(text: str) -> ParsedReference:
    found = _relative(text)
    if found:
        type, id, version = found.groups("")
        return ParsedReference("relative", type, id, version)
    if text.startswith("#"):
        return ParsedReference("fragment", id=text[1:]) if _fragment(text) else _INVALID
    if text.startswith("urn:"):
        return ParsedReference("urn", id=text) if _url(text) else _INVALID
    found = _conditional(text)
    if found:
        return ParsedReference("conditional", type=found[1], query=found[2])
    return _parse_absolute(text)


def _parse_absolute(text: str) -> ParsedReference:
    """A URL, which may lead to a resource of some FHIR server."""
    found = _absolute(text)
    if found:
        base, type, id, version = found.groups("")
        return ParsedReference("absolute", type, id, version, base)
    return ParsedReference("absolute") if _url(text) else _INVALID


_remembered = lru_cache(maxsize=_REMEMBERED)(_parsed)
