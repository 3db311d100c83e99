"""Types of R4 compiled to checks of their JSON, each once, when first met."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fhir_server.fhir.definitions import Definitions, ElementDefinition, TypeDefinition
from fhir_server.validation.binding import bound_check
from fhir_server.validation.bundle import bundle_rule
from fhir_server.validation.contained import contained_check, resource_check
from fhir_server.validation.findings import Check, Findings, Scope, both, one
from fhir_server.validation.invariants import Invariants
from fhir_server.validation.objects import Shape, array_check, object_check
from fhir_server.validation.primitives import PRIMITIVES, element_id
from fhir_server.validation.references import reference_rule


class Structure:
    """The checks of all types.

    `resource` checks any resource that stands for itself: one sent, one in a Bundle or in Parameters. Two threads that
    compile the same type at once do double work and no harm.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._objects: dict[Hashable, Check] = {}
        self._invariants = Invariants(definitions)
        self.resource = resource_check(definitions.resource_types, self.object_of)
        self._contained = contained_check(definitions.resource_types, self.object_of)
        companion = Shape(is_element=False)
        self._companion = object_check(companion, _accept, None)
        self._fill(companion, definitions.type("Element"))

    def object_of(self, name: str) -> Check:
        """The check of a JSON object of a type, or of a backbone element under its path."""
        return self._objects.get(name) or self._compile(name, name, _RULES.get(name))

    def _compile(self, key: Hashable, name: str, rule: Check | None) -> Check:
        """The check of an object of the type, kept under the key before it is filled: types hold one another."""
        definition = self._definitions.type(name)
        elements = definition.elements.values()
        choices = {1 << position: e for position, e in enumerate(e for e in elements if e.choice)}
        shape = Shape(
            is_element=definition.kind != "resource",
            required=frozenset(e.name for e in elements if e.min and not e.choice),
            needed=sum(bit for bit, e in choices.items() if e.min),
            choices={bit: e.name for bit, e in choices.items()},
        )
        stated = self._invariants.of_type(name)
        check = self._objects[key] = object_check(shape, self._companion, both(rule, stated))
        self._fill(shape, definition)
        return check

    def _fill(self, shape: Shape, definition: TypeDefinition) -> None:
        """The tables of a shape: each JSON name with the check of what stands under it."""
        if definition.kind == "resource":
            shape.properties["resourceType"] = _accept
        bits = {name: bit for bit, name in shape.choices.items()}
        for name, (element, type_name) in definition.properties.items():
            check = self._value(element, type_name)
            if element.many:
                check = array_check(check)
            if element.choice:
                shape.options[name] = (bits[element.name], check)
                shape.segments[name] = f".{element.name}.ofType({type_name})"
            else:
                shape.properties[name] = check
            if self._has_companion(element, type_name):
                shape.companions["_" + name] = element.many
        if "div" in shape.properties:
            shape.segments["div"] = ".`div`"  # an operator of FHIRPath, unless quoted

    def _value(self, element: ElementDefinition, type_name: str) -> Check:
        """The check of one value of the element."""
        if type_name == "Resource":
            return self._contained if element.path == "DomainResource.contained" else self.resource
        if element.path == "Element.id":
            return element_id
        check = PRIMITIVES.get(type_name) or self._complex(element, type_name)
        check = bound_check(self._definitions, element, type_name, check)
        return both(check, self._invariants.of_element(element, type_name)) or check

    def _complex(self, element: ElementDefinition, type_name: str) -> Check:
        """The check of an object in the element."""
        if type_name == "Reference":
            rule = reference_rule(self._definitions.resource_types, element.targets)
            key: Hashable = (type_name, element.targets)
        elif type_name == "Quantity" and element.simple:
            rule, key = _simple_quantity_rule, (type_name, "simple")
        else:
            return self.object_of(type_name)
        return self._objects.get(key) or self._compile(key, type_name, rule)

    def _has_companion(self, element: ElementDefinition, type_name: str) -> bool:
        """Whether a JSON property beside the value can hold its id and extensions."""
        if element.xml_attribute or type_name == "xhtml" or element.path == "Resource.id":
            return False
        return self._definitions.type(type_name).is_primitive


def _accept(value: Any, scope: Scope) -> Findings:
    """`resourceType`: judged where the type is chosen."""
    return None


def _extension_rule(extension: dict[str, Any], scope: Scope) -> Findings:
    """Rule ext-1."""
    has_value = any(name.startswith(("value", "_value")) for name in extension)
    if has_value == ("extension" in extension):
        return one("invariant", "An extension has either a value or extensions of its own (ext-1).")
    return None


def _simple_quantity_rule(quantity: dict[str, Any], scope: Scope) -> Findings:
    """Rule sqty-1."""
    if "comparator" in quantity or "_comparator" in quantity:
        return one("invariant", "This quantity has no comparator (sqty-1).", ".comparator")
    return None


_RULES: Final[Mapping[str, Check]] = MappingProxyType({"Extension": _extension_rule, "Bundle": bundle_rule})
