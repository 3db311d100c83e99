"""JSON in and out: a body is parsed as FHIR means it, or refused with the place that is wrong.

A parser that takes the last of two equal keys lets a body say one thing to a proxy and another to the server; here two
equal keys in one object are an error, as RFC 8259 §4 allows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Any, Final

import msgspec
import orjson

from fhir_server.errors import Malformed, TooLarge

MAX_DEPTH: Final = 128
"""How many objects and arrays may lie in one another."""
MAX_PARTS: Final = 1_000_000
"""How many objects and arrays a Bundle may have: a transaction of 3,400 entries has some 110,000."""
MAX_RESOURCE_PARTS: Final = 100_000
"""How many any other resource may have, a patch, and each resource in a batch or transaction: the largest of the R4
examples, an ImplementationGuide, has 53,000."""

# What orjson says beyond its own limit of 1,024, closed or not.
_TOO_DEEP = frozenset({"depth limit exceeded", "failed to allocate memory"})
_EXACT: Final = msgspec.json.Decoder(float_hook=Decimal)
_WRITTEN: Final = msgspec.json.Encoder(decimal_format="number")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_LARGE: Final = 1 << 20
"""Bytes that take the parser some 10 ms."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_QUOTE, _BRACE, _BRACKET = b'"{['
_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch


def parse(
    body: bytes, *, max_depth: int = MAX_DEPTH, max_parts: int = MAX_RESOURCE_PARTS
) -> dict[str, Any] | list[Any]:
    """The object or array of a JSON body in UTF-8.

    Malformed, with line and column where there is one: not JSON, not UTF-8, a byte order mark (RFC 8259 §8.1), half of
    a surrogate pair, a number beyond what a double holds, a key twice in one object, nesting beyond `max_depth`, a
    scalar on its own. Integers beyond 64 bits come as floats, as decimals do. TooLarge, before anything is built, for
    more than `max_parts`.
    """
    check_parts(body, max_parts)
    parsed = _loaded(body, max_depth) if len(body) < _LARGE else _by_members(body, max_depth)
    if type(parsed) is not dict and type(parsed) is not list:
        raise Malformed("The body is a JSON object or array.")
    return parsed


def _loaded(text: bytes, max_depth: int) -> Any:
    """The value of a JSON text in which no object has a key twice, and that is not too deep."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _malformed(text, error) from None
    # First: what is deeper than that cannot be written again to count its keys.
    if parts_of(text) > max_depth and _is_deeper(value, max_depth):
        raise Malformed(f"At most {max_depth} objects and arrays may lie in one another.")
    if _lost_a_key(text, value):
        raise Malformed(_repeated_key(text))
    return value


def _by_members(body: bytes, max_depth: int) -> Any:
    """The same, member by member and item by item: the parser keeps every other thread from running while it reads, and
    megabytes take it longer than others should wait."""

    def items(array: bytes) -> list[Any]:
        return [_loaded(bytes(item), max_depth - 2) for item in _ITEMS.decode(array)]

    try:
        raw = {name: bytes(each) for name, each in _MEMBERS.decode(body).items()}
        value = {
            name: items(each) if each[0] == _BRACKET else _loaded(each, max_depth - 1) for name, each in raw.items()
        }
    except (msgspec.DecodeError, RecursionError, Malformed):
        # No object, or no JSON: what it is, the parser says best of the whole.
        return _loaded(body, max_depth)
    # A key that was met twice at the top, and with it its quotes, is lost.
    whole = body.count(_QUOTE) == sum([2 + each.count(_QUOTE) for each in raw.values()])
    return value if whole else _loaded(body, max_depth)


def parts_of(body: bytes) -> int:
    """How many objects and arrays a JSON body has, braces and brackets in its texts included."""
    return body.count(_BRACE) + body.count(_BRACKET)


def most_parts(type: str) -> int:
    """How many objects and arrays a resource of that type may have."""
    return MAX_PARTS if type == "Bundle" else MAX_RESOURCE_PARTS


def check_parts(body: bytes, most: int = MAX_RESOURCE_PARTS) -> None:
    """Raise TooLarge, naming the limit, for a body of more: a byte of text can cost a hundred bytes of objects."""
    if parts_of(body) > most:
        raise TooLarge(f"More than {most} objects and arrays; only a Bundle may have up to {MAX_PARTS}.")


def exact(body: bytes) -> Any:
    """The value of a JSON body that `parse` has accepted, with decimals as Decimal: 1.00 keeps its precision."""
    return _EXACT.decode(body)


def dump_exact(value: Any, *, pretty: bool = False) -> bytes:
    """The JSON of what `exact` reads: decimals as they are written. Two blanks if pretty."""
    written = _WRITTEN.encode(value)
    return indented(written) if pretty else written


def indented(body: bytes) -> bytes:
    """The JSON with a line for each member, indented by two blanks; numbers and strings stay as they are written."""
    return msgspec.json.format(body, indent=2)


def _lost_a_key(body: bytes, parsed: Any) -> bool:
    """Whether the parser dropped a key it met twice, and with it at least the two quotes of that key.

    Written again, what was parsed has all quotes of the body, escaped ones too, unless the body writes some in hex.
    """
    written = orjson.dumps(parsed)
    if body.count(_QUOTE) == written.count(_QUOTE) and b"u0022" not in body:
        return False
    return _strings(body) != _strings(written)


def _strings(text: bytes) -> int:
    """Twice the number of strings in the JSON: its quotes that are not escaped."""
    text = text.replace(b"\\\\", b"")  # backslashes pair up from the left; one that is left over escapes what follows
    return text.count(_QUOTE) - text.count(b'\\"')


def _is_deeper(parsed: Any, depth: int) -> bool:
    """Whether more than `depth` containers lie in one another; level by level, so that no stack grows."""
    level = [parsed]
    for _ in range(depth):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _malformed(body: bytes, error: orjson.JSONDecodeError) -> Malformed:
    """What is wrong with the body, and where; never what stands there."""
    if body.startswith(_BYTE_ORDER_MARK):
        return Malformed("The body begins with a byte order mark; JSON is UTF-8 without one.")
    try:
        body.decode()
    except UnicodeDecodeError as undecodable:
        *lines, last = body[: undecodable.start].decode().split("\n")
        return Malformed(f"The body is not UTF-8 at line {len(lines) + 1}, column {len(last) + 1}.")
    if error.msg in _TOO_DEEP:
        return Malformed("The objects and arrays of the body lie too deep in one another.")
    return Malformed(f"The body is not JSON at line {error.lineno}, column {error.colno}: {error.msg}.")


def _repeated_key(body: bytes) -> str:
    """The sentence that names the first key an object holds twice, unless it is none of FHIR."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        counts = Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1 and _identifier(key))

    json.loads(body, object_pairs_hook=note)
    return f"The key {repeated[0]} stands twice in one object." if repeated else "A key stands twice in one object."
