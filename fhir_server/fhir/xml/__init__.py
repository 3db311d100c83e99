"""The door to lxml: XML parsed with nothing external, no entity of its own, no DOCTYPE."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any, Final

from lxml import etree

from fhir_server.errors import Malformed, TooLarge, UnsupportedMediaType
from fhir_server.fhir.json import MAX_PARTS

Element = etree._Element

FHIR: Final = "http://hl7.org/fhir"
XHTML: Final = "http://www.w3.org/1999/xhtml"

MOST_ATTRIBUTES: Final = 64
"""Of one element; and prefixes of namespaces in a document, which lxml gathers anew for every narrative. To read n
attributes it takes a time that grows with n²: a megabyte of them, some minutes."""

# Parsers hold options only: lxml gives every parse its own context.
_FRAGMENT: Final = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
)
# Content of a Binary is one attribute, longer than the 10 million characters libxml2 takes of its own accord.
_DOCUMENT: Final = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=True,
    encoding="utf-8",
    remove_pis=True,
    collect_ids=False,
)
# HTML has no end tag for these.
_VOID: Final = frozenset(f"{{{XHTML}}}{name}" for name in ("area", "br", "col", "hr", "img"))
_MARKUP: Final = (b"<", b"=")
_PREFIXED: Final = b"xmlns:"
_prefixes = re.compile(rb"xmlns:([^\s=]+)").findall
_DECLARED = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]*?\sencoding\s*=\s*[\"'](?!(?i:utf-8|us-ascii)[\"'])").match
# An XPath can give anything; this one gives strings that know where they stand.
_text_between: Callable[[Element], list[Any]] = etree.XPath(  # type: ignore[assignment]
    "//f:*/text()[normalize-space()]", namespaces={"f": FHIR}
)
_string_value: Callable[[Element], str] = etree.XPath("string()")  # type: ignore[assignment]
_is_crowded: Callable[[Element], bool] = etree.XPath(f"boolean(//*[@*[{MOST_ATTRIBUTES + 1}]])")  # type: ignore[assignment]

attributes: Callable[[Element], list[tuple[str, str]]] = etree._Element.items  # type: ignore[assignment]
"""The attributes of an element, name (`{namespace}name`) and value; namespaces declared are none."""


def parse_fragment(text: str) -> Element:
    """The root element of a piece of XML in a string, such as `Narrative.div`.

    Comments and processing instructions stay in the tree. Malformed if it is not well-formed, has a DOCTYPE or an XML
    declaration, names an entity XML itself does not know, nests deeper than libxml2's 256, or has more than
    `MOST_ATTRIBUTES` in one element.
    """
    if "<!DOCTYPE" in text:
        raise Malformed("XML with a DOCTYPE is refused.")
    try:
        return _with_few_attributes(etree.fromstring(text, _FRAGMENT))
    except etree.XMLSyntaxError as error:
        raise _unreadable(error) from None
    except ValueError:
        raise Malformed("The XML holds a declaration of encoding or characters XML does not know.") from None


def parse_document(body: bytes) -> Element:
    """The root element of an XML document in UTF-8, a byte order mark or not.

    Comments stay in the tree, processing instructions do not. Malformed if it is not well-formed, has a DOCTYPE, nests
    deeper than libxml2's 2,048, or has more than `MOST_ATTRIBUTES` in one element or prefixes in all;
    UnsupportedMediaType if it declares another encoding; TooLarge, before anything is built, for more than `MAX_PARTS`
    tags or attributes.
    """
    if any(body.count(mark) > MAX_PARTS for mark in _MARKUP):
        raise TooLarge(f"A body may have {MAX_PARTS} tags and as many attributes.")
    # Sound on the bytes, for the parser reads them as UTF-8 whatever they say of themselves.
    if b"<!DOCTYPE" in body:
        raise Malformed("XML with a DOCTYPE is refused.")
    if body.count(_PREFIXED) > MOST_ATTRIBUTES and len(set(_prefixes(body))) > MOST_ATTRIBUTES:
        raise Malformed(f"XML may declare {MOST_ATTRIBUTES} prefixes of namespaces.")
    if _DECLARED(body):
        raise UnsupportedMediaType("XML of FHIR is in UTF-8.", expression="Content-Type")
    try:
        return _with_few_attributes(etree.fromstring(body, _DOCUMENT))
    except etree.XMLSyntaxError as error:
        raise _unreadable(error) from None


def _with_few_attributes(root: Element) -> Element:
    """The tree, if it can be read in a time that grows with its size alone."""
    if _is_crowded(root):
        raise Malformed(f"An element of XML may have {MOST_ATTRIBUTES} attributes.")
    return root


def stray_text(root: Element) -> Element | None:
    """The first element of FHIR that has text of its own, between its children or instead of them."""
    for text in _text_between(root):
        parent: Element = text.getparent()
        return parent if text.is_text else parent.getparent()
    return None


def standing_alone(element: Element) -> str:
    """An element of XHTML and what it holds as text that needs nothing around it, without the text that follows it.

    The namespace is declared as the default one. Elements without content have an end tag unless HTML forbids one, so
    that XML and HTML read the text alike.
    """
    if element.prefix is not None or len(element.nsmap) > 1:
        element = _with_default_namespace(element)
    for each in element.iter("*"):
        if not len(each) and not each.text and each.tag not in _VOID:
            each.text = ""
    return etree.tostring(element, encoding="unicode", with_tail=False)


def _with_default_namespace(element: Element) -> Element:
    """A copy of an element of XHTML that declares this namespace, unprefixed, and no other that it does not use."""
    alone = etree.Element(element.tag, dict(element.attrib), {None: XHTML})  # type: ignore[dict-item, misc]
    alone.text = element.text
    alone.extend(deepcopy(element))
    etree.cleanup_namespaces(alone)
    return alone


def splice(holder: Element, index: int, content: Iterable[str | Element], *, removed: bool = False) -> None:
    """Put texts and nodes into an element; if `removed`, instead of the part that is there.

    Texts have even numbers, empty ones too, and there is a child between each two. A node given must have no tail.
    """
    before, place = (holder[index // 2 - 1] if index > 1 else None), index // 2
    text = _set_text(holder, before, "")
    pieces = [*content] if removed else [*content, text]
    if index % 2:
        pieces = [text, *content]
        if removed:
            child = holder[place]
            pieces.append(child.tail or "")
            child.tail = None
            holder.remove(child)
    for piece in pieces:
        if isinstance(piece, str):
            _set_text(holder, before, _set_text(holder, before, "") + piece)
        else:
            holder.insert(place, piece)
            before, place = piece, place + 1


def _set_text(holder: Element, before: Element | None, text: str) -> str:
    """Change the text after a child, or the first text of its holder; gives the one that was there."""
    if before is None:
        was, holder.text = holder.text, text or None
    else:
        was, before.tail = before.tail, text or None
    return was or ""


def declare(element: Element, prefix: str, namespace: str) -> None:
    """Let a prefix stand for a namespace from this element on."""
    kept = [prefix, *(each for each in element.nsmap if each)]
    etree.cleanup_namespaces(element, top_nsmap={prefix: namespace}, keep_ns_prefixes=kept)


def string_value(element: Element) -> str:
    """All text in an element, as XPath has it: without that of comments."""
    return _string_value(element)


def is_element(node: Element) -> bool:
    """Whether a node of the tree is an element, and not a comment."""
    return isinstance(node.tag, str)


def is_comment(node: Element) -> bool:
    """Whether a node of the tree is a comment."""
    return node.tag is etree.Comment  # type: ignore[comparison-overlap]


def elements(node: Element) -> Iterator[Element]:
    """The child elements of a node."""
    return node.iterchildren("*")


def local_name(element: Element) -> str:
    """The name of an element without its namespace."""
    return etree.QName(element).localname


def _unreadable(error: etree.XMLSyntaxError) -> Malformed:
    # The message of libxml2 quotes the document: only the place is told.
    line, column = error.position
    return Malformed(f"The XML is not well-formed at line {line}, column {column}.")
