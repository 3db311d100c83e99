"""Tokens: codes, identifiers, booleans (https://hl7.org/fhir/R4/search.html#token)."""

from __future__ import annotations

import re
from typing import Any, Final

from fhir_server.search.entries import Text, Token
from fhir_server.search.kinds.asked import Asked, split, unescape
from fhir_server.search.kinds.bounds import CUT, MOST, cut
from fhir_server.search.kinds.sink import Add, Sink
from fhir_server.search.kinds.string import beginning, words
from fhir_server.search.predicate import Predicate, StringIs, TokenIs, disj

# The words that belong to a code are strings of a parameter of their own, as logical references are tokens of one.
TEXT: Final = ":text"
# What an identifier is of its type: tokens of (system of the type, "code of the type|value").
OF_TYPE: Final = ":of-type"
MODIFIERS: Final = frozenset({"", "not", "text", "of-type", "in", "not-in"})

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
    if asked.modifier == "of-type":
        return _of_type(asked, text)
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


def _of_type(asked: Asked, text: str) -> Predicate:
    """`system|code|value`: an identifier whose type is that code."""
    if "Identifier" not in asked.types:
        raise asked.malformed("The modifier of-type is for identifiers.")
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise asked.malformed("The system and the code of a type and a value are expected: system|code|value.")
    system, code, value = parts
    return TokenIs(asked.param + OF_TYPE, system, cut(f"{code}|{value}"))


def add_coded(param: str, system: Any, code: Any, sink: Sink) -> None:
    """A pair of system and code, as Coding and Identifier have it."""
    if type(code) is str:
        sink.tokens.append(Token(param, system[:CUT] if type(system) is str else None, code[:CUT]))


def _code(param: str, value: Any, sink: Sink) -> None:
    if type(value) is str:
        sink.tokens.append(Token(param, None, cut(value)))


def _boolean(param: str, value: Any, sink: Sink) -> None:
    if type(value) is bool:
        sink.tokens.append(Token(param, None, "true" if value else "false"))


def _coding(param: str, value: Any, sink: Sink) -> None:
    _coded(param, [value], None, value, sink)


def _concept(param: str, value: Any, sink: Sink) -> None:
    if type(value) is dict:
        codings = value.get("coding")
        _coded(param, codings if type(codings) is list else [], value.get("text"), value, sink)


def _coded(param: str, codings: list[Any], text: Any, value: Any, sink: Sink) -> None:
    """The codes of the codings, and their words."""
    read = sink.read.get(id(value))
    if read is None:
        read = sink.read[id(value)] = _read(codings, text)
    codes, normals = read
    if codes:
        sink.tokens.extend([Token(param, system, code) for system, code in codes])
    if normals and sink.worded:
        param += TEXT
        sink.strings.extend([Text(param, normal, "") for normal in normals])


def _read(codings: list[Any], text: Any) -> tuple[list[tuple[str | None, str]], list[str]]:
    """Pairs of system and code, and normal forms of displays and text."""
    codes, words = [], []
    for coding in codings[:MOST]:
        if type(coding) is dict:
            system, code, display = coding.get("system"), coding.get("code"), coding.get("display")
            if type(code) is str:
                codes.append((system[:CUT] if type(system) is str else None, code[:CUT]))
            if type(display) is str and (normal := beginning(display)):
                words.append(normal)
    if type(text) is str and (normal := beginning(text)):
        words.append(normal)
    return codes, words


def _identifier(param: str, value: Any, sink: Sink) -> None:
    if type(value) is dict:
        add_coded(param, value.get("system"), value.get("value"), sink)
        kind = value.get("type")
        if type(kind) is dict:
            _text(param, kind.get("text"), sink)
            _typed(param, kind.get("coding"), value.get("value"), sink)


def _typed(param: str, codings: Any, value: Any, sink: Sink) -> None:
    if type(codings) is not list or type(value) is not str:
        return
    for coding in codings[:MOST]:
        if type(coding) is dict and type(coding.get("code")) is str:
            add_coded(param + OF_TYPE, coding.get("system"), f"{coding['code']}|{value}", sink)


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
