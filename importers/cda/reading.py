"""A CDA document read once: its names, its patient, its body, and the bytes as they came."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from fhir_server.errors import Invalid, Issue, NotBuilt, UnsupportedMediaType
from importers.cda.body import Body, read_body
from importers.cda.elements import V3
from importers.cda.header import check_standard, document_type
from importers.cda.naming import Naming, naming
from importers.cda.patient import PatientIdentity, read_patient
from importers.detect import Kind, detect
from importers.issues import Notes, refusal
from importers.limits import Limits, Stopwatch
from importers.xml import parse

MEDIA_TYPE: Final = "text/xml"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document read once: its names, its patient, its body, and the bytes as they came.

    `sha1` is that of the original in base64, as Attachment.hash has it. `kind` tells a document from one wrapped in
    other XML; `type` is a CodeableConcept; `notes` are the remarks so far, `seconds` what reading took.
    """

    original: bytes = field(repr=False)
    sha1: str
    kind: Kind
    names: Naming
    type: dict[str, Any] | None
    identity: PatientIdentity
    body: Body = field(repr=False)
    limits: Limits
    notes: tuple[Issue, ...] = field(repr=False)
    seconds: float
    root: etree._Element = field(repr=False, compare=False)

    @property
    def media_type(self) -> str:
        """The media type of the original."""
        return MEDIA_TYPE

    @property
    def size(self) -> int:
        """The length of the original in bytes."""
        return len(self.original)


def read(document: bytes, limits: Limits | None = None) -> Parsed:
    """Parse a CDA document of level 1, 2 or 3, alone or wrapped in other XML.

    Raises NotBuilt for XDM, ebRIM and PDF, UnsupportedMediaType for what is not XML, Malformed for a DOCTYPE or broken
    XML, TooLarge for a cap, Invalid for none or several documents, no document id, several patients or a body that
    cannot be read. Each carries one coded issue.
    """
    limits = limits or Limits()
    watch, notes = Stopwatch(limits), Notes()
    limits.hold("xml_bytes", len(document))
    kind = detect(document)
    if kind in (Kind.ZIP, Kind.PDF, Kind.EBRIM):
        raise refusal(NotBuilt, "not-built", detail=kind)
    if kind is Kind.UNKNOWN:
        raise refusal(UnsupportedMediaType, "not-a-document")
    root = _only_document(parse(document, limits), document)
    watch.check()
    check_standard(root, notes)
    return Parsed(
        original=document,
        sha1=sha1(document),
        kind=kind,
        names=naming(root, notes),
        type=document_type(root, notes),
        identity=read_patient(root, notes),
        body=read_body(root, limits, notes),
        limits=limits,
        notes=notes.issues,
        seconds=watch.check(),
        root=root,
    )


def sha1(data: bytes) -> str:
    """The SHA-1 of some bytes in base64, as Attachment.hash has it."""
    return b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _only_document(root: etree._Element, document: bytes) -> etree._Element:
    name = V3 + "ClinicalDocument"
    if root.tag == name and document.count(b"ClinicalDocument") <= 2:
        # Its start and its end are all the document says of it: no need to look through the tree.
        return root
    found = list(root.iter(name))
    if len(found) != 1:
        raise refusal(Invalid, "not-a-document", detail=f"found {len(found)}")
    return found[0]
