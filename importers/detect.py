"""What a pushed file is, judged by its content and never by its name."""

from __future__ import annotations

import re
from enum import StrEnum

from importers.xml import root_name, scannable


class Kind(StrEnum):
    """The kinds of input told apart; `XML` is any other XML, `UNKNOWN` anything else."""

    CDA = "cda"
    WRAPPED_CDA = "wrapped-cda"
    EBRIM = "ebrim"
    XML = "xml"
    ZIP = "zip"
    PDF = "pdf"
    UNKNOWN = "unknown"


_REGISTRY = re.compile(rb"<(?:[^\s/>:<]+:)?(?:ProvideAndRegisterDocumentSetRequest|SubmitObjectsRequest)[\s/>]").search
_CLINICAL_DOCUMENT = re.compile(rb"<(?:[^\s/>:<]+:)?ClinicalDocument[\s/>]").search
# A registry request as it travels: MIME parts, or the whole HTTP request, perhaps below a line of a log.
_TRAVELLING = re.compile(rb"(?im)^(?:--|(?:POST|PUT) \S+ HTTP/|(?:MIME-Version|Content-Type):)").search
_MARKUP = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00<")
_HEAD = 1024


def detect(document: bytes) -> Kind:
    """The kind of a file. Raises UnsupportedMediaType for XML in an encoding that is not read."""
    if document.lstrip(b" \t\r\n").startswith(_MARKUP):
        return _kind_of_xml(scannable(document))
    if document.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Kind.ZIP
    # The first part of a message may itself be a PDF.
    if not document.startswith(b"%PDF-") and _TRAVELLING(document[:_HEAD]) and _REGISTRY(document):
        return Kind.EBRIM
    return Kind.PDF if b"%PDF-" in document[:_HEAD] else Kind.UNKNOWN


def _kind_of_xml(scanned: bytes) -> Kind:
    name = root_name(scanned)
    if name == "ClinicalDocument":
        return Kind.CDA
    if _REGISTRY(scanned):
        return Kind.EBRIM
    return Kind.WRAPPED_CDA if _CLINICAL_DOCUMENT(scanned) else Kind.XML
