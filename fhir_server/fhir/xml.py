"""The door to lxml: XML parsed with nothing external, no entity of its own, no DOCTYPE."""

from __future__ import annotations

from typing import Final

from lxml import etree

from fhir_server.errors import Malformed

Element = etree._Element

XHTML: Final = "http://www.w3.org/1999/xhtml"

# Holds options only: lxml gives every parse its own context.
_PARSER: Final = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
)


def parse_fragment(text: str) -> Element:
    """The root element of a piece of XML in a string, such as `Narrative.div`.

    Comments and processing instructions stay in the tree. Malformed if it is not well-formed, has a DOCTYPE or an XML
    declaration, names an entity XML itself does not know, or nests deeper than libxml2's 256.
    """
    if "<!DOCTYPE" in text:
        raise Malformed("XML with a DOCTYPE is refused.")
    try:
        return etree.fromstring(text, _PARSER)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise Malformed(f"The XML is not well-formed at line {line}, column {column}.") from None
    except ValueError:
        raise Malformed("The XML holds a declaration of encoding or characters XML does not know.") from None
