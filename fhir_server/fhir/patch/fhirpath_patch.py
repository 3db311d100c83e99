"""FHIRPath Patch (https://hl7.org/fhir/R4/fhirpatch.html): a Parameters resource of operations on elements.

An operation names its element by FHIRPath and must find exactly one (`delete`: at most one; `insert` and `move`: a
whole list). Each is evaluated on what those before it have made of the resource.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import zip_longest
from time import thread_time_ns
from types import MappingProxyType
from typing import Any, Final

from fhir_server.errors import Invalid, Issue, Malformed
from fhir_server.fhir import json
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import dump_exact, exact
from fhir_server.fhir.patch import MOST_OPERATIONS, inapplicable
from fhir_server.fhir.patch.values import Value, Values
from fhir_server.fhir.path.expression import compile_expression
from fhir_server.fhir.path.node import Node, Schema
from fhir_server.fhir.path.tokens import PathError

_NARRATIVE: Final = re.compile(r"(\btext\.)div$")
"""`div` is an operator of FHIRPath, and a name only when quoted; everyone writes `Patient.text.div`."""
_LONGEST: Final = 300_000_000
"""Nanoseconds of CPU that one patch may take: paths can be made to visit everything, again and again."""


def apply(body: bytes, patch: bytes, definitions: Definitions) -> bytes:
    """The resource after every operation, or none. `patch`: a Parameters resource that the validator has passed.

    Invalid, naming the operation, where one does not fit; whether R4 allows the result is for the validator.
    """
    json.parse(patch)
    parameters = exact(patch)
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise Malformed("A FHIRPath Patch is a Parameters resource.", expression="Parameters")
    operations = parameters.get("parameter", [])
    if len(operations) > MOST_OPERATIONS:
        raise _too_costly(f"A patch may have {MOST_OPERATIONS} operations.", "Parameters")
    patching = _Patching(exact(body), definitions)
    for index, operation in enumerate(operations):
        patching.run(operation, f"Parameters.parameter[{index}]")
    return dump_exact(patching.resource)


class _Patching:
    """A resource that operations change in place."""

    def __init__(self, resource: dict[str, Any], definitions: Definitions) -> None:
        self.resource = resource
        self._schema = Schema(definitions)
        self._values = Values(definitions)
        self._place = ""
        self._end = thread_time_ns() + _LONGEST

    def run(self, operation: Any, place: str) -> None:
        """One operation: a parameter named `operation` and its parts."""
        self._place = place
        if thread_time_ns() > self._end:
            raise _too_costly("This patch takes too long.", place)
        parts = _parts(operation, place)
        perform = _OPERATIONS.get(_text(parts, "type"))
        if perform is None:
            raise Malformed("`type` is add, insert, delete, replace or move.", expression=place)
        perform(self, parts)

    def add(self, parts: dict[str, dict[str, Any]]) -> None:
        """A new element of the one found: another item of a list, or one that was not there."""
        target = self._one(parts)
        owner, type_, name = self._content(target), target.type, _text(parts, "name")
        json_name, element_type, many = self._values.property(type_, name, self._value(parts), self._place)
        value, beside = self._values.made(self._value(parts), element_type, self._place)
        if many:
            _put_items(owner, json_name, [*_items(owner, json_name), (value, beside)])
        elif any(each in owner or "_" + each in owner for each in self._values.json_names(type_, name)):
            raise inapplicable("There is such an element already.", self._place)
        else:
            _put(owner, json_name, value, beside)

    def insert(self, parts: dict[str, dict[str, Any]]) -> None:
        """A new item of a list, before the one that is at `index` now."""
        node, items = self._list(parts)
        index = self._index(parts, "index", len(items) + 1)
        items.insert(index, self._values.made(self._value(parts), node.type, self._place))
        _put_items(_owner(node), node.name, items)

    def delete(self, parts: dict[str, dict[str, Any]]) -> None:
        """The element, if it is there."""
        found = self._found(parts)
        if len(found) > 1:
            raise inapplicable("The path leads to several elements.", self._place)
        for node in found:
            owner, items = self._owned(node), []
            if node.index is not None:
                items = _items(owner, node.name)
                del items[node.index]
            _put_items(owner, node.name, items)
            if not owner:
                _drop(self.resource, owner)

    def replace(self, parts: dict[str, dict[str, Any]]) -> None:
        """Another value in the place of the one found; of a choice element, of another type too."""
        node, value = self._one(parts), self._value(parts)
        owner, name, type_ = self._owned(node), node.name, node.type
        if node.index is not None:
            items = _items(owner, name)
            items[node.index] = self._values.made(value, type_, self._place)
            _put_items(owner, name, items)
            return
        if value.type and value.type != type_:
            name, type_ = self._values.other(self.resource, owner, name, value)
        made, beside = self._values.made(value, type_, self._place)
        if name != node.name:
            _put(owner, node.name, None, None)
        _put(owner, name, made, beside)

    def move(self, parts: dict[str, dict[str, Any]]) -> None:
        """An item of a list to another place in it."""
        node, items = self._list(parts)
        source, destination = (self._index(parts, name, len(items)) for name in ("source", "destination"))
        items.insert(destination, items.pop(source))
        _put_items(_owner(node), node.name, items)

    def _found(self, parts: dict[str, dict[str, Any]]) -> list[Node]:
        try:
            path = compile_expression(_NARRATIVE.sub(r"\1`div`", _text(parts, "path")), self._schema)
        except PathError:
            raise Malformed("`path` is not FHIRPath.", expression=self._place) from None
        try:
            return path.evaluate(self.resource)
        except PathError:
            raise inapplicable("The path cannot be followed.", self._place) from None

    def _one(self, parts: dict[str, dict[str, Any]]) -> Node:
        found = self._found(parts)
        if len(found) != 1:
            raise inapplicable(f"The path leads to {'several elements' if found else 'nothing'}.", self._place)
        return found[0]

    def _list(self, parts: dict[str, dict[str, Any]]) -> tuple[Node, list[tuple[Any, Any]]]:
        """Its first node and all its items, for a path that leads to one whole list."""
        found = self._found(parts)
        owner = self._owned(found[0]) if found else {}
        items = _items(owner, found[0].name) if found else []
        if not found or [(id(each.owner), each.name, each.index) for each in found] != [
            (id(owner), found[0].name, index) for index in range(len(items))
        ]:
            raise inapplicable("The path does not lead to a list.", self._place)
        return found[0], items

    def _owned(self, node: Node) -> dict[str, Any]:
        """What holds the element; a resource as a whole, and what a path has computed, is held by nothing."""
        if node.owner is None or not node.name:
            raise inapplicable("The path does not lead to an element of the resource.", self._place)
        return node.owner

    def _content(self, node: Node) -> dict[str, Any]:
        """Where the children of a node are: of a primitive value, its id and extensions beside it."""
        if isinstance(node.value, dict):
            return node.value
        owner = self._owned(node)
        beside = node.companion or {}
        if node.index is None:
            owner["_" + node.name] = beside
        else:
            items = _items(owner, node.name)
            items[node.index] = (node.value, beside)
            _put_items(owner, node.name, items)
        return beside

    def _value(self, parts: dict[str, dict[str, Any]]) -> Value:
        if "value" not in parts:
            raise Malformed("This operation needs a `value`.", expression=self._place)
        return self._values.given(parts["value"], self._place)

    def _index(self, parts: dict[str, dict[str, Any]], name: str, below: int) -> int:
        index = parts.get(name, {}).get("valueInteger")
        if type(index) is not int:
            raise Malformed(f"`{name}` is an integer.", expression=self._place)
        if not 0 <= index < below:
            raise inapplicable(f"`{name}` is beyond the list.", self._place)
        return index


_OPERATIONS: Final[Mapping[str, Callable[[_Patching, dict[str, dict[str, Any]]], None]]] = MappingProxyType(
    {
        "add": _Patching.add,
        "insert": _Patching.insert,
        "delete": _Patching.delete,
        "replace": _Patching.replace,
        "move": _Patching.move,
    }
)


def _parts(operation: Any, place: str) -> dict[str, dict[str, Any]]:
    """The parts of an operation by name, each once."""
    named = [(each["name"], each) for each in operation.get("part", ())]
    if operation.get("name") != "operation" or len(dict(named)) != len(named):
        raise Malformed("A parameter is an `operation` with each of its parts once.", expression=place)
    return dict(named)


def _text(parts: dict[str, dict[str, Any]], name: str) -> str:
    part = parts.get(name, {})
    return str(part.get("valueCode") or part.get("valueString") or "")


def _items(owner: dict[str, Any], name: str) -> list[tuple[Any, Any]]:
    """A repeating element as (value, what is beside it)."""
    values, beside = owner.get(name, ()), owner.get("_" + name, ())
    return list(zip_longest(values if isinstance(values, list) else (), beside if isinstance(beside, list) else ()))


def _put_items(owner: dict[str, Any], name: str, items: list[tuple[Any, Any]]) -> None:
    """Arrays of one length, as the JSON of FHIR has them; none without anything in it."""
    values, beside = [value for value, _ in items], [each for _, each in items]
    _put(
        owner,
        name,
        values if any(each is not None for each in values) else None,
        beside if any(each is not None for each in beside) else None,
    )


def _put(owner: dict[str, Any], name: str, value: Any, beside: Any) -> None:
    for key, each in ((name, value), ("_" + name, beside)):
        if each is None:
            owner.pop(key, None)
        else:
            owner[key] = each


def _drop(value: Any, gone: dict[str, Any], beside: bool = False) -> bool:
    """Take the object `gone` out of the tree, and what has nothing in it without it: FHIR has no empty elements.

    Whether `value` itself is to go. `beside`: it is what stands beside the items of a list, each in its place.
    """
    if isinstance(value, dict):
        for name in [name for name, each in value.items() if _drop(each, gone, name.startswith("_"))]:
            del value[name]
        return value is gone or not value
    if not isinstance(value, list):
        return False
    if beside:
        value[:] = [None if _drop(each, gone) else each for each in value]
        return all(each is None for each in value)
    value[:] = [each for each in value if not _drop(each, gone)]
    return not value


def _owner(node: Node) -> dict[str, Any]:
    assert node.owner is not None
    return node.owner


def _too_costly(text: str, place: str) -> Invalid:
    return Invalid(issues=[Issue("too-costly", text, place)])
