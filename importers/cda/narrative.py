"""The narrative block of a section as the XHTML of a Narrative: an allow-list, nothing else gets through.

Most of a narrative is table cells that XHTML calls by the same names. So the block is written once by lxml, whose
markup is known (quoted attributes, no bare `<` or `>`, no comment, no CDATA), and only the other tags are rewritten.
Source: CDA R2 narrative block (StrucDoc.Text); https://hl7.org/fhir/R4/narrative.html; importers page §3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape, unescape
from typing import Final

from lxml import etree

# Tags that stay as they are where they bear no attribute.
_OTHERS = re.compile(r"<(?!/?(?:td|tr|th|tbody|thead|tfoot|sub|sup)>|br/>)([^>]*)>").sub
_ATTRIBUTES = re.compile(r'([^\s=]+)="([^"]*)"').findall
_TABLE = re.compile(r"<(?:[^\s<>:/]+:)?table(?:\s[^<>]*)?(?<!/)>[^<]*\Z").match
_SAYS_SOMETHING = re.compile(r"(?:^|>)(?:\s|&#160;)*+[^<\s]").search
_IDENTIFIED = re.compile(r'(\S+) ID="([^"]+)"').fullmatch
_SAFE_LINK = re.compile(r"(?:https?://|#).", re.IGNORECASE | re.DOTALL).match
_SPAN_COUNT = re.compile(r"[1-9]\d{0,3}", re.ASCII).fullmatch

_SAME: Final = ("table", "thead", "tbody", "tfoot", "tr", "th", "td", "col", "colgroup", "br", "sub", "sup", "caption")
_NAMES: Final[Mapping[str, str]] = {
    **{name: name for name in _SAME},
    "item": "li",
    "paragraph": "p",
    "content": "span",
    "footnote": "span",
}
_VOID: Final = frozenset({"br", "col"})
# Those whose other name, and whose end, does not depend on what they bear or where they stand.
_FIXED: Final[Mapping[str, str]] = {name: it for name, it in _NAMES.items() if name not in ("caption", *_VOID)}
# Their tags without attributes.
_TAGS: Final[Mapping[str, str]] = {
    **{name: f"<{it}>" for name, it in _FIXED.items()},
    **{f"/{name}": f"</{it}>" for name, it in _FIXED.items()},
    **{f"{name}/": f"<{it}></{it}>" for name, it in _FIXED.items()},
}
_SPANNING: Final = ("colspan", "rowspan")

Media = Mapping[str, tuple[str, str]]


def xhtml(text: etree._Element | None, prefix: str, media: Media) -> str | None:
    """The `div` of a section's `text`, its ids behind `prefix`; None where it says nothing.

    `media` gives the URL and the title of the attachments a `renderMultiMedia` may name by their ID.
    """
    if text is None or not (len(text) or (text.text or "").strip()):
        return None
    written = etree.tostring(text, encoding="utf-8", with_tail=False)
    # ASCII white space only: a no-break space is part of a French text.
    folded = b" ".join(written.split()).decode()
    start, end = folded.index(">") + 1, folded.rfind("<")
    if start > end:
        return None
    inner = _Rewriter(prefix, media).rewrite(folded[start:end])
    if not _SAYS_SOMETHING(inner):
        return None
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'


def _begins_table(caption: re.Match[str]) -> bool:
    """Whether a table begins right before this tag: the one place where XHTML takes a caption."""
    return _TABLE(caption.string, caption.string.rfind("<", 0, caption.start()), caption.start()) is not None


class _Rewriter:
    """The tags of one block, one after the other; what is open is remembered where its end depends on it."""

    __slots__ = ("_ends", "_media", "_prefix")

    def __init__(self, prefix: str, media: Media) -> None:
        self._prefix, self._media = prefix, media
        self._ends: list[tuple[str, str]] = []

    def rewrite(self, markup: str) -> str:
        return _OTHERS(self._tag, markup)

    def _tag(self, found: re.Match[str]) -> str:
        written = found[1]
        known = _TAGS.get(written)
        if known is not None:
            return known
        named = _IDENTIFIED(written)
        if named and named[1] in _FIXED:
            return f'<{_FIXED[named[1]]} id="{self._prefix}{named[2]}">'
        head, _, attributes = written.partition(" ")
        name = head.rstrip("/").rpartition(":")[2].removeprefix("/")
        if head.startswith("/"):
            return _TAGS.get(f"/{name}") or self._end(name)
        opened, end = self._start(name, dict(_ATTRIBUTES(attributes)) if attributes else {}, found)
        if written.endswith("/"):
            return opened + end
        if name not in _FIXED:
            self._ends.append((name, end))
        return opened

    def _end(self, name: str) -> str:
        while self._ends:
            opened, end = self._ends.pop()
            if opened == name:
                return end
        return ""

    def _start(self, name: str, given: Mapping[str, str], found: re.Match[str]) -> tuple[str, str]:
        ids = f' id="{self._prefix}{given["ID"]}"' if given.get("ID") else ""
        if name == "list":
            kind = "ol" if given.get("listType") == "ordered" else "ul"
            return f"<{kind}{ids}>", f"</{kind}>"
        if name == "linkHtml":
            return self._link(given.get("href", ""), ids)
        if name == "renderMultiMedia":
            return self._media_links(given.get("referencedObject", ""), ids)
        if name == "caption" and not _begins_table(found):
            return f"<span{ids}>", "</span>"
        target = _NAMES.get(name)
        if target is None:
            return "", ""
        if target in _VOID:
            return f"<{target}{ids}/>", ""
        spans = [f' {each}="{given[each]}"' for each in _SPANNING if each in given and _SPAN_COUNT(given[each])]
        return f"<{target}{ids}{''.join(spans)}>", f"</{target}>"

    def _link(self, href: str, ids: str) -> tuple[str, str]:
        if not _SAFE_LINK(unescape(href)):
            return f"<span{ids}>", "</span>"
        target = f"#{self._prefix}{href[1:]}" if href.startswith("#") else href
        return f'<a{ids} href="{target}">', "</a>"

    def _media_links(self, names: str, ids: str) -> tuple[str, str]:
        known = [self._media[each] for each in names.split() if each in self._media]
        links = "".join(f'<a href="{escape(url)}">{escape(title)}</a>' for url, title in known)
        return f"<span{ids}>{links}", "</span>"
