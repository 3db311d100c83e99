"""Walking a CDA header: children by local name, attributes and texts with their white space folded."""

from __future__ import annotations

import re

from lxml import etree

V3 = "{urn:hl7-org:v3}"

# Of XML only: a no-break space is part of a French text.
_BLANKS = re.compile(r"[ \t\r\n]+").sub
_FOLDABLE = re.compile(r"[\t\r\n]|  ").search


def child(parent: etree._Element | None, name: str) -> etree._Element | None:
    """The first child of that local name in `urn:hl7-org:v3`, or None."""
    return None if parent is None else next(parent.iterchildren(V3 + name), None)


def children(parent: etree._Element | None, name: str) -> list[etree._Element]:
    """The children of that local name in `urn:hl7-org:v3`."""
    return [] if parent is None else list(parent.iterchildren(V3 + name))


def descendant(parent: etree._Element | None, *names: str) -> etree._Element | None:
    """The end of the first path of children with these names, or None: no other branch is tried."""
    for name in names:
        parent = child(parent, name)
    return parent


def attribute(element: etree._Element | None, name: str) -> str | None:
    """The attribute with its white space folded; None where it is absent or blank."""
    return None if element is None else folded(element.get(name))


def text(element: etree._Element | None) -> str | None:
    """All text under the element with its white space folded; None where there is none."""
    if element is None:
        return None
    return folded("".join(map(str, element.itertext())) if len(element) else element.text)


def folded(value: str | None) -> str | None:
    """The value with each run of white space as one blank and none at its ends; None if nothing is left."""
    if not value:
        return None
    trimmed = value.strip(" \t\r\n")
    # R4 wants a character that is no white space, and a no-break space is one.
    if not trimmed or trimmed.isspace():
        return None
    return _BLANKS(" ", trimmed) if _FOLDABLE(trimmed) else trimmed
