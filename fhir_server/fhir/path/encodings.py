"""Strings in other clothes: encode, decode, escape, unescape (FHIRPath 2.0 §5.6)."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path.frame import Collection, Environment
from fhir_server.fhir.path.functions import Function, Functions, string
from fhir_server.fhir.path.strings import text_of
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.values import STRINGS

_json_escape = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_JSON_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "b": "\b"}
_ENCODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {"base64": base64.b64encode, "urlbase64": base64.urlsafe_b64encode, "hex": binascii.hexlify}
)
_DECODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {
        "base64": lambda data: base64.b64decode(data, validate=True),
        "urlbase64": lambda data: base64.b64decode(data, altchars=b"-_", validate=True),
        "hex": binascii.unhexlify,
    }
)
_ESCAPES: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {"html": html.escape, "json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1]}
)
_UNESCAPES: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {"html": html.unescape, "json": lambda text: _json_escape.sub(_unescaped, text)}
)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _JSON_LETTERS.get(code, code)


def _encode(text: str, how: str) -> str:
    return _ENCODINGS[how](text.encode()).decode()


def _decode(text: str, how: str) -> str:
    return _DECODINGS[how](text.encode()).decode()


def _escape(text: str, how: str) -> str:
    return _ESCAPES[how](text)


def _unescape(text: str, how: str) -> str:
    return _UNESCAPES[how](text)


def _function(convert: Callable[[str, str], str]) -> Function:
    def converted(environment: Environment, items: Collection, way: Collection) -> Collection:
        text, how = text_of(items), text_of(way)
        if text is None or how is None:
            return []
        environment.write(len(text))
        try:
            return string(convert(text, how))
        except KeyError:
            raise PathError("the encoding is base64, urlbase64 or hex; what is escaped for is html or json") from None
        except ValueError:
            return []

    return Function(converted, 1, 1, "String", STRINGS)


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "encode": _function(_encode),
        "decode": _function(_decode),
        "escape": _function(_escape),
        "unescape": _function(_unescape),
    }
)
