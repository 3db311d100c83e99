"""What FHIRPath works on: one value with its type and its place, and the ways from it to its children."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.fhir.definitions import Definitions

SYSTEM: Final = "System."
"""How the names of the types of FHIRPath itself begin; the names of FHIR stand alone."""

TYPE_INFO: Final = SYSTEM + "TypeInfo"

Property = tuple[str, str, str]
"""A JSON property, its type, and the property that holds the ids and extensions of its values, empty if none does."""


class Node:
    """One item of a FHIRPath collection.

    `value` is the JSON value as it stands in the tree: a dict of an object; None of a primitive element that has an id
    or extensions and no value. What an expression computes has a `System.` type and a plain value: bool, int, Decimal,
    str, or what `moments` and `amounts` make of dates and quantities.

    `type` is a FHIR type (`HumanName`, `code`, `Patient`), the path of a backbone element (`Patient.contact`), or a
    type of FHIRPath (`System.String`).

    The place: `owner` is the dict that holds it, `name` the JSON property (`valueQuantity`, never `_name`), `index` its
    position in the array there, None where the element does not repeat. A resource as a whole, and what an expression
    computes, has no owner.
    """

    __slots__ = ("index", "name", "owner", "type", "value")

    def __init__(
        self, value: Any, type: str, owner: dict[str, Any] | None = None, name: str = "", index: int | None = None
    ) -> None:
        self.value = value
        self.type = type
        self.owner = owner
        self.name = name
        self.index = index

    def __repr__(self) -> str:
        return f"Node({self.value!r}, {self.type!r})"

    @property
    def companion(self) -> dict[str, Any]:
        """The object beside a primitive value that holds its id and extensions; empty where there is none."""
        beside = self.owner.get("_" + self.name) if self.owner is not None else None
        if self.index is not None and type(beside) is list:
            beside = beside[self.index] if self.index < len(beside) else None
        return beside if type(beside) is dict else {}


class Schema:
    """The elements of R4 as steps from node to node; what has been looked up once is kept."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._steps: dict[tuple[str, str], tuple[Property, ...]] = {}
        self._ancestors: dict[str, frozenset[str]] = {}

    def root(self, resource: dict[str, Any]) -> Node:
        """The node of a resource."""
        return Node(resource, self._resource_type(resource))

    def steps(self, type_: str, name: str) -> tuple[Property, ...]:
        """The JSON properties of an element of a type, several of a choice; nothing where it has no such element."""
        key = (type_, name)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._look_up(type_, name)
        return found

    def _look_up(self, type_: str, name: str) -> tuple[Property, ...]:
        if type_.startswith(SYSTEM):
            return ((name, SYSTEM + "String", ""),) if type_ == TYPE_INFO and name in ("namespace", "name") else ()
        element = self.definitions.type(type_).elements.get(name)
        if element is None:
            return ()
        return tuple(self._kind(json, kind) for json, kind in element.json_names.items())

    def _kind(self, json: str, kind: str) -> Property:
        return json, kind, "_" + json if self.is_primitive(kind) else ""

    def is_primitive(self, type_: str) -> bool:
        """Whether values of the FHIR type are JSON strings, numbers or booleans."""
        return self.definitions.type(type_).is_primitive

    def ancestors(self, type_: str) -> frozenset[str]:
        """A FHIR type and what it specialises; a type of FHIRPath alone."""
        found = self._ancestors.get(type_)
        if found is None:
            line = (type_,) if type_.startswith(SYSTEM) else self.definitions.ancestry(type_)
            found = self._ancestors[type_] = frozenset(line)
        return found

    def member(self, node: Node, name: str) -> list[Node]:
        """The nodes of one element of a node, in order."""
        owner = node.value
        if type(owner) is not dict:
            owner = node.companion
            if not owner:
                return []
        found: list[Node] = []
        for json, kind, companion in self.steps(node.type, name):
            if json in owner or companion in owner:
                self._place(found, owner, json, kind, companion)
        return found

    def children(self, node: Node) -> list[Node]:
        """The nodes of all elements of a node, in the order of the JSON."""
        owner = node.value if type(node.value) is dict else node.companion
        if not owner or node.type.startswith(SYSTEM):
            return []
        properties = self.definitions.type(node.type).properties
        found: list[Node] = []
        for key in owner:
            json = key[1:] if key[:1] == "_" else key
            if json in properties and (json == key or json not in owner):
                self._place(found, owner, json, *self._kind(json, properties[json][1])[1:])
        return found

    def _place(self, found: list[Node], owner: dict[str, Any], json: str, kind: str, companion: str) -> None:
        """Add the nodes of one property: a value, or the items of an array, with or without their companions."""
        value, beside = owner.get(json), owner.get(companion) if companion else None
        if type(value) is not list and type(beside) is not list:
            if value is not None or type(beside) is dict:
                found.append(Node(value, self._resource_type(value) if kind == "Resource" else kind, owner, json))
            return
        values = value if type(value) is list else []
        others = beside if type(beside) is list else []
        if len(others) > len(values):
            values = [*values, *[None] * (len(others) - len(values))]
        for index, item in enumerate(values):
            if item is not None or (index < len(others) and others[index] is not None):
                type_ = self._resource_type(item) if kind == "Resource" else kind
                found.append(Node(item, type_, owner, json, index))

    def _resource_type(self, resource: Any) -> str:
        name = resource.get("resourceType") if type(resource) is dict else None
        return name if type(name) is str and name in self.definitions.resource_types else "Resource"
