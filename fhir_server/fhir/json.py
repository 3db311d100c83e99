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
"""How many braces and brackets a body may have: a transaction of 3,400 entries has some 110,000."""

# What orjson says beyond its own limit of 1,024, closed or not.
_TOO_DEEP = frozenset({"depth limit exceeded", "failed to allocate memory"})
_EXACT: Final = msgspec.json.Decoder(float_hook=Decimal)
_WRITTEN: Final = msgspec.json.Encoder(decimal_format="number")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_QUOTE, _BRACE, _BRACKET = b'"{['
_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch


def parse(body: bytes, *, max_depth: int = MAX_DEPTH) -> dict[str, Any] | list[Any]:
    """The object or array of a JSON body in UTF-8.

    Malformed, with line and column where there is one: not JSON, not UTF-8, a byte order mark (RFC 8259 §8.1), half of
    a surrogate pair, a number beyond what a double holds, a key twice in one object, nesting beyond `max_depth`, a
    scalar on its own. Integers beyond 64 bits come as floats, as decimals do. TooLarge, before anything is built, for
    more than `MAX_PARTS`.
    """
    parts = body.count(_BRACE) + body.count(_BRACKET)
    if parts > MAX_PARTS:
        # A byte of text can cost a hundred bytes of objects, and the time of every other caller.
        raise TooLarge(f"A body may have {MAX_PARTS} objects and arrays.")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(body, error) from None
    if type(parsed) is not dict and type(parsed) is not list:
        raise Malformed("The body is a JSON object or array.")
    if parts > max_depth and _is_deeper(parsed, max_depth):
        raise Malformed(f"At most {max_depth} objects and arrays may lie in one another.")
    if _lost_a_key(body, parsed):
        raise Malformed(_repeated_key(body))
    return parsed


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
