"""The formats of the primitive types in JSON (https://hl7.org/fhir/R4/datatypes.html#primitive), one check each."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fhir_server.fhir.dates import is_date, is_date_time, is_instant, is_time
from fhir_server.fhir.narrative import narrative_problems
from fhir_server.validation.findings import Check, Findings, Scope, one

MAX_STRING: Final = 1024 * 1024
"""How many characters a string may have."""

# Below U+0020 a string has tabs and line ends only; half a surrogate pair is no character.
_forbidden = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]").search
_code = re.compile(r"\S+( \S+)*").fullmatch
_uri = re.compile(r"\S+").fullmatch
_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_oid = re.compile(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+").fullmatch
_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_white = re.compile(r"[ \t\r\n]+").sub

NOT_A_STRING: Final = "A JSON string is expected."


def string(value: Any, scope: Scope) -> Findings:
    """string, markdown: some text with something to read in it."""
    # isprintable is one pass in C and true of nearly all strings; what it refuses is looked at closely.
    if type(value) is str and value.isprintable() and value and not value.isspace() and len(value) <= MAX_STRING:
        return None
    return _string_problem(value)


def _string_problem(value: Any) -> Findings:
    if type(value) is not str:
        return one("structure", NOT_A_STRING)
    if not value or value.isspace():
        return one("value", "A string has at least one character that is not white space.")
    if len(value) > MAX_STRING:
        return one("too-long", "A string has at most 1,048,576 characters.")
    if _forbidden(value):
        return one("value", "The string holds a control character.")
    return None


def element_id(value: Any, scope: Scope) -> Findings:
    """Element.id: any string without spaces."""
    if type(value) is str and _uri(value) and value.isprintable() and len(value) <= MAX_STRING:
        return None
    return _string_problem(value) or one("value", "The id of an element has no white space.")


def code(value: Any, scope: Scope) -> Findings:
    """code: no white space but single spaces inside."""
    if type(value) is str and value.isprintable() and value and (" " not in value or _code(value)):
        return None
    problem = _string_problem(value)
    if problem is None and not _code(value):
        return one("value", "A code has no white space but single spaces inside.")
    return problem


def uri(value: Any, scope: Scope) -> Findings:
    """uri, url: no white space."""
    if type(value) is str and value.isprintable() and value and " " not in value:
        if value[0] == "#":
            scope.fragments.add(value)
        return None
    return _uri_problem(value)


def canonical(value: Any, scope: Scope) -> Findings:
    """canonical: as a uri; a fragment names a contained resource."""
    problem = uri(value, scope)
    if problem is None and value[0] == "#" and len(value) > 1 and value[1:] not in scope.contained:
        return one("not-found", "The fragment names no contained resource.")
    return problem


def _uri_problem(value: Any) -> Findings:
    problem = _string_problem(value)
    if problem is None and not _uri(value):
        return one("value", "A URI has no white space.")
    return problem


def boolean(value: Any, scope: Scope) -> Findings:
    """boolean: JSON true or false."""
    if value is True or value is False:
        return None
    return one("structure", "JSON true or false is expected.")


def decimal(value: Any, scope: Scope) -> Findings:
    """decimal: any JSON number."""
    kind = type(value)
    # Only a resource that did not come from JSON can hold an infinity or a NaN, which no subtraction takes to zero.
    if kind is int or (kind is float and value - value == 0.0):
        return None
    return one("structure", "A JSON number is expected.")


def _integer(low: int, high: int) -> Check:
    """A JSON integer between the two, both included."""

    def check(value: Any, scope: Scope) -> Findings:
        if type(value) is int and low <= value <= high:
            return None
        if type(value) is not int:
            return one("structure", "A JSON number without fraction is expected.")
        return one("value", f"An integer from {low} to {high} is expected.")

    return check


def base64_binary(value: Any, scope: Scope) -> Findings:
    """base64Binary: RFC 4648 with its padding, white space allowed."""
    if type(value) is not str:
        return one("structure", NOT_A_STRING)
    if _is_base64(value) or (any(map(value.__contains__, " \n\r\t")) and _is_base64(_white("", value))):
        return None
    return one("value", "Base64 as of RFC 4648 is expected, with its padding.")


def _is_base64(text: str) -> bool:
    """Whether the text is base64 without white space; strict mode alone takes padding that nothing asks for."""
    if not text or len(text) % 4 or text.endswith("==="):
        return False
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    return True


def xhtml(value: Any, scope: Scope) -> Findings:
    """xhtml: the div of a narrative."""
    if type(value) is not str:
        return one("structure", NOT_A_STRING)
    problems = narrative_problems(value)
    return [("", "invariant", text, "error") for text in problems] or None


def _text(accepts: Callable[[str], object], expected: str) -> Check:
    """A JSON string of a form."""

    def check(value: Any, scope: Scope) -> Findings:
        if type(value) is str and accepts(value):
            return None
        if type(value) is not str:
            return one("structure", NOT_A_STRING)
        return one("value", expected)

    return check


PRIMITIVES: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "base64Binary": base64_binary,
        "boolean": boolean,
        "canonical": canonical,
        "code": code,
        "date": _text(is_date, "A date that exists is expected: yyyy, yyyy-mm or yyyy-mm-dd."),
        "dateTime": _text(
            is_date_time,
            "A dateTime that exists is expected: yyyy, yyyy-mm, yyyy-mm-dd or yyyy-mm-ddThh:mm:ss with its offset.",
        ),
        "decimal": decimal,
        "id": _text(_id, "An id is 1 to 64 ASCII letters, digits, dots and hyphens."),
        "instant": _text(is_instant, "An instant that exists is expected: yyyy-mm-ddThh:mm:ss with its offset."),
        "integer": _integer(-(2**31), 2**31 - 1),
        "markdown": string,
        "oid": _text(_oid, "An OID is written urn:oid:1.2.3."),
        "positiveInt": _integer(1, 2**31 - 1),
        "string": string,
        "time": _text(is_time, "A time is written hh:mm:ss."),
        "unsignedInt": _integer(0, 2**31 - 1),
        "uri": uri,
        "url": uri,
        "uuid": _text(_uuid, "A UUID is written urn:uuid: and then in lower case."),
        "xhtml": xhtml,
    }
)
