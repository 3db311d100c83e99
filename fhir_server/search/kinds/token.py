"""Tokens: codes, identifiers, booleans (https://hl7.org/fhir/R4/search.html#token)."""

from __future__ import annotations

import re
from typing import Any, Final

from fhir_server.search.entries import Text, Token
from fhir_server.search.kinds.asked import Asked, split, unescape
from fhir_server.search.kinds.bounds import cut
from fhir_server.search.kinds.sink import Add, Sink
from fhir_server.search.kinds.string import beginning, words
from fhir_server.search.predicate import Predicate, StringIs, TokenIs, disj

# The words that belong to a code are strings of a parameter of their own, as logical references are tokens of one.
TEXT: Final = ":text"
MODIFIERS: Final = frozenset({"", "not", "text"})

_WORDED: Final = frozenset({"CodeableConcept", "Coding", "Identifier"})
_BARE_OID: Final = re.compile(r"[0-2](\.(0|[1-9]\d*))+", re.ASCII)


def where(asked: Asked, text: str) -> Predicate:
    """`code`, `system|code`, `|code` or `system|`; with :text the beginning of a display or text.

    A bare OID is no URI: as a system it also means `urn:oid:` (spec domain ID-7). An element of type code says no
    system: the one that R4 binds it to and none mean the same.
    """
    if asked.modifier == "text":
        if not _WORDED.intersection(asked.types):
            raise asked.malformed("The modifier text is not supported for this parameter.")
        return StringIs(asked.param + TEXT, "starts", words(asked, text))
    parts = split(text, "|")
    if len(parts) == 1:
        return TokenIs(asked.param, None, unescape(text))
    system, code = unescape(parts[0]), unescape("|".join(parts[1:]))
    if not system and not code:
        raise asked.malformed("A code, a system or both are expected.")
    if system == asked.system:
        system = ""
    systems = [system, f"urn:oid:{system}"] if _BARE_OID.fullmatch(system) else [system]
    return disj(*(TokenIs(asked.param, each, code or None) for each in systems))


def add_coded(param: str, system: Any, code: Any, sink: Sink) -> None:
    """A pair of system and code, as Coding and Identifier have it."""
    if type(code) is str:
        sink.tokens.append(Token(param, cut(system) if type(system) is str else None, cut(code)))


def _code(param: str, value: Any, sink: Sink) -> None:
    if type(value) is str:
        sink.tokens.append(Token(param, None, cut(value)))


def _boolean(param: str, value: Any, sink: Sink) -> None:
    if type(value) is bool:
        sink.tokens.append(Token(param, None, "true" if value else "false"))


def _coding(param: str, value: Any, sink: Sink) -> None:
    if type(value) is dict:
        add_coded(param, value.get("system"), value.get("code"), sink)
        _text(param, value.get("display"), sink)


def _concept(param: str, value: Any, sink: Sink) -> None:
    if type(value) is not dict:
        return
    codings = value.get("coding")
    if type(codings) is list:
        for coding in codings:
            _coding(param, coding, sink)
    _text(param, value.get("text"), sink)


def _identifier(param: str, value: Any, sink: Sink) -> None:
    if type(value) is dict:
        add_coded(param, value.get("system"), value.get("value"), sink)
        kind = value.get("type")
        if type(kind) is dict:
            _text(param, kind.get("text"), sink)


def _contact(param: str, value: Any, sink: Sink) -> None:
    if type(value) is dict:
        _code(param, value.get("value"), sink)


def _text(param: str, text: Any, sink: Sink) -> None:
    if type(text) is str and (normal := beginning(text)):
        sink.strings.append(Text(param + TEXT, normal, ""))


ADD: Final[dict[str, Add]] = {
    "CodeableConcept": _concept,
    "Coding": _coding,
    "Identifier": _identifier,
    "ContactPoint": _contact,
    "boolean": _boolean,
    "code": _code,
    "id": _code,
    "string": _code,
    "uri": _code,
}
