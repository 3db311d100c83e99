"""Walking a CDA document: children by local name, attributes and texts with their white space folded.

A walk over the few children of an element, comparing tags, takes a fraction of what lxml needs to prepare a search by
name; an element without children is asked for none.
"""

from __future__ import annotations

import re

from lxml import etree

V3 = "{urn:hl7-org:v3}"

# Of XML only: a no-break space is part of a French text.
_BLANKS = re.compile(r"[ \t\r\n]+").sub
_FOLDABLE = re.compile(r"[\t\r\n]|  ").search

# Elements of a narrative that stand on lines, or in cells, of their own.
_PARTED = frozenset(f"{V3}{name}" for name in ("br", "caption", "item", "list", "paragraph", "table", "td", "th", "tr"))


def child(parent: etree._Element | None, name: str) -> etree._Element | None:
    """The first child of that local name in `urn:hl7-org:v3`, or None."""
    if parent is None or not len(parent):
        return None
    tag = V3 + name
    for each in parent:
        if each.tag == tag:
            return each
    return None


def children(parent: etree._Element | None, name: str) -> list[etree._Element]:
    """The children of that local name in `urn:hl7-org:v3`."""
    if parent is None or not len(parent):
        return []
    tag = V3 + name
    return [each for each in parent if each.tag == tag]


def descendant(parent: etree._Element | None, *names: str) -> etree._Element | None:
    """The end of the first path of children with these names, or None: no other branch is tried."""
    for name in names:
        parent = child(parent, name)
        if parent is None:
            return None
    return parent


def by_tag(parent: etree._Element) -> dict[str, list[etree._Element]]:
    """The children of an element by their tag, each list in the order of the document: one walk for all questions."""
    found: dict[str, list[etree._Element]] = {}
    for each in parent:
        tag = each.tag
        if tag in found:
            found[tag].append(each)
        else:
            found[tag] = [each]
    return found


def attribute(element: etree._Element | None, name: str) -> str | None:
    """The attribute with its white space folded; None where it is absent or blank."""
    if element is None:
        return None
    value = element.get(name)
    # Most attributes are one word.
    return value if value and value.isprintable() and " " not in value else folded(value)


def text(element: etree._Element | None) -> str | None:
    """All text under the element with its white space folded; None where there is none."""
    if element is None:
        return None
    return folded(_words(element) if len(element) else element.text)


def _words(element: etree._Element) -> str:
    """The text under an element, a blank where a line, a cell or a paragraph ends."""
    words = [element.text or ""]
    for each in element:
        parted = each.tag in _PARTED
        words += ((_words(each) if len(each) else each.text) or "", " " if parted else "", each.tail or "")
    return "".join(words)


def folded(value: str | None) -> str | None:
    """The value with each run of white space as one blank and none at its ends; None if nothing is left."""
    if not value:
        return None
    # Of all blanks, `isprintable` lets through the space only.
    if value.isprintable() and "  " not in value and value[0] != " " and value[-1] != " ":
        return value
    if value.isascii():
        # Of the blanks that `split` knows, XML allows these four only.
        return " ".join(value.split()) or None
    trimmed = value.strip(" \t\r\n")
    # R4 wants a character that is no white space, and a no-break space is one.
    if not trimmed or trimmed.isspace():
        return None
    return _BLANKS(" ", trimmed) if _FOLDABLE(trimmed) else trimmed
