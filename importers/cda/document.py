"""From the bytes of a CDA document to what a record stores: its bytes, what describes it, and what its entries say.

`read` parses once; `convert` needs the subject the caller has matched. In between: `patient.verify` and
`patient.compare`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from importers.cda.actors import Actors
from importers.cda.composition import composition
from importers.cda.conversion import Attachment, Conversion, EntryCounts, Report
from importers.cda.datatypes import URI, Key, date_time
from importers.cda.elements import child, descendant
from importers.cda.encounter import encompassing_encounter
from importers.cda.entries.dispatch import Bucket
from importers.cda.entries.entry import Source, name_uuid
from importers.cda.entries.handlers import HANDLERS
from importers.cda.header import MIME_TYPE_SUFFICIENT, Part, document_reference
from importers.cda.naming import Naming
from importers.cda.people import People
from importers.cda.provenance import authors, provenance
from importers.cda.reading import MEDIA_TYPE, Parsed, read, sha1
from importers.cda.sections import SectionTree, read_sections
from importers.cda.texts import Texts
from importers.issues import Notes
from importers.limits import Stopwatch

__all__ = ["Attachment", "Conversion", "EntryCounts", "Envelope", "Parsed", "Report", "convert", "read", "sha1"]

_SUBJECT = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}|urn:uuid:[0-9a-f-]{36}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Envelope:
    """What came with the document from outside: codes of visibility or confidentiality, joined to its own."""

    visibility: tuple[str, ...] = ()


def convert(parsed: Parsed, *, subject: str, envelope: Envelope | None = None, imported_at: datetime) -> Conversion:
    """The resources of a document for the Patient `subject` (`Patient/id` or `urn:uuid:…`), deterministic ids included.

    Raises ValueError for another subject or a time without offset, TooLarge when the document takes too long.
    """
    if not _SUBJECT(subject) or imported_at.tzinfo is None:
        raise ValueError("subject must be a literal Patient reference and imported_at have an offset")
    watch, notes = Stopwatch(parsed.limits, parsed.seconds), Notes()
    notes.extend(parsed.notes)
    return _Converter(parsed, subject, imported_at, notes).convert((envelope or Envelope()).visibility, watch)


class _Converter:
    """One conversion: the header, then the encounter, then the body, then where all of it comes from."""

    def __init__(self, parsed: Parsed, subject: str, imported_at: datetime, notes: Notes) -> None:
        self._parsed, self._subject, self._imported_at, self._notes = parsed, subject, imported_at, notes
        self._people = People(subject, parsed.identity.ins, notes)
        self._reference_id = _id(parsed.names, "DocumentReference")
        self._url = f"urn:uuid:{self._reference_id}"

    def convert(self, visibility: tuple[str, ...], watch: Stopwatch) -> Conversion:
        parsed = self._parsed
        attachments = _attachments(parsed, self._url)
        reference = self._document_reference(attachments, visibility)
        source = self._source(reference)
        discrete = self._encounter(source)
        if discrete:
            reference.setdefault("context", {})["encounter"] = [dict(source.encounter or {})]
        tree = SectionTree()
        composed = None
        structured = descendant(parsed.root, "component", "structuredBody")
        if parsed.body.level > 1 and structured is not None:
            tree = read_sections(structured, parsed.body.entries, source, watch)
            composed = self._composition(source, tree)
        attachments += tuple(Attachment(each.id, *each.content, self._url) for each in tree.attached)
        described = [each.full_url for each in attachments] + [self._url]
        described += [f"urn:uuid:{composed['id']}"] if composed else []
        found = (*discrete, *tree.resources)
        return Conversion(
            reference,
            attachments,
            self._report(tree, source, watch),
            composed,
            found,
            self._provenances(described, found, source),
        )

    def _document_reference(self, attachments: tuple[Attachment, ...], visibility: tuple[str, ...]) -> dict[str, Any]:
        parsed = self._parsed
        found = document_reference(
            parsed.root,
            parsed.names,
            _parts(parsed, attachments),
            Actors(self._subject, parsed.identity, self._notes),
            self._notes,
            kind=parsed.type,
            visibility=visibility,
            imported_at=self._imported_at,
        )
        return {"resourceType": "DocumentReference", "id": self._reference_id, **found}

    def _source(self, reference: dict[str, Any]) -> Source:
        names = self._parsed.names
        return Source(
            subject=self._subject,
            lineage="^".join(names.lineage),
            urn=_source_urn(names.unique_id),
            labels=[dict(coding) for each in reference["securityLabel"] for coding in each["coding"]],
            texts=Texts(self._parsed.root),
            notes=self._notes,
            people=self._people,
            handlers=HANDLERS,
            limits=self._parsed.limits,
            created=date_time(child(self._parsed.root, "effectiveTime"), self._notes),
        )

    def _encounter(self, source: Source) -> tuple[dict[str, Any], ...]:
        found = encompassing_encounter(self._parsed.root, self._people, self._notes)
        if found is None:
            return ()
        keys = found.get("identifier", [])
        id = source.identity("Encounter", "componentOf", "^".join(keys[0].values()) if keys else "")
        source.encounter = {"reference": f"urn:uuid:{id}"}
        subject = {"subject": {"reference": source.subject}}
        return ({"resourceType": "Encounter", "id": id, "meta": source.meta(), **found, **subject},)

    def _composition(self, source: Source, tree: SectionTree) -> dict[str, Any]:
        parsed = self._parsed
        found = composition(parsed.root, parsed.names, parsed.type, tree.sections, source)
        return {"resourceType": "Composition", "id": _id(parsed.names, "Composition"), "meta": source.meta(), **found}

    def _provenances(
        self, described: list[str], discrete: tuple[dict[str, Any], ...], source: Source
    ) -> tuple[dict[str, Any], ...]:
        targets = {_id(self._parsed.names, "Provenance"): described}
        if discrete:
            targets[source.identity("Provenance")] = [f"urn:uuid:{each['id']}" for each in discrete]
        agents = authors(self._parsed.root, self._people)
        made = {id: provenance(agents, urls, self._url, self._imported_at) for id, urls in targets.items()}
        return tuple(
            {"resourceType": "Provenance", "id": id, "meta": source.meta(), **each} for id, each in made.items()
        )

    def _report(self, tree: SectionTree, source: Source, watch: Stopwatch) -> Report:
        parsed = self._parsed
        dangling = source.texts.dangling(parsed.body.references)
        if dangling:
            self._notes.add("dangling-reference", parsed.root, f"{dangling}")
        buckets = Counter(each.bucket for each in tree.outcomes)
        counts = EntryCounts(
            total=parsed.body.entries,
            narrative_only=buckets[Bucket.NARRATIVE_ONLY],
            mapped=buckets[Bucket.MAPPED],
            failed=buckets[Bucket.FAILED],
        )
        return Report(
            kind=parsed.kind,
            level=parsed.body.level,
            sections=parsed.body.sections,
            entries=counts,
            issues=self._notes.issues,
            milliseconds=watch.check() * 1000,
            outcomes=tuple(tree.outcomes),
            covered=tree.covered,
            dangling=dangling,
            unknown_systems=self._notes.unknown_systems,
        )


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
    return name_uuid("|".join((*names.unique_id, kind, *what)))


def _source_urn(unique_id: Key) -> str:
    """The uniqueId as one URI."""
    return unique_id.value if unique_id.system == URI else f"{unique_id.system}#{quote(unique_id.value, safe='')}"
