"""Types asked for by name: `is`, `as`, `ofType()`, and `type()` (https://hl7.org/fhirpath/N1/#types-and-reflection)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhir_server.fhir.path.node import SYSTEM, TYPE_INFO, Node, Schema
from fhir_server.fhir.path.tokens import PathError

SYSTEM_TYPES: Final = frozenset(
    {"Any", "Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity"}
)


@dataclass(frozen=True, slots=True)
class TypeTest:
    """A type as it was asked for: an item has it if one of `names` is its type or a general form of it."""

    names: frozenset[str]
    schema: Schema

    def accepts(self, type_: str) -> bool:
        """Whether items of this type have the type asked for."""
        return not self.names.isdisjoint(self.schema.ancestors(type_))


def type_test(schema: Schema, name: str) -> TypeTest:
    """The type of that name, `FHIR.` or `System.` before it or not; a name alone is first of FHIR.

    PathError if there is no such type. `Quantity` alone is that of either, as the literals are of the one and the
    elements of the other.
    """
    namespace, _, plain = name.rpartition(".")
    names = set()
    if namespace in ("", "FHIR") and _is_known(schema, plain):
        names.add(plain)
    if namespace == "System" or (not namespace and plain in SYSTEM_TYPES and (not names or plain == "Quantity")):
        names.add(SYSTEM + plain)
    if not names:
        raise PathError(f"there is no type {name}")
    return TypeTest(frozenset(names), schema)


def type_info(node: Node) -> Node:
    """What `type()` says of an item: an object with `namespace` and `name`."""
    system = node.type.startswith(SYSTEM)
    name = node.type.removeprefix(SYSTEM)
    return Node({"namespace": "System" if system else "FHIR", "name": name}, TYPE_INFO)


def _is_known(schema: Schema, name: str) -> bool:
    try:
        schema.definitions.type(name)
    except KeyError:
        return False
    return True
