"""XML from outside, parsed without trusting it: no DOCTYPE, no entity, no network, and caps held before the parse.

The caps on all elements and all attributes are held on the bytes, where markup inside comments and CDATA counts too: a
count on the tree would come after its memory is spent. Within them a tree costs less than a second and 200 MB, so that
its depth, where libxml2 stops at 2,048 levels, and the attributes of one element can be read from it.
"""

from __future__ import annotations

import re
from functools import cache

from lxml import etree

from fhir_server.errors import Malformed, TooLarge, UnsupportedMediaType
from importers.issues import over_limit, refusal
from importers.limits import Limits

_UTF8_BOM = b"\xef\xbb\xbf"
_DECLARED = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([A-Za-z0-9._-]+)", re.ASCII).match
# Encodings in which markup is written in ASCII bytes, so that the caps can be counted on them.
_PLAIN = re.compile(rb"(?i)utf-?8|us-ascii|ascii|iso-8859-\d{1,2}|latin-?1|windows-125\d", re.ASCII).fullmatch
# Atomic and possessive: a prolog of many comments must not be tried in every way.
_PROLOG = rb"(?>\s+|<\?.*?\?>|<!--.*?-->)*+"
_DOCTYPE = re.compile(_PROLOG + rb"<!DOCTYPE", re.DOTALL).match
_ROOT = re.compile(_PROLOG + rb"<(?:[^\s/>:]+:)?([^\s/>:]+)", re.DOTALL).match

# What the shortest element (`<a/>`) and the shortest attribute (` a=""`) take.
_ELEMENT_BYTES = 4
_ATTRIBUTE_BYTES = 5

# XML_ERR_RESOURCE_LIMIT of libxml2; with DOCTYPE refused, only the depth can reach it.
_RESOURCE_LIMIT = 114


def parse(document: bytes, limits: Limits) -> etree._Element:
    """The root of a hardened parse, comments and processing instructions left out.

    Raises Malformed for a DOCTYPE (`doctype`) or XML that is not well-formed, UnsupportedMediaType for an encoding
    other than UTF-8, UTF-16, ASCII, ISO 8859 and Windows-125x, TooLarge for a cap.
    """
    limits.hold("xml_bytes", len(document))
    _refuse_bombs(scannable(document), limits)
    try:
        root = etree.fromstring(document, _parser())
    except etree.XMLSyntaxError as error:
        raise _unreadable(error, limits) from None
    refuse_doctype(root)
    if _deeper_than(limits.depth)(root):
        raise over_limit("depth", limits.depth)
    if _wider_than(limits.attributes)(root):
        raise over_limit("attributes", limits.attributes)
    return root


def refuse_doctype(root: etree._Element) -> None:
    """Raise Malformed if the parser met a DOCTYPE: its word is the last, whatever the scan of the bytes saw."""
    if root.getroottree().docinfo.internalDTD is not None:
        raise refusal(Malformed, "doctype")


def scannable(document: bytes) -> bytes:
    """The document with its markup in ASCII bytes and without byte order mark: UTF-16 is rewritten, others as given.

    Raises UnsupportedMediaType for an encoding outside the list of `parse`.
    """
    utf16 = document.startswith((b"\xff\xfe", b"\xfe\xff", b"<\x00", b"\x00<"))
    if b"\x00\x00" in document[:4]:
        raise refusal(UnsupportedMediaType, "encoding")
    if utf16:
        little = document[0] in b"\xff<"
        text = document.decode("utf-16-le" if little else "utf-16-be", "replace")
        return text.removeprefix("\ufeff").encode("utf-8", "replace")
    plain = document.removeprefix(_UTF8_BOM)
    declared = _DECLARED(plain)
    if declared and not _PLAIN(declared[1]):
        raise refusal(UnsupportedMediaType, "encoding")
    return plain


def root_name(scanned: bytes) -> str | None:
    """The local name of the root element of a scannable document, or None if it does not look like XML."""
    found = _ROOT(scanned)
    name = found[1] if found else b"!"
    return None if name.startswith((b"!", b"?")) else name.decode("utf-8", "replace")


def _refuse_bombs(scanned: bytes, limits: Limits) -> None:
    if _DOCTYPE(scanned):
        raise refusal(Malformed, "doctype")
    # A document too short to exceed a cap is not counted.
    if len(scanned) > limits.elements * _ELEMENT_BYTES and scanned.count(b"<") > limits.elements:
        limits.hold("elements", scanned.count(b"<") - sum(scanned.count(mark) for mark in (b"</", b"<!", b"<?")))
    if len(scanned) > limits.all_attributes * _ATTRIBUTE_BYTES:
        limits.hold("all_attributes", scanned.count(b"="))


@cache
def _deeper_than(depth: int) -> etree.XPath:
    return etree.XPath(f"boolean({'/*' * (depth + 1)})")


@cache
def _wider_than(attributes: int) -> etree.XPath:
    return etree.XPath(f"boolean(//@*[{attributes + 1}])")


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=True,
        remove_pis=True,
        remove_comments=True,
        collect_ids=False,
    )


def _unreadable(error: etree.XMLSyntaxError, limits: Limits) -> Malformed | TooLarge:
    # The message of libxml2 quotes the document: only the place and the kind of error are told.
    if getattr(error, "code", None) == _RESOURCE_LIMIT:
        return over_limit("depth", limits.depth)
    line, column = error.position
    return refusal(Malformed, "not-well-formed", detail=f"line {line}, column {column}")
