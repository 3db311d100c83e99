"""A pushed document made ready for a record: read, judged, converted, for a patient who is still to be found.

Pure and picklable: it runs in a thread beside the event loop, or in a process of its own.
Source: importers page §1, §6, §9 and §10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.identity import INS_SYSTEMS
from importers.cda.body import OCTETS, is_of_type
from importers.cda.conversion import Attachment, Conversion, EntryCounts, Report
from importers.cda.datatypes import URI, Key, urn
from importers.cda.document import Envelope, convert, read
from importers.cda.header import MIME_TYPE_SUFFICIENT, Part
from importers.cda.labels import security_labels
from importers.cda.naming import Naming, RelatedDocument
from importers.cda.patient import PatientIdentity, Verified, verify
from importers.cda.reading import sha1 as digest
from importers.coded import master_identifier
from importers.detect import Kind, detect
from importers.export.entries import IS_ARCHIVED
from importers.issues import Notes, refusal, rejection
from importers.limits import Limits, Stopwatch
from importers.metadata import ARCHIVED, DELETED, DEPRECATED, Code, DocumentEntry, Metadata
from importers.reference import document_reference
from importers.subject import identity_of
from importers.tables import class_of, table

PATIENT: Final = "urn:uuid:00000000-0000-4000-8000-000000000000"
"""Whom a document is converted for until its patient is known: no key depends on who that is."""

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:fhir-server:importer:1")
_RELATIONS: Final = {"RPLC": "replaces", "APND": "appends", "XFRM": "transforms", "XFRM_RPLC": "replaces"}
_PDF: Final = "application/pdf"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How documents are to be read.

    `strict`: an INS that is wrong refuses; `production`: so does one of test. `at`: the time of the import,
    microseconds. `visibility`: codes that came beside; `type`: of what has no metadata; `metadata`: a DocumentReference
    that came beside; `named`: its patient is told by who sends it; `others`: the uniqueId of each document of the same
    message by the id of its entry.
    """

    strict: bool = True
    production: bool = False
    at: int = 0
    limits: Limits = field(default_factory=Limits)
    visibility: tuple[str, ...] = ()
    type: Code | None = None
    metadata: Mapping[str, Any] | None = None
    named: bool = False
    others: Mapping[str, Key] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One document and all it becomes, for the patient `PATIENT`.

    `identity`: whom it is about, None when nothing in it tells; `ins`: under which that patient is looked up.
    `status`: "superseded" or "deleted" where its metadata say so, else "".
    """

    names: Naming
    identity: PatientIdentity | None
    ins: Key | None
    sha1: str
    conversion: Conversion
    status: str = ""


def prepared(document: bytes, metadata: Metadata | None, wanted: Wanted) -> Incoming:
    """The document as a record takes it. Raises what `importers` raise, each with one coded issue; 903 where nobody
    says whose it is, 904 where the metadata name another patient than the document."""
    kind = detect(document)
    described = metadata is not None or wanted.metadata is not None
    if kind in (Kind.CDA, Kind.WRAPPED_CDA) or (kind is Kind.XML and not described):
        return _cda(document, metadata, wanted)
    if not described and wanted.type is None:
        raise Invalid(issues=[Issue("required", "A document of this kind has a `type`, or `metadata`.", "type")])
    return _opaque(document, metadata, wanted)


def _cda(document: bytes, metadata: Metadata | None, wanted: Wanted) -> Incoming:
    parsed = read(document, wanted.limits)
    verified = verify(parsed.identity, strict=wanted.strict, production=wanted.production)
    if metadata:
        _check_same(verified, identity_of(metadata.entry))
    visibility = (*wanted.visibility, *(metadata.visibility if metadata else ()), *_labels(wanted.metadata))
    made = convert(parsed, subject=PATIENT, envelope=Envelope(visibility), imported_at=_moment(wanted.at))
    names = _named(parsed.names, metadata, wanted.others)
    reference = _enveloped(made.document_reference, metadata)
    report = replace(made.report, issues=(*made.report.issues, *verified.issues))
    made = replace(made, document_reference=reference, report=report)
    identity = replace(parsed.identity, role=None)
    return Incoming(names, identity, verified.ins, parsed.sha1, made, _status(metadata))


def _opaque(document: bytes, metadata: Metadata | None, wanted: Wanted) -> Incoming:
    """What is no CDA: its bytes and what its metadata say."""
    watch, notes = Stopwatch(wanted.limits), Notes()
    wanted.limits.hold("attachment_bytes", len(document))
    entry = metadata.entry if metadata else _entry(wanted)
    identity, verified = _identity(entry, wanted)
    media_type = _media_type(document, entry.mime_type, notes)
    unique_id = _unique_id(document, entry, wanted)
    reference_id = str(uuid5(_NAMESPACE, f"{unique_id[0]}|{unique_id[1]}|DocumentReference"))
    content = Attachment(str(uuid5(_NAMESPACE, reference_id)), media_type, document, f"urn:uuid:{reference_id}")
    form = None if entry.format_code else MIME_TYPE_SUFFICIENT
    part = Part(media_type, content.full_url, len(document), digest(document), form)
    at = _moment(wanted.at)
    if wanted.metadata is not None:
        reference = _given(wanted.metadata, part, notes, wanted.visibility, at)
    else:
        confidentiality = (*entry.confidentiality, *(Code(each) for each in wanted.visibility))
        labelled = replace(entry, confidentiality=confidentiality)
        reference = document_reference(labelled, part, notes, subject=PATIENT, imported_at=at)
        if form:
            reference["content"][0].setdefault("format", dict(form))
    reference |= {"id": reference_id, "masterIdentifier": unique_id.identifier()}
    issues = (*notes.issues, *(verified.issues if verified else ()))
    report = Report(detect(document), 0, 0, EntryCounts(0, 0), issues, watch.check() * 1000)
    names = _named(Naming(unique_id, None, 1, ()), metadata, wanted.others)
    made = Conversion(reference, (content,), report)
    return Incoming(names, identity, verified.ins if verified else None, part.sha1, made, _status(metadata))


def _entry(wanted: Wanted) -> DocumentEntry:
    """The metadata of a document that came with its type alone, or with a DocumentReference."""
    kind = wanted.type
    known = class_of(kind.system or "", kind.code) if kind else None
    classes = table("document_classes")
    category = Code(known, classes["system"], classes["names"][known]) if known else None
    attachment = wanted.metadata["content"][0]["attachment"] if wanted.metadata else {}
    return DocumentEntry("", attachment.get("contentType", _PDF), type_code=kind, class_code=category)


def _identity(entry: DocumentEntry, wanted: Wanted) -> tuple[PatientIdentity | None, Verified | None]:
    """Whose a document is by its metadata; none where the sender names the patient and they do not."""
    if wanted.metadata is not None:
        identifier = wanted.metadata.get("subject", {}).get("identifier", {})
        key = Key(str(identifier.get("system")), str(identifier.get("value")))
        return (None, Verified(key, ())) if key.system in INS_SYSTEMS else (None, None)
    identity = identity_of(entry)
    if wanted.named and not identity.ins:
        return None, None
    if wanted.named and identity.traits.missing():
        return None, Verified(identity.ins[0], ())
    return identity, verify(identity, strict=wanted.strict, production=wanted.production)


def _check_same(verified: Verified, envelope: PatientIdentity) -> None:
    if envelope.ins and verified.ins not in envelope.ins:
        raise rejection("904", "the metadata name another patient")


def _unique_id(document: bytes, entry: DocumentEntry, wanted: Wanted) -> Key:
    """The uniqueId that was given; one that these bytes always have where there is none."""
    given = (wanted.metadata or {}).get("masterIdentifier") or (
        master_identifier(entry.unique_id) if entry.unique_id else {}
    )
    if given.get("value"):
        return Key(str(given.get("system", URI)), str(given["value"]))
    return Key(URI, f"urn:uuid:{uuid5(_NAMESPACE, sha1(document, usedforsecurity=False).hexdigest())}")


def _media_type(document: bytes, said: str | None, notes: Notes) -> str:
    """The media type that was said, if the bytes agree with it."""
    media_type = (said or OCTETS).partition(";")[0].strip().lower()
    agrees = is_of_type(media_type, document)
    if agrees is False:
        notes.add("mislabelled-media")
        return OCTETS
    return media_type


def _given(
    metadata: Mapping[str, Any], part: Part, notes: Notes, visibility: tuple[str, ...], at: datetime
) -> dict[str, Any]:
    """The DocumentReference that came beside, pointing to these bytes. Raises Invalid for another hash or size."""
    content = metadata["content"][0]
    attachment = content["attachment"]
    for name, code, value in (("hash", "hash-mismatch", part.sha1), ("size", "size-mismatch", part.size)):
        if attachment.get(name, value) != value:
            raise refusal(Invalid, code)
    told = {"contentType": part.media_type, "url": part.url, "size": part.size, "hash": part.sha1}
    kept = {name: each for name, each in attachment.items() if name != "data"}
    labels = security_labels((), visibility, notes) if visibility else []
    found = {
        **metadata,
        "subject": {"reference": PATIENT},
        "date": metadata.get("date") or at.isoformat(timespec="milliseconds"),
        "securityLabel": [*metadata.get("securityLabel", ()), *labels],
        "content": [{**content, "attachment": {**kept, **told}}, *metadata["content"][1:]],
    }
    return {name: each for name, each in found.items() if each and name != "meta"}


def _labels(metadata: Mapping[str, Any] | None) -> tuple[str, ...]:
    labels = (metadata or {}).get("securityLabel", ())
    return tuple(coding["code"] for each in labels for coding in each.get("coding", ()) if "code" in coding)


def _named(names: Naming, metadata: Metadata | None, others: Mapping[str, Key]) -> Naming:
    """The names with the parents that the metadata tell: they win over those of the document (importers §6.17)."""
    if metadata is None:
        return names
    parents = tuple(
        RelatedDocument(_RELATIONS[each.kind], (others.get(each.target) or Key(URI, each.target),), None, None)
        for each in metadata.associations
        if each.source == metadata.entry.id and each.kind in _RELATIONS
    )
    return replace(names, parents=parents) if parents else names


def _enveloped(reference: dict[str, Any], metadata: Metadata | None) -> dict[str, Any]:
    """The DocumentReference with what only the metadata say: its entryUUID, and that it is archived."""
    if metadata is None:
        return reference
    found = dict(reference)
    if urn(metadata.entry.id.removeprefix("urn:uuid:")) == metadata.entry.id:
        found["identifier"] = [*reference.get("identifier", ()), {"system": URI, "value": metadata.entry.id}]
    if metadata.entry.status == ARCHIVED:
        archived = {"url": IS_ARCHIVED, "valueBoolean": True}
        found["extension"] = [*reference.get("extension", ()), archived]
    return found


def _status(metadata: Metadata | None) -> str:
    said = metadata.entry.status if metadata else None
    return {DEPRECATED: "superseded", DELETED: "deleted"}.get(said or "", "")


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)
