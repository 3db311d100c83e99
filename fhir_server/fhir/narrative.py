"""What the XHTML of a narrative may hold (https://hl7.org/fhir/R4/narrative.html#xhtml, invariants txt-1 and txt-2)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fhir_server.errors import Malformed
from fhir_server.fhir.xml import XHTML, Element, parse_fragment

# The XPath of txt-1 names these, and the chapters of HTML 4.0 named in its text `address`, `bdo` and `kbd` besides.
_NAMES = (
    "a abbr acronym address b bdo big blockquote br caption cite code col colgroup dd dfn div dl dt em "
    "h1 h2 h3 h4 h5 h6 hr i img kbd li ol p pre q samp small span strong sub sup "
    "table tbody td tfoot th thead tr tt ul var"
)
_ATTRIBUTE_NAMES = (
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff "
    "charset cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc "
    "name nowrap rel rev rowspan rules scope shape span src start style summary tabindex title type valign "
    "value vspace width {http://www.w3.org/XML/1998/namespace}lang {http://www.w3.org/XML/1998/namespace}space"
)
_ELEMENTS = frozenset(f"{{{XHTML}}}{name}" for name in _NAMES.split())
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
_LINKS = frozenset({"href", "cite", "longdesc"})
_LINK_SCHEMES = frozenset({"", "http", "https", "ftp", "mailto", "tel", "urn"})
_IMAGE_SCHEMES = frozenset({"", "http", "https", "cid"})

# A browser drops these from a URL before it looks for the scheme.
_IGNORED_IN_URLS = dict.fromkeys(range(0x21))
_SCHEME = re.compile(r"([^/?#:]*):").match
_STYLE_URL = re.compile(r"url\(\s*['\"]?([^)'\"]*)", re.IGNORECASE).findall
# CSS escapes and comments can hide a word from any search for it; the others run code or load a style sheet.
_ACTIVE_STYLE = re.compile(r"\\|/\*|@import|expression\s*\(|behavior\s*:|-moz-binding|script\s*:", re.IGNORECASE).search
# HTML has no CDATA, and ends at once a comment that begins with `>`: what follows is markup to it and text to XML.
_MISREAD = re.compile(r"<!(\[|---?>)").search

_DIV = f"{{{XHTML}}}div"


def narrative_problems(div: str) -> list[str]:
    """What is wrong with a `Narrative.div`, a sentence each, without repeats; empty if it may be shown. Never raises.

    Besides the rules of R4 it refuses what a browser given the text as HTML would read otherwise than XML does.
    """
    if "<?" in div or ("<!" in div and _MISREAD(div)):
        return ["Processing instructions, CDATA sections and empty comments are not allowed in a narrative."]
    try:
        root = parse_fragment(div)
    except Malformed as error:
        return [str(error)]
    if root.tag != _DIV:
        return ["The root of a narrative is a div in the namespace http://www.w3.org/1999/xhtml."]
    found = dict.fromkeys(_problems(root))
    if not found and not _says_something(root):
        found["A narrative has some text or an image."] = None
    return list(found)


def _problems(root: Element) -> Iterator[str]:
    """Elements and attributes that are not allowed."""
    for element in root.iter():
        if element.tag not in _ELEMENTS and isinstance(element.tag, str):
            yield "The narrative holds an element that is not allowed."
        for name, value in element.items():
            if name not in _ATTRIBUTES:
                yield "The narrative holds an attribute that is not allowed."
            elif name in _LINKS and _scheme(str(value)) not in _LINK_SCHEMES:
                yield "A link of the narrative has a scheme that is not allowed."
            elif name == "src" and not _is_image(str(value)):
                yield "An image of the narrative has a scheme that is not allowed."
            elif name == "style" and not _is_passive(str(value)):
                yield "A style of the narrative can run code or load a style sheet."


def _says_something(root: Element) -> bool:
    """Rule txt-2: some text that is not white space, or an image."""
    return any(text.strip() for text in root.itertext()) or root.find(f".//{{{XHTML}}}img[@src]") is not None


def _scheme(url: str) -> str:
    """The scheme a browser sees, in lower case; empty for a relative URL."""
    found = _SCHEME(url.translate(_IGNORED_IN_URLS))
    return found[1].lower() if found else ""


def _is_image(url: str) -> bool:
    """Whether the URL can be loaded as an image, and nothing else."""
    scheme = _scheme(url)
    if scheme == "data":
        return url.translate(_IGNORED_IN_URLS)[5:11].lower() == "image/"
    return scheme in _IMAGE_SCHEMES


def _is_passive(style: str) -> bool:
    """Whether the style only says how things look."""
    return not _ACTIVE_STYLE(style) and all(map(_is_image, _STYLE_URL(style)))
