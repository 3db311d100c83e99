"""JSON Patch (RFC 6902) with JSON Pointer (RFC 6901): operations on the JSON of a resource, in their order.

Numbers keep the digits they are written with, in the resource and in the patch. A patch comes from outside: what it may
make a server copy, compare and nest is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fhir_server.errors import Invalid, Issue, Malformed
from fhir_server.fhir import json
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import MAX_DEPTH, dump_exact, exact
from fhir_server.fhir.patch import MOST_OPERATIONS, inapplicable

_WORK: Final = 1_000_000
"""How many values and characters the operations of one patch may add, copy, move and compare, beyond three times the
size of the resource and of the patch: a copy of a copy of a copy doubles what it is made of each time."""

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def apply(body: bytes, patch: bytes, definitions: Definitions) -> bytes:
    """The resource after every operation, or none. Invalid, naming the operation, where one does not fit; the result is
    JSON, not yet a resource that R4 allows."""
    json.parse(patch)
    operations = exact(patch)
    if not isinstance(operations, list):
        raise Malformed("A JSON Patch is an array of operations.")
    if len(operations) > MOST_OPERATIONS:
        raise Invalid(issues=[Issue("too-costly", f"A patch may have {MOST_OPERATIONS} operations.")])
    document = _Document(exact(body), _WORK + 3 * (len(body) + len(patch)))
    for index, operation in enumerate(operations):
        document.run(operation, f"patch[{index}]")
    return dump_exact(document.root)


class _Document:
    """A JSON document that operations change in place."""

    def __init__(self, root: Any, work: int) -> None:
        self.root = root
        self._left = work
        self._place = ""

    def run(self, operation: Any, place: str) -> None:
        """One operation. Members that RFC 6902 does not know are passed over, as its §4 says."""
        self._place = place
        if not isinstance(operation, dict):
            raise Malformed("An operation is a JSON object.", expression=place)
        name = operation.get("op")
        perform = _OPERATIONS.get(name) if isinstance(name, str) else None
        if perform is None:
            raise Malformed("`op` is add, remove, replace, move, copy or test.", expression=place)
        perform(self, operation)

    def add(self, operation: dict[str, Any]) -> None:
        self._put(self._pointer(operation, "path"), self._weighed(self._value(operation)))

    def remove(self, operation: dict[str, Any]) -> None:
        self._take(self._pointer(operation, "path"))

    def replace(self, operation: dict[str, Any]) -> None:
        value, path = self._weighed(self._value(operation)), self._pointer(operation, "path")
        if not path:
            self.root = value
            return
        owner, key = self._slot(path)
        owner[key] = value

    def move(self, operation: dict[str, Any]) -> None:
        source, path = self._pointer(operation, "from"), self._pointer(operation, "path")
        if len(source) < len(path) and path[: len(source)] == source:
            raise inapplicable("A value is not moved into itself.", self._place)
        self._weighed(self._get(source))
        if source != path:
            self._put(path, self._take(source))

    def copy(self, operation: dict[str, Any]) -> None:
        source, path = self._pointer(operation, "from"), self._pointer(operation, "path")
        self._put(path, _copied(self._weighed(self._get(source))))

    def test(self, operation: dict[str, Any]) -> None:
        expected, found = self._value(operation), self._get(self._pointer(operation, "path"))
        self._weighed(expected)
        if not _equal(expected, found):
            raise inapplicable("What was tested for is not so.", self._place)

    def _value(self, operation: dict[str, Any]) -> Any:
        if "value" not in operation:
            raise Malformed("This operation needs a `value`.", expression=self._place)
        return operation["value"]

    def _pointer(self, operation: dict[str, Any], name: str) -> list[str]:
        """The steps of a JSON Pointer."""
        text = operation.get(name)
        if not isinstance(text, str) or not _POINTER.fullmatch(text):
            raise Malformed(f"`{name}` is a JSON Pointer.", expression=self._place)
        steps = text.split("/")[1:]
        if len(steps) > MAX_DEPTH:
            raise inapplicable(f"A path may have {MAX_DEPTH} steps.", self._place)
        return [step.replace("~1", "/").replace("~0", "~") for step in steps]

    def _get(self, path: list[str]) -> Any:
        value = self.root
        for step in path:
            owner, key = self._member(value, step)
            value = owner[key]
        return value

    def _slot(self, path: list[str]) -> tuple[Any, Any]:
        """The container of an existing value, and the key or index of it there."""
        return self._member(self._get(path[:-1]), path[-1])

    def _member(self, owner: Any, step: str) -> tuple[Any, Any]:
        if isinstance(owner, dict) and step in owner:
            return owner, step
        if isinstance(owner, list) and _INDEX.fullmatch(step) and int(step) < len(owner):
            return owner, int(step)
        raise inapplicable("The path leads to nothing.", self._place)

    def _put(self, path: list[str], value: Any) -> None:
        """Add a value: a new or another member of an object, a new item of an array, a whole document."""
        if not path:
            self.root = value
            return
        owner, step = self._get(path[:-1]), path[-1]
        if isinstance(owner, dict):
            owner[step] = value
        elif isinstance(owner, list) and step == "-":
            owner.append(value)
        elif isinstance(owner, list) and _INDEX.fullmatch(step) and int(step) <= len(owner):
            owner.insert(int(step), value)
        else:
            raise inapplicable("There is no place for this value.", self._place)

    def _take(self, path: list[str]) -> Any:
        if not path:
            raise inapplicable("The whole resource is not removed by a patch.", self._place)
        owner, key = self._slot(path)
        return owner.pop(key)

    def _weighed(self, value: Any) -> Any:
        """The value, when there is work left for what it holds and it is not nested too deep."""
        level, depth = [value], 0
        while level:
            self._left -= sum(1 + len(each) if isinstance(each, str | dict | list) else 1 for each in level)
            if self._left < 0 or depth > MAX_DEPTH:
                raise Invalid(issues=[Issue("too-costly", "The patch makes too much of the resource.", self._place)])
            level = [
                child
                for each in level
                if isinstance(each, dict | list)
                for child in (each.values() if isinstance(each, dict) else each)
            ]
            depth += 1
        return value


_OPERATIONS: Final[Mapping[str, Callable[[_Document, dict[str, Any]], None]]] = MappingProxyType(
    {
        "add": _Document.add,
        "remove": _Document.remove,
        "replace": _Document.replace,
        "move": _Document.move,
        "copy": _Document.copy,
        "test": _Document.test,
    }
)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _equal(one: Any, other: Any) -> bool:
    """Equal as JSON (RFC 6902 §4.6): 1 is 1.0, and is not true; the order of members says nothing."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(_equal(value, other[name]) for name, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
