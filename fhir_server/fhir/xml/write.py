"""FHIR JSON written as XML: members in the order of R4, every number as it stands in the JSON."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any, Final

import msgspec

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.xml import FHIR, XHTML, parse_fragment
from fhir_server.fhir.xml.shapes import Misfit, Shape, Slot, shapes_of, unknown

# A number with a fraction or an exponent comes as the text it is, to be written again as that.
_DECODER: Final = msgspec.json.Decoder(float_hook=str)
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_DIV: Final = f"{{{XHTML}}}div"

# Blanks other than U+0020 would become one when an attribute is read (XML 1.0 §3.3.3).
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_special = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]').search
_no_xml = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]").search


def to_xml(body: bytes, definitions: Definitions, *, pretty: bool = False) -> bytes:
    """The XML of a resource in JSON that the validator has accepted; indented by two blanks if pretty.

    Malformed, with the place as a FHIRPath, for JSON that no XML of R4 can say, such as a string with a character that
    XML does not know (U+FFFE).
    """
    try:
        resource = _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise Malformed("The body is not JSON.") from None
    writer = _Writer(definitions)
    try:
        writer.resource(resource, "\n" if pretty else "", f' xmlns="{FHIR}"')
    except Misfit as misfit:
        raise misfit.within(writer.type_of(resource)).malformed() from None
    return "".join([_HEAD, *writer.parts, "\n" if pretty else ""]).encode()


class _Writer:
    """Values of JSON to pieces of XML. `pad` is what comes before a tag: nothing, or a line end and blanks."""

    def __init__(self, definitions: Definitions) -> None:
        self._shapes = shapes_of(definitions)
        self._of_kind = {"object": self._object, "resource": self._inner_resource, "xhtml": self._narrative}
        self.parts: list[str] = []

    def resource(self, value: Any, pad: str, namespace: str = "") -> None:
        """An element named as the type of the resource."""
        type_ = self.type_of(value)
        if not type_:
            raise Misfit("A resource is expected.")
        self._element(type_, namespace, value, self._shapes.resources[type_], pad)

    def type_of(self, value: Any) -> str:
        """The type that a resource says it is of; empty if it is none."""
        type_ = value.get("resourceType") if type(value) is dict else None
        return type_ if type(type_) is str and type_ in self._shapes.resources else ""

    def _inner_resource(self, slot: Slot, value: Any, pad: str) -> None:
        self.parts.append(f"{pad}<{slot.key}>")
        self.resource(value, pad and pad + "  ")
        self.parts.append(f"{pad}</{slot.key}>")

    def _object(self, slot: Slot, value: Any, pad: str) -> None:
        attributes = _attributes(value, slot.shape)
        if not value:
            raise Misfit("An object has members.")
        self._element(slot.key, attributes, value, slot.shape, pad)

    def _narrative(self, slot: Slot, value: Any, pad: str) -> None:
        if type(value) is not str or "<?" in value or parse_fragment(value).tag != _DIV:
            raise Misfit("A div of XHTML is expected.")
        self.parts.append(pad + value.strip())

    def _primitive(self, slot: Slot, value: Any, companion: Any, pad: str) -> None:
        text = "" if value is None else f' value="{_text(value)}"'
        if companion is None:
            if value is None:
                raise Misfit("A value or an extension is expected.")
            self.parts.append(f"{pad}<{slot.key}{text}/>")
            return
        self._element(slot.key, _attributes(companion, slot.shape) + text, companion, slot.shape, pad)

    def _element(self, name: str, attributes: str, value: dict[str, Any], shape: Shape, pad: str) -> None:
        """An element with the members of an object as its children."""
        self.parts.append(f"{pad}<{name}{attributes}>")
        before = len(self.parts)
        self._members(value, shape, pad and pad + "  ")
        if len(self.parts) == before:
            self.parts[-1] = f"{pad}<{name}{attributes}/>"
        else:
            self.parts.append(f"{pad}</{name}>")

    def _members(self, value: dict[str, Any], shape: Shape, pad: str) -> None:
        slots = shape.slots
        try:
            keys = sorted(value, key=shape.order.__getitem__)
        except KeyError as error:
            raise unknown(error.args[0]) from None
        for key in keys:
            slot = slots.get(key)
            if slot is None:
                # An attribute, the type, or a companion; the latter is written here only if it has no value beside it.
                slot = slots.get(key[1:]) if key[0] == "_" and key[1:] not in value else None
                if slot is None:
                    continue
            self._slot(slot, value.get(slot.key), value.get(slot.companion), pad)

    def _slot(self, slot: Slot, value: Any, companion: Any, pad: str) -> None:
        """One member: an element, or as many as the array has items."""
        if not slot.many:
            self._item(slot, 0, value, companion, pad)
            return
        values, companions = [] if value is None else value, [] if companion is None else companion
        if type(values) is not list or type(companions) is not list:
            raise Misfit("An array is expected.", slot.step)
        for index, (each, beside) in enumerate(zip_longest(values, companions)):
            self._item(slot, index, each, beside, pad)

    def _item(self, slot: Slot, index: int, value: Any, companion: Any, pad: str) -> None:
        try:
            if slot.kind == "primitive":
                self._primitive(slot, value, companion, pad)
            else:
                self._of_kind[slot.kind](slot, value, pad)
        except Misfit as misfit:
            raise misfit.within(slot.at(index)) from None
        except Malformed as malformed:
            raise Misfit(str(malformed)).within(slot.at(index)) from None


def _attributes(value: Any, shape: Shape) -> str:
    if type(value) is not dict:
        raise Misfit("An object is expected.")
    return "".join(f' {name}="{_text(value[name])}"' for name in shape.attributes if name in value)


def _text(value: Any) -> str:
    """A value as the text of an attribute, escaped."""
    if type(value) is str:
        if not _special(value):
            return value
        if _no_xml(value):
            raise Misfit("XML does not know a character of this string.")
        return value.translate(_ESCAPES)
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    raise Misfit("A value is expected.")
