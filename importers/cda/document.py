"""From the bytes of a CDA document to what a record stores: one DocumentReference and the Binaries it points to.

`read` parses once; `convert` needs the subject the caller has matched. In between: `patient.verify` and
`patient.compare`. The coded entries of a body are counted and kept as narrative only, none is mapped yet.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from lxml import etree

from fhir_server.errors import Invalid, Issue, NotBuilt, UnsupportedMediaType
from importers.cda.actors import Actors
from importers.cda.body import Body, read_body
from importers.cda.elements import V3
from importers.cda.header import MIME_TYPE_SUFFICIENT, Part, check_standard, document_reference, document_type
from importers.cda.naming import Naming, naming
from importers.cda.patient import PatientIdentity, read_patient
from importers.detect import Kind, detect
from importers.issues import Notes, refusal
from importers.limits import Limits, Stopwatch
from importers.xml import parse

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:fhir-server:importer:1")
MEDIA_TYPE: Final = "text/xml"

_SUBJECT = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}|urn:uuid:[0-9a-f-]{36}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Envelope:
    """What came with the document from outside: codes of visibility or confidentiality, joined to its own."""

    visibility: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """The bytes of one Binary; `security_context` is the reference that says who may see it."""

    id: str
    media_type: str
    data: bytes = field(repr=False)
    security_context: str

    @property
    def full_url(self) -> str:
        """Its fullUrl in a transaction."""
        return f"urn:uuid:{self.id}"

    def binary(self) -> dict[str, Any]:
        """The R4 Binary, its data in base64."""
        return {
            "resourceType": "Binary",
            "id": self.id,
            "contentType": self.media_type,
            "securityContext": {"reference": self.security_context},
            "data": b64encode(self.data).decode(),
        }


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


@dataclass(frozen=True, slots=True)
class EntryCounts:
    """The entries of a body: total = mapped + narrative_only + failed."""

    total: int
    narrative_only: int
    mapped: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to a document: counts, issues that did not stop it, milliseconds of read and convert."""

    kind: Kind
    level: int
    sections: int
    entries: EntryCounts
    issues: tuple[Issue, ...]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a document becomes: a DocumentReference, the bytes it points to (the original first), a report.

    `relatesTo` is left to the caller, who knows which of `Parsed.names.parents` exist. The type and the described
    patient are those of the Parsed, not copies.
    """

    document_reference: dict[str, Any]
    attachments: tuple[Attachment, ...]
    report: Report

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources in full, Binaries first; the fullUrl of each is `urn:uuid:` and its id."""
        return [*(each.binary() for each in self.attachments), self.document_reference]


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
    root = _only_document(parse(document, limits))
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


def convert(parsed: Parsed, *, subject: str, envelope: Envelope | None = None, imported_at: datetime) -> Conversion:
    """The resources of a document for the Patient `subject` (`Patient/id` or `urn:uuid:…`), deterministic ids included.

    Raises ValueError for another subject or a time without offset, TooLarge when the document takes too long.
    """
    if not _SUBJECT(subject) or imported_at.tzinfo is None:
        raise ValueError("subject must be a literal Patient reference and imported_at have an offset")
    watch, notes = Stopwatch(parsed.limits, parsed.seconds), Notes()
    notes.extend(parsed.notes)
    reference_id = _id(parsed.names, "DocumentReference")
    attachments = _attachments(parsed, f"urn:uuid:{reference_id}")
    actors = Actors(subject, parsed.identity, notes)
    resource = document_reference(
        parsed.root,
        parsed.names,
        _parts(parsed, attachments),
        actors,
        notes,
        kind=parsed.type,
        visibility=(envelope or Envelope()).visibility,
        imported_at=imported_at,
    )
    reference = {"resourceType": "DocumentReference", "id": reference_id, **resource}
    body = parsed.body
    counts = EntryCounts(total=body.entries, narrative_only=body.entries)
    milliseconds = watch.check() * 1000
    report = Report(parsed.kind, body.level, body.sections, counts, notes.issues, milliseconds)
    return Conversion(reference, attachments, report)


def sha1(data: bytes) -> str:
    """The SHA-1 of some bytes in base64, as Attachment.hash has it."""
    return b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _only_document(root: etree._Element) -> etree._Element:
    name = V3 + "ClinicalDocument"
    found = list(root.iter(name))
    if len(found) != 1:
        raise refusal(Invalid, "not-a-document", detail=f"found {len(found)}")
    return found[0]


def _attachments(parsed: Parsed, context: str) -> tuple[Attachment, ...]:
    original = Attachment(_id(parsed.names, "Binary"), MEDIA_TYPE, parsed.original, context)
    content = parsed.body.content
    if content is None:
        return (original,)
    return (original, Attachment(_id(parsed.names, "Binary", "body"), *content, context))


def _parts(parsed: Parsed, attachments: tuple[Attachment, ...]) -> list[Part]:
    original, *bodies = attachments
    opaque = [Part(a.media_type, a.full_url, len(a.data), sha1(a.data), MIME_TYPE_SUFFICIENT) for a in bodies]
    return [Part(MEDIA_TYPE, original.full_url, parsed.size, parsed.sha1), *opaque]


def _id(names: Naming, kind: str, *what: str) -> str:
    """The id of a resource that exists once a document: keyed by uniqueId, whoever the subject is."""
    return str(uuid5(NAMESPACE, "|".join((*names.unique_id, kind, *what))))
