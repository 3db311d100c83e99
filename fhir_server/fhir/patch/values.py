"""What a FHIRPath Patch puts into a resource: a value of a datatype, or an element built of its parts."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import MAX_DEPTH
from fhir_server.fhir.patch import inapplicable

_PARAMETER: Final = "Parameters.parameter"


class Value(NamedTuple):
    """As an operation gives it. `type`: a datatype or resource type, "" for an element given by its `parts`. `beside`:
    the id and extensions of a primitive value."""

    type: str
    value: Any = None
    beside: dict[str, Any] | None = None
    parts: tuple[dict[str, Any], ...] = ()


class Values:
    """Reads them, and fits them to the elements that R4 has."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._choices = {
            name: type_
            for name, (element, type_) in definitions.type(_PARAMETER).properties.items()
            if element.name == "value"
        }

    def given(self, part: dict[str, Any], place: str) -> Value:
        """The value of a part: `value[x]`, a resource, or parts."""
        found = [name for name in self._choices if name in part or "_" + name in part]
        if len(found) + ("part" in part) + ("resource" in part) != 1:
            raise Malformed("A value has a `value[x]`, a `resource`, or parts.", expression=place)
        if found:
            return Value(self._choices[found[0]], part.get(found[0]), part.get("_" + found[0]))
        if "resource" in part:
            return Value(str(part["resource"].get("resourceType")), part["resource"])
        return Value("", parts=tuple(part["part"]))

    def property(self, owner_type: str, name: str, value: Value, place: str) -> tuple[str, str, bool]:
        """(JSON property, type, whether it repeats) of the element that is to hold the value."""
        element = self._definitions.type(owner_type).elements.get(name.removesuffix("[x]"))
        if element is None:
            raise inapplicable("R4 has no such element there.", place)
        for json_name, type_ in element.json_names.items():
            if not element.choice or type_ == value.type:
                return json_name, type_, element.many
        raise inapplicable("The element does not take a value of that type.", place)

    def json_names(self, owner_type: str, name: str) -> tuple[str, ...]:
        """Every JSON property that the element can have."""
        return tuple(self._definitions.type(owner_type).elements[name.removesuffix("[x]")].json_names)

    def other(self, resource: dict[str, Any], owner: dict[str, Any], name: str, value: Value) -> tuple[str, str]:
        """(JSON property, type) for a value of another type in the place of `owner[name]`: those of a choice element
        where it is one; the same as before otherwise."""
        element, type_ = self._definitions.type(self._type_of(resource, owner)).properties[name]
        for json_name, each in element.json_names.items():
            if each == value.type:
                return json_name, each
        return name, type_

    def made(self, value: Value, type_: str, place: str, depth: int = 0) -> tuple[Any, dict[str, Any] | None]:
        """The JSON of a value for an element of that type, and what stands beside it."""
        if not value.type:
            return self._built(value.parts, type_, place, depth + 1), None
        if not self._fits(value.type, type_):
            raise inapplicable("The element does not take a value of that type.", place)
        return value.value, value.beside

    def _built(self, parts: tuple[dict[str, Any], ...], type_: str, place: str, depth: int) -> dict[str, Any]:
        """An object of named parts; those of a repeating element in their order."""
        if depth > MAX_DEPTH or self._definitions.type(type_).is_primitive:
            raise inapplicable("The element does not take these parts.", place)
        made: dict[str, Any] = {}
        for part in parts:
            value = self.given(part, place)
            name, element_type, many = self.property(type_, str(part.get("name")), value, place)
            child, beside = self.made(value, element_type, place, depth)
            if many:
                self._append(made, name, child, beside)
            elif name in made or "_" + name in made:
                raise inapplicable("An element that does not repeat is given twice.", place)
            else:
                made.update({key: each for key, each in ((name, child), ("_" + name, beside)) if each is not None})
        return made

    def _append(self, owner: dict[str, Any], name: str, value: Any, beside: dict[str, Any] | None) -> None:
        values = owner.setdefault(name, [])
        values.append(value)
        if beside is not None or "_" + name in owner:
            others = owner.setdefault("_" + name, [])
            others += [None] * (len(values) - 1 - len(others)) + [beside]

    def _fits(self, given: str, wanted: str) -> bool:
        """Primitive values fit by their JSON, which the validator judges; others by their type, or one like it."""
        if self._definitions.type(given).is_primitive:
            return self._definitions.type(wanted).is_primitive
        return given in self._definitions.ancestry(wanted) or wanted in self._definitions.ancestry(given)

    def _type_of(self, resource: dict[str, Any], owner: dict[str, Any]) -> str:
        """The type of one object in a resource."""
        waiting: list[tuple[Any, str]] = [(resource, "Resource")]
        while waiting:
            value, type_ = waiting.pop()
            if isinstance(value, list):
                waiting += ((each, type_) for each in value)
            elif isinstance(value, dict):
                type_ = str(value["resourceType"]) if type_ == "Resource" else type_
                if value is owner:
                    return type_
                properties = self._definitions.type(type_).properties
                waiting += ((each, properties[name][1]) for name, each in value.items() if name in properties)
                waiting += ((each, "Element") for name, each in value.items() if name.startswith("_"))
        raise LookupError("the object is not in the resource")
