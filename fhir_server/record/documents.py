"""A pushed document: matched to its patient or refused, stored whole and once, replaced in one step.

All that it becomes takes the way of every client's resources: the same validation, consent and audit, in one commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from fhir_server.context import Context
from fhir_server.errors import Conflict, Forbidden
from fhir_server.interactions.draft import Draft, commit_all, draft_delete, retried
from fhir_server.record.drafting import drafts_of
from fhir_server.record.holdings import documents_by
from fhir_server.record.incoming import Incoming
from fhir_server.record.lineage import Place, place_of
from fhir_server.record.subject import subject_of
from fhir_server.search.predicate import TokenIs
from fhir_server.storage.interface import Snapshot, Stale, Taken, Version, Write
from importers.cda.conversion import Report


@dataclass(frozen=True, slots=True)
class Options:
    """`mode`: "strict" refuses what "migration" takes with a warning. `patient`: whom the sender says it is about."""

    mode: str = "strict"
    dry_run: bool = False
    patient: str = ""

    @property
    def strict(self) -> bool:
        """Whether what is out of order is refused."""
        return self.mode == "strict"


@dataclass(frozen=True, slots=True)
class Imported:
    """`status`: created, superseding (created, and ended another), superseded (an older version, stored as such),
    unchanged, or deleted (its metadata say that it was withdrawn); `reference` of the DocumentReference, empty after a
    dry run; `changes`: how many of each type were created, updated, deleted."""

    status: str
    reference: str
    report: Report
    changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


async def import_document(ctx: Context, incoming: Incoming, options: Options) -> Imported:
    """Store a document with its original bytes and all that was made of it.

    Raises Invalid with the codes 900 to 906 (importers §6); Conflict when the same document identifier came with other
    bytes; Forbidden where the token does not cover a type that would be created.
    """
    check_depositor(ctx)
    for type_ in sorted({each["resourceType"] for each in incoming.conversion.described}):
        ctx.allow(type_, "c")
    ctx.trace.type = "DocumentReference"

    async def attempt() -> Imported:
        async with ctx.store.snapshot() as snapshot:
            imported, drafts = await _judged(ctx, snapshot, incoming, options)
        if options.dry_run or not drafts:
            return imported
        try:
            await commit_all(ctx, drafts, ctx.audits())
        except Taken as error:
            # The same document, or another version, was pushed at the same moment: the next attempt finds it.
            raise Stale from error
        return imported

    imported: Imported = await retried(attempt)
    if options.dry_run or imported.status == "unchanged":
        ctx.trace.id = imported.reference.partition("/")[2]
        await ctx.record()
    return replace(imported, reference="") if options.dry_run and imported.status != "unchanged" else imported


def check_depositor(ctx: Context) -> None:
    """Raise Forbidden for who pushes no documents at all, whatever is in them."""
    if ctx.actor.role not in ("ps", "open"):
        raise Forbidden("Documents are pushed by professionals and their software.")
    for type_ in ("DocumentReference", "Binary"):
        ctx.allow(type_, "c")


async def _judged(
    ctx: Context, snapshot: Snapshot, incoming: Incoming, options: Options
) -> tuple[Imported, Sequence[Draft]]:
    """What comes of the document in this state of the record, and all that is to be written for it."""
    report = incoming.conversion.report
    patient = await subject_of(ctx, snapshot, incoming, options.patient)
    known = await _known(ctx, snapshot, incoming, patient)
    if known and incoming.status == "deleted":
        gone = await draft_delete(ctx, snapshot, known)
        return Imported("deleted", f"DocumentReference/{known.id}", report, _changes([gone])), [gone]
    if known or incoming.status == "deleted":
        return Imported("unchanged", f"DocumentReference/{known.id}" if known else "", report), ()
    document = incoming.conversion.document_reference
    place = await place_of(ctx, snapshot, incoming.names, patient, document, strict=options.strict)
    if incoming.status == "superseded":
        place = _over(place)
    drafts, report = await drafts_of(ctx, snapshot, incoming, patient, place)
    reference = f"DocumentReference/{ctx.trace.id}"
    report = replace(report, issues=(*report.issues, *place.issues))
    return Imported(place.status, reference, report, _changes(drafts)), drafts


def _over(place: Place) -> Place:
    """The place of a document that is over where it comes from: it ends nothing here."""
    return replace(place, status="superseded", ends=None)


async def _known(ctx: Context, snapshot: Snapshot, incoming: Incoming, patient: str) -> Version | None:
    """The document of that identifier that the caller sees or deposited; raises Conflict if its bytes are others."""
    unique = incoming.names.unique_id
    found = await documents_by(ctx, snapshot, patient, TokenIs("identifier", unique.system, unique.value))
    for each in found:
        resource = orjson.loads(each.body)
        if resource.get("masterIdentifier") != incoming.conversion.document_reference["masterIdentifier"]:
            continue
        if resource["content"][0]["attachment"].get("hash") == incoming.sha1:
            return each
        raise Conflict("Another document has this identifier.", expression="ClinicalDocument/id")
    return None


def _changes(drafts: Iterable[Draft]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for each in drafts:
        for write in (each.write, *each.beside):
            counts.setdefault(_what(write), Counter())[write.type] += 1
    return {what: dict(sorted(each.items())) for what, each in sorted(counts.items())}


def _what(write: Write) -> str:
    if write.deleted:
        return "deleted"
    return "created" if write.version == 1 else "updated"
