"""The words of a FHIRPath expression."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple


class PathError(ValueError):
    """The expression is not FHIRPath, or asks for something that is not built. The text names the place."""


class Token(NamedTuple):
    """`kind`: string, number, time, word, quoted (a delimited identifier), special, constant, symbol or end."""

    kind: str
    text: str
    at: int


_DATE: Final = r"\d{4}(?:-\d\d(?:-\d\d)?)?"
_TIME: Final = r"\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?"
_ZONE: Final = r"(?:Z|[+-]\d\d:\d\d)"
_TOKEN: Final = re.compile(
    rf"""
      (?P<blank> (?: \s+ | //[^\n\r]* | /\*.*?\*/ )+ )
    | (?P<time> @(?: T{_TIME} | {_DATE}(?:T(?:{_TIME}{_ZONE}?)?)? ) )
    | (?P<number> \d+(?:\.\d+)? )
    | (?P<string> '(?:[^'\\]|\\.)*' )
    | (?P<quoted> `(?:[^`\\]|\\.)*` )
    | (?P<special> \$(?:this|index|total)\b )
    | (?P<constant> %(?:[A-Za-z_][\w-]* | `(?:[^`\\]|\\.)*` | '(?:[^'\\]|\\.)*') )
    | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<symbol> <= | >= | != | !~ | [-+*/&|=~<>.,()\[\]{{}}] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_LITERAL: Final = frozenset("'\"`\\/nrtf")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of `text`, the last one of kind "end". Raises PathError at the first character that begins none."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise PathError(f"unexpected {text[at]!r} at {at}")
        kind = found.lastgroup or ""
        if kind != "blank":
            yield Token(kind, _content(kind, found.group(), at), at)
        at = found.end()
    yield Token("end", "", at)


def _content(kind: str, text: str, at: int) -> str:
    """The token's own text: without quotes, sigils and escapes."""
    if kind in ("special", "time"):
        return text[1:]
    if kind == "constant":
        return text[1:] if text[1] not in "`'" else _unescape(text[2:-1], at)
    if kind in ("string", "quoted"):
        return _unescape(text[1:-1], at)
    return text


def _unescape(text: str, at: int) -> str:
    def one(found: re.Match[str]) -> str:
        code = found.group(1)
        if len(code) == 5:
            return chr(int(code[1:], 16))
        if code not in _LITERAL:
            raise PathError(f"unknown escape \\{code} in the string at {at}")
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, text)
