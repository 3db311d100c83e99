"""Where a search expression begins: its branches, and the elements without which there is nothing to look for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.path.compile import parsed
from fhir_server.fhir.path.tree import Binary, Call, Expression, Item, Member, TypeOperation

# Functions that give nothing where they are given nothing.
_STRICT: Final = frozenset({"where", "as", "ofType", "extension", "resolve"})


_UNION: Final = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|[()|]")


def branches(text: str) -> list[str]:
    """The parts of an expression that are joined by `|`, outside of brackets and quotes."""
    parts, start, depth = [], 0, 0
    for sign in _UNION.finditer(text):
        depth += {"(": 1, ")": -1}.get(sign.group(), 0)
        if sign.group() == "|" and depth == 0:
            parts.append(text[start : sign.start()].strip())
            start = sign.end()
    return [*parts, text[start:].strip()]


def firsts(text: str, definitions: Definitions, resource_type: str) -> frozenset[str] | None:
    """The JSON properties of which a resource has at least one when the expression finds anything in it.

    None when it may find something in any resource.
    """
    names = _firsts(parsed(text), definitions, resource_type)
    return None if names is None else frozenset(names)


def _firsts(expression: Expression, definitions: Definitions, focus: str) -> Mapping[str, str] | None:
    """JSON property → type."""
    match expression:
        case Member(None, name) if name[:1].isupper():
            return None if name in definitions.ancestry(focus) else {}
        case Member(None, name):
            return definitions.type(focus).elements[name].json_names
        case Member(Member(None, root), name) if root[:1].isupper():
            return definitions.type(focus).elements[name].json_names if root in definitions.ancestry(focus) else {}
        case TypeOperation("as", of, type_) | Call(Member() as of, "as" | "ofType", (Member(None, type_),)):
            return _of_type(_firsts(of, definitions, focus), of, type_)
        case Call(None, "extension", _):
            return {"extension": "Extension"}
        case Binary("|", left, right):
            one, other = _firsts(left, definitions, focus), _firsts(right, definitions, focus)
            return None if one is None or other is None else {**one, **other}
        case Member(of) | Item(of) if of is not None:
            return _firsts(of, definitions, focus)
        case Call(of, name, _) if of is not None and name in _STRICT:
            return _firsts(of, definitions, focus)
    return None


def _of_type(names: Mapping[str, str] | None, of: Expression, type_: str) -> Mapping[str, str] | None:
    """Of a choice element of the resource itself, the one property of that type."""
    chosen = {name: each for name, each in (names or {}).items() if each == type_}
    direct = isinstance(of, Member) and (of.of is None or (isinstance(of.of, Member) and of.of.of is None))
    return chosen if direct and chosen else names
