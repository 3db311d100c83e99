"""FHIR XML read into JSON: every digit of a decimal kept, comments and processing instructions left out.

Read as strictly as JSON is: unknown elements and attributes, text between elements, elements repeated where they may
not be are refused with their place. Their order is taken as it comes, for it says nothing, and even examples of HL7 get
it wrong; what the values say is for the validator to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isinf
from typing import Any, Final, NamedTuple

import msgspec

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import MAX_DEPTH
from fhir_server.fhir.xml import (
    FHIR,
    Element,
    attributes,
    elements,
    is_element,
    local_name,
    parse_document,
    standing_alone,
    stray_text,
)
from fhir_server.fhir.xml.shapes import Misfit, Shape, Slot, shapes_of, unknown

_ENCODER: Final = msgspec.json.Encoder()
_IN_FHIR: Final = f"{{{FHIR}}}"
# Says where a schema lies; of use to editors, and allowed on a resource (https://hl7.org/fhir/R4/xml.html).
_SCHEMA: Final = "{http://www.w3.org/2001/XMLSchema-instance}"
_EMPTY: Final = "An element has a value, an attribute or children."


class _Extended(NamedTuple):
    """A primitive with an id or extensions beside its value, or instead of it."""

    value: Any
    companion: dict[str, Any]


def to_json(xml: bytes, definitions: Definitions) -> bytes:
    """The JSON of a resource in XML, its members in the order of its elements.

    Malformed, with the place as a FHIRPath, for what is not a resource of R4 in XML; UnsupportedMediaType for another
    encoding than UTF-8; TooLarge for too many elements (`fhir.json.MAX_PARTS`).
    """
    return resource_json(parse_document(xml), definitions)


def resource_json(root: Element, definitions: Definitions) -> bytes:
    """The JSON of a resource whose tree is already there. Malformed as for `to_json`."""
    stray = stray_text(root)
    if stray is not None:
        raise Malformed("FHIR has text in attributes and narratives only.", expression=_path(stray))
    try:
        return _ENCODER.encode(_Reader(definitions).resource(root, 1))
    except Misfit as misfit:
        name = local_name(root)
        raise misfit.within(name if name in definitions.resource_types else "").malformed() from None


class _Reader:
    """Elements to the values that JSON is written from; `depth` is that of the JSON objects and arrays."""

    def __init__(self, definitions: Definitions) -> None:
        self._roots = shapes_of(definitions).roots
        self._of_kind: dict[str, Callable[[Element, Slot, int], Any]] = {
            "primitive": self._primitive,
            "object": self._object,
            "resource": self._inner_resource,
            "xhtml": _narrative,
        }

    def resource(self, element: Element, depth: int) -> dict[str, Any]:
        """A resource from the element that is named as its type."""
        shape = self._roots.get(element.tag)
        if shape is None:
            raise _no_resource(element)
        for name, _ in attributes(element):
            if not name.startswith(_SCHEMA):
                raise unknown(name)
        read: dict[str, Any] = {"resourceType": shape.name}
        self._fill(read, element, shape, depth)
        return read

    def _inner_resource(self, element: Element, slot: Slot, depth: int) -> dict[str, Any]:
        """The one resource in a `contained`, `resource` or `outcome`."""
        _known(attributes(element), frozenset())
        inner = list(elements(element))
        if len(inner) != 1:
            raise Misfit("One resource is expected here.")
        return self.resource(inner[0], depth)

    def _object(self, element: Element, slot: Slot, depth: int) -> dict[str, Any]:
        read = _known(attributes(element), slot.shape.attributes)
        self._fill(read, element, slot.shape, depth)
        if not read:
            raise Misfit(_EMPTY)
        return read

    def _primitive(self, element: Element, slot: Slot, depth: int) -> Any:
        named = attributes(element)
        if len(named) == 1 and named[0][0] == "value" and not len(element):
            text = named[0][1]
            return text if slot.literal is None else _number_or_boolean(slot.literal, text)
        companion = _known(named, slot.shape.attributes | {"value"})
        value = companion.pop("value", None)
        if value is not None and slot.literal is not None:
            value = _number_or_boolean(slot.literal, value)
        self._fill(companion, element, slot.shape, depth)
        if companion:
            return _Extended(value, companion)
        if value is None:
            raise Misfit(_EMPTY)
        return value

    def _fill(self, read: dict[str, Any], element: Element, shape: Shape, depth: int) -> None:
        """Put what the child elements hold into `read`."""
        if depth > MAX_DEPTH:
            raise Misfit(f"At most {MAX_DEPTH} objects and arrays may lie in one another.")
        tags, extended = shape.tags, []
        for child in element:
            slot = tags.get(child.tag)
            if slot is None:
                if is_element(child):
                    raise _stranger(child)
                continue
            try:
                value = self._of_kind[slot.kind](child, slot, depth + 1 + slot.many)
            except Misfit as misfit:
                raise misfit.within(slot.at(len(read.get(slot.key, ())) if slot.many else 0)) from None
            if type(value) is _Extended:
                _put_extended(read, slot, value)
                extended.append(slot)
            elif slot.many:
                read.setdefault(slot.key, []).append(value)
            elif slot.key in read or slot.companion in read:
                raise _repeated(slot)
            else:
                read[slot.key] = value
        for slot in extended:
            _complete(read, slot)


def _put_extended(read: dict[str, Any], slot: Slot, extended: _Extended) -> None:
    """Put value and companion where they belong; of an array, at the same index."""
    if slot.many:
        values = read.setdefault(slot.key, [])
        companions = read.setdefault(slot.companion, [])
        companions.extend([None] * (len(values) - len(companions)))
        values.append(extended.value)
        companions.append(extended.companion)
        return
    if slot.key in read or slot.companion in read:
        raise _repeated(slot)
    if extended.value is not None:
        read[slot.key] = extended.value
    read[slot.companion] = extended.companion


def _complete(read: dict[str, Any], slot: Slot) -> None:
    """Make the two arrays of a repeating primitive one length, or leave out the one that holds no value."""
    values = read.get(slot.key)
    if not slot.many or values is None:
        return
    companions = read[slot.companion]
    companions.extend([None] * (len(values) - len(companions)))
    if all(value is None for value in values):
        del read[slot.key]


def _known(named: Iterable[tuple[str, str]], known: frozenset[str]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in named:
        if name not in known:
            raise unknown(name)
        read[name] = value
    return read


def _number_or_boolean(literal: Callable[[str], object], text: str) -> msgspec.Raw:
    """The text as JSON has it, digit for digit; only the plus sign of an integer has no place there."""
    if not literal(text):
        raise Misfit("The value does not have the form of its type.")
    if text not in ("true", "false") and isinf(float(text)):
        raise Misfit("The number is beyond what a double holds.")
    return msgspec.Raw(text.removeprefix("+"))


def _narrative(element: Element, slot: Slot, depth: int) -> str:
    return standing_alone(element)


def _no_resource(element: Element) -> Misfit:
    if element.tag.startswith(_IN_FHIR):
        return Misfit("This is not a resource type of FHIR R4.")
    return Misfit("The element of a resource is in the namespace http://hl7.org/fhir.")


def _stranger(element: Element) -> Misfit:
    if element.tag.startswith(_IN_FHIR):
        return unknown(local_name(element))
    return Misfit("An element of this namespace has no place here.")


def _repeated(slot: Slot) -> Misfit:
    return Misfit("The element may stand here once.", slot.step)


def _path(element: Element) -> str:
    """The names that lead to an element, without indices; a resource within another goes without its name."""
    names = [local_name(each) for each in (element, *element.iterancestors())][::-1]
    return ".".join(name for place, name in enumerate(names) if place == 0 or name[0].islower())
