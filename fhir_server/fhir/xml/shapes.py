"""How the types of R4 lie in XML (https://hl7.org/fhir/R4/xml.html): compiled from the definitions when first met."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions, ElementDefinition
from fhir_server.fhir.xml import FHIR, XHTML

Kind = Literal["primitive", "object", "resource", "xhtml"]

_WHOLE: Final = frozenset({"integer", "positiveInt", "unsignedInt"})
_name = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}").fullmatch

# What JSON writes without quotes: type → the form it has as the text of an attribute.
_LITERALS: Final = {
    "boolean": re.compile(r"true|false").fullmatch,
    "decimal": re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?").fullmatch,
    **dict.fromkeys(_WHOLE, re.compile(r"0|[-+]?[1-9][0-9]*").fullmatch),
}


class Misfit(Exception):
    """What stands in a resource does not fit its type; on its way out it gathers the steps that lead there."""

    def __init__(self, text: str, *steps: str) -> None:
        super().__init__(text)
        self._steps = [*reversed(steps)]

    def within(self, step: str) -> Misfit:
        """The same, seen from one level further out."""
        self._steps.append(step)
        return self

    def malformed(self) -> Malformed:
        """The error for the caller, with the place as a FHIRPath."""
        return Malformed(str(self), expression="".join(reversed(self._steps)).removeprefix("."))


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A JSON property of a type, which is the element of that name in XML.

    `position`: where it comes in the order of XML. `shape`: of the object it holds, of the id and extensions beside a
    primitive, which JSON has under `companion`. `literal`: accepts the text of a value that JSON writes without quotes;
    None if it is a string.
    """

    key: str
    position: int
    many: bool
    kind: Kind
    shape: Shape
    step: str
    companion: str = ""
    literal: Callable[[str], object] | None = None

    def at(self, index: int) -> str:
        """The step of FHIRPath to the item of that index."""
        return f"{self.step}[{index}]" if self.many else self.step


class Shape:
    """A type: a resource, a datatype, a backbone element. Its tables are made when first asked for."""

    def __init__(self, name: str, shapes: Shapes) -> None:
        self.name = name
        self._shapes = shapes

    @cached_property
    def attributes(self) -> frozenset[str]:
        """The properties that are attributes in XML: `id` of an element, `url` of an extension."""
        return frozenset(e.name for e in self._elements if e.xml_attribute)

    @cached_property
    def slots(self) -> Mapping[str, Slot]:
        """JSON property → slot; attributes, `resourceType` and companions (`_given`) have none."""
        return {
            key: self._slot(position, element, key, type_name)
            for position, element in enumerate(self._elements)
            if not element.xml_attribute
            for key, type_name in element.json_names.items()
        }

    @cached_property
    def tags(self) -> Mapping[str, Slot]:
        """Name in XML, as lxml has it (`{namespace}name`) → slot."""
        return {f"{{{XHTML if slot.kind == 'xhtml' else FHIR}}}{key}": slot for key, slot in self.slots.items()}

    @cached_property
    def order(self) -> Mapping[str, int]:
        """JSON property → rank in XML, for all properties there are: a companion comes right after its value."""
        first = [*self.attributes, *(["resourceType"] if self._shapes.is_resource(self.name) else [])]
        ranks = dict.fromkeys(first, -1)
        for key, slot in self.slots.items():
            ranks[key] = 2 * slot.position
            if slot.companion:
                ranks[slot.companion] = 2 * slot.position + 1
        return ranks

    @property
    def _elements(self) -> Iterable[ElementDefinition]:
        return self._shapes.definitions.type(self.name).elements.values()

    def _slot(self, position: int, element: ElementDefinition, key: str, type_name: str) -> Slot:
        step = f".{element.name}.ofType({type_name})" if element.choice else f".{key}"
        kind: Kind = self._shapes.kind(type_name)
        shape = self._shapes.of("Element" if kind == "primitive" else type_name)
        if kind == "xhtml":
            step = ".`div`"  # an operator of FHIRPath, unless quoted
        companion = "_" + key if kind == "primitive" else ""
        return Slot(key, position, element.many, kind, shape, step, companion, _LITERALS.get(type_name))


class Shapes:
    """The shapes of all types of a set of definitions."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._shapes: dict[str, Shape] = {}
        self.resources: Mapping[str, Shape] = {name: self.of(name) for name in definitions.resource_types}
        self.roots: Mapping[str, Shape] = {f"{{{FHIR}}}{name}": shape for name, shape in self.resources.items()}

    def of(self, name: str) -> Shape:
        """The shape of a type."""
        return self._shapes.setdefault(name, Shape(name, self))

    def kind(self, name: str) -> Kind:
        """How values of a type are written."""
        if name == "xhtml":
            return "xhtml"
        if name == "Resource":
            return "resource"
        return "primitive" if self.definitions.type(name).is_primitive else "object"

    def is_resource(self, name: str) -> bool:
        """Whether a type is one of resources."""
        return name in self.definitions.resource_types


@lru_cache(maxsize=4)
def shapes_of(definitions: Definitions) -> Shapes:
    """The shapes of these definitions, made once."""
    return Shapes(definitions)


def unknown(name: str) -> Misfit:
    """An element, attribute or property that the type does not have; named only if it looks like one of FHIR."""
    return Misfit("R4 has no such element here.", *([f".{name}"] if _name(name) else []))
