"""The body of a CDA document: its level, what it counts, and the content a level-1 document carries.

Source: CDA R2 `nonXMLBody` and `structuredBody`, data type ED.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from lxml import etree

from fhir_server.errors import Invalid
from importers.cda.elements import V3, attribute, child, descendant
from importers.issues import Notes, refusal, rejection
from importers.limits import Limits

OCTETS: Final = "application/octet-stream"
_NAMESPACE: Final = {"v3": V3[1:-1]}
_SECTION, _ENTRY = V3 + "section", V3 + "entry"
_REFERENCES: Final = etree.XPath("descendant::v3:reference/@value", namespaces=_NAMESPACE, smart_strings=False)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]").search
_UNDEFINED_IN_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]").search


class Content(NamedTuple):
    """A decoded content and the media type it is kept under."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """What a body is: level 1 (opaque content), 2 (narrative) or 3 (coded entries), and how much it holds.

    `content` is None beyond level 1, and where a level-1 body only points to a content elsewhere. `references` are the
    values of all references into the narrative.
    """

    level: int
    sections: int = 0
    entries: int = 0
    content: Content | None = None
    references: tuple[str, ...] = ()


def read_body(document: etree._Element, limits: Limits, notes: Notes) -> Body:
    """The body of a ClinicalDocument.

    Raises Invalid where there is none (906) or its content is empty (`empty-body`), not base64 (`bad-base64`) or not
    of its media type (`media-mismatch`); TooLarge for `attachment_bytes`.
    """
    component = child(document, "component")
    opaque = child(component, "nonXMLBody")
    if opaque is not None:
        return Body(1, content=read_content(child(opaque, "text"), opaque, limits, notes))
    structured = child(component, "structuredBody")
    if structured is None:
        raise rejection("906", "no nonXMLBody nor structuredBody", document)
    tags = [each.tag for each in structured.iter(_SECTION, _ENTRY)]
    entries = tags.count(_ENTRY)
    references = tuple(cast("list[str]", _REFERENCES(structured)))
    return Body(3 if entries else 2, len(tags) - entries, entries, references=references)


def read_content(
    element: etree._Element | None, opaque: etree._Element, limits: Limits, notes: Notes, *, lenient: bool = False
) -> Content | None:
    """The content of an ED; None (noted) where it only points to one elsewhere.

    With `lenient`, what is not of its media type is kept as mere bytes (noted). Raises Invalid for none at all, for
    what is not base64 or not of its media type, TooLarge for `attachment_bytes`.
    """
    if element is None:
        raise refusal(Invalid, "empty-body", opaque)
    written = (element.text or "") + "".join(each.tail or "" for each in element)
    if not written.strip() and descendant(element, "reference") is not None:
        notes.add("external-content", element)
        return None
    data = _decoded(written, element, limits)
    if not data:
        raise refusal(Invalid, "empty-body", element)
    media_type = (attribute(element, "mediaType") or "text/plain").partition(";")[0].strip().lower()
    if attribute(element, "compression") or media_type not in _MAGIC:
        notes.add("unknown-media", element)
        return Content(OCTETS, data)
    if lenient and not _MAGIC[media_type](data):
        notes.add("mislabelled-media", element)
        return Content(OCTETS, data)
    if not _MAGIC[media_type](data):
        raise refusal(Invalid, "media-mismatch", element)
    return Content(media_type, data)


def is_of_type(media_type: str, data: bytes) -> bool | None:
    """Whether bytes are of that media type by their first ones; None for a type that is not known so."""
    known = _MAGIC.get(media_type)
    return known(data) if known else None


def _decoded(written: str, element: etree._Element, limits: Limits) -> bytes:
    if attribute(element, "representation") != "B64":
        data = written.strip().encode()
        limits.hold("attachment_bytes", len(data))
        return data
    try:
        # Of the blanks that `split` knows, XML allows the four of base64 only.
        packed = b"".join(written.encode("ascii").split())
        limits.hold("attachment_bytes", len(packed) // 4 * 3 - packed[-2:].count(b"="))
        if len(packed) % 4:
            raise binascii.Error
        return binascii.a2b_base64(packed, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise refusal(Invalid, "bad-base64", element) from None


def _starts(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(magic)


def _is_text(data: bytes) -> bool:
    # UTF-8, or the Windows code page older software writes; a binary would hold control characters.
    if _CONTROLS(data):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return not _UNDEFINED_IN_1252(data)
    return True


def _is_xml(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<", b"\xff\xfe<\x00", b"\xfe\xff\x00<"))


_MAGIC: Final[dict[str, Callable[[bytes], bool]]] = {
    "application/pdf": _starts(b"%PDF-"),
    "image/jpeg": _starts(b"\xff\xd8\xff"),
    "image/png": _starts(b"\x89PNG\r\n\x1a\n"),
    "image/tiff": _starts(b"II*\x00", b"MM\x00*"),
    "application/rtf": _starts(rb"{\rtf"),
    "text/rtf": _starts(rb"{\rtf"),
    "text/plain": _is_text,
    "text/xml": _is_xml,
}
