"""The same bodies in XML, and damage that only XML can have; and answers asked for in every form."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any, Final, TypeAlias

from lxml import etree

from fhir_server.errors import FhirServerError
from fhir_server.fhir.xml.write import to_xml
from tests.fuzz import nasty
from tests.fuzz.damage import damage_text, dump
from tests.fuzz.targets import Resource, Targets

Element: TypeAlias = Any

_FHIR: Final = "{http://hl7.org/fhir}"
_MEDIA: Final = (
    *("application/fhir+xml",) * 6,
    *("application/xml", "text/xml", "application/fhir+xml; charset=utf-8", "application/fhir+xml;charset=utf-16"),
    *("application/fhir+xml; fhirVersion=4.0", "application/fhir+xml; fhirVersion=5.0", "application/fhir+json", ""),
)
_BOMB: Final = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
)
_ACCEPT: Final = (
    *("application/fhir+xml", "application/fhir+xml", "application/xml", "text/xml;q=0.9, */*;q=0.1", "text/html"),
    *("application/fhir+xml;q=0, */*", "application/*;q=x", "*/*;q=0", "application/fhir+xml; fhirVersion=5.0", ",;,"),
    *("application/fhir+json;q=0.1, application/fhir+xml;q=0.2", "application/fhir+xml;q=1.0000", "é", "x" * 3_000),
)
_FORMATS: Final = (
    *("xml", "xml", "application/fhir+xml", "application/fhir%2Bxml", "text/xml", "json", "JSON", "html", "ttl", ""),
    *(
        "application%2Ffhir%2Bxml%3Bcharset=x",
        "%00",
        "%ff",
        "xml&_format=json",
        "xml&_pretty=true",
        "json&_pretty=true",
    ),
)


def xml_resource(random: Random, targets: Targets) -> dict[str, Any]:
    """A write in XML that is damaged as XML, as text, or both."""
    resource = deepcopy(random.choice((targets.resource(random), random.choice(targets.resources))))
    type_, id_ = resource["resourceType"], resource.get("id")
    target = f"/fhir/{type_}/{id_}" if id_ and random.random() < 0.8 else f"/fhir/{type_}"
    method = "PUT" if target.count("/") == 3 else "POST"
    return {"method": method, "target": target, **_sent(random, targets, resource)}


def xml_bundle(random: Random, targets: Targets) -> dict[str, Any]:
    """A Bundle in XML, damaged."""
    return {"method": "POST", "target": "/fhir", **_sent(random, targets, targets.bundle(random))}


def in_some_form(random: Random, case: dict[str, Any]) -> dict[str, Any]:
    """The case with its answer asked for in another form, or in none that there is."""
    target, headers = case.get("target", "/fhir"), case.get("headers", ())
    if random.random() < 0.5:
        target += f"{'&' if '?' in target else '?'}_format={random.choice(_FORMATS)}"
    if random.random() < 0.6:
        headers = (*headers, ("Accept", random.choice(_ACCEPT)))
    return {**case, "target": target, "headers": headers}


def _sent(random: Random, targets: Targets, resource: Resource) -> dict[str, Any]:
    try:
        body = to_xml(dump(resource), targets.definitions)
    except FhirServerError:
        # A resource that XML cannot hold is sent as what it is not.
        body = dump(resource)
    if random.random() < 0.75:
        body = _damaged(random, body)
    if random.random() < 0.35:
        body = random.choice((damage_text, _prologue))(random, body)
    headers = [("Content-Type", random.choice(_MEDIA))]
    if random.random() < 0.03:
        headers, body = [*headers, ("Content-Encoding", "gzip")], gzip.compress(body, 1, mtime=0)
    return {"headers": tuple(headers), "body": body, "chunked": random.random() < 0.05}


def _damaged(random: Random, body: bytes) -> bytes:
    try:
        root = etree.fromstring(body)
    except etree.XMLSyntaxError:
        return body
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(_CHANGES)(random, random.choice(list(root.iter("*"))))
    return etree.tostring(root, encoding="utf-8")


def _prologue(random: Random, body: bytes) -> bytes:
    """Another beginning: entities, another encoding, said or used."""
    text = body.decode("utf-8", "replace").partition("?>")[2] or "<x/>"
    said = random.choice(("utf-16", "latin-1", "cp037", "nosuch", "UTF-8"))
    return random.choice(
        (
            f"{_BOMB}{text}".replace('value="', 'value="&b;&c;', 3).encode("utf-8", "replace"),
            f'<?xml version="1.0" encoding="{said}"?>{text}'.encode("utf-8", "replace"),
            f'<?xml version="1.0" encoding="utf-16"?>{text}'.encode("utf-16", "replace"),
            f'<?xml version="1.1"?><?x y?><!-- -- -->{text}'.encode("utf-8", "replace"),
            ("\ufeff" + text).encode("utf-8", "replace"),
        )
    )


def _wrong_value(random: Random, element: Element) -> None:
    _set(element, random.choice(("value", "value", "id", "url")), nasty.text(random))


def _wrong_number(random: Random, element: Element) -> None:
    _set(element, "value", random.choice(nasty.NUMBERS))


def _attribute(random: Random, element: Element) -> None:
    _set(
        element, random.choice(("nosuch", "{urn:x}value", "{http://www.w3.org/XML/1998/namespace}base", "xmlns1")), "x"
    )


def _no_attribute(random: Random, element: Element) -> None:
    element.attrib.clear()


def _renamed(random: Random, element: Element) -> None:
    names = (f"{_FHIR}nosuch", "value", "{urn:x}value", f"{_FHIR}Patient", f"{_FHIR}div", f"{_FHIR}extension")
    element.tag = random.choice(names)


def _text(random: Random, element: Element) -> None:
    element.text, element.tail = random.choice(("stray", " \n", "\u00a0", "]]>", "&#1;")), "tail"


def _beside(random: Random, element: Element) -> None:
    """A comment, an instruction or another element inside."""
    made = (etree.Comment(" x "), etree.ProcessingInstruction("x", "y"), etree.Element(f"{_FHIR}extension"))
    element.append(random.choice((*made, etree.Element(f"{_FHIR}contained"), etree.Element("x"))))


def _again(random: Random, element: Element) -> None:
    parent = element.getparent()
    if parent is not None and len(list(element.iter())) < 200:
        for _ in range(random.choice((1, 1, 50))):
            parent.insert(random.randrange(len(parent) + 1), deepcopy(element))


def _removed(random: Random, element: Element) -> None:
    if element.getparent() is not None:
        element.getparent().remove(element)


def _deep(random: Random, element: Element) -> None:
    name = random.choice(("extension", "contained", "item", "div"))
    for _ in range(random.choice((10, 63, 70, 250, 1_000))):
        element = etree.SubElement(element, f"{_FHIR}{name}", url="x")


def _set(element: Element, name: str, value: str) -> None:
    """What lxml itself refuses to write is left to damage of the text."""
    try:
        element.set(name, value)
    except (ValueError, TypeError):
        element.attrib.clear()


_CHANGES: Final[tuple[Callable[[Random, Element], None], ...]] = (
    *(_wrong_value, _wrong_value, _wrong_number, _attribute, _no_attribute, _renamed, _text, _beside),
    *(_again, _removed, _deep),
)
