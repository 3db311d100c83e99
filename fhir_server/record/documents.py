"""A pushed document: matched to its patient or refused, stored once, replaced in one step.

The document takes the way of every client's resource from here on: the same validation, consent and audit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from fhir_server.context import Context
from fhir_server.errors import Conflict, Forbidden
from fhir_server.fhir.splice import with_links
from fhir_server.interactions.draft import Draft, commit_all, draft, draft_end, retried
from fhir_server.interactions.siblings import Siblings
from fhir_server.record.holdings import documents_by
from fhir_server.record.lineage import Predecessor, code_of, predecessor
from fhir_server.record.subject import subject_of
from fhir_server.search.predicate import TokenIs
from fhir_server.storage.interface import Snapshot, Stale, Taken, Version
from importers.cda.document import Conversion, Envelope, Parsed, Report, convert, read
from importers.cda.patient import verify
from importers.limits import Limits


@dataclass(frozen=True, slots=True)
class Options:
    """`mode`: "strict" refuses what "migration" takes with a warning. `visibility`: codes that came with the document.
    `create_patient`: make the patient whom the record does not know (an operator's import only)."""

    mode: str = "strict"
    visibility: tuple[str, ...] = ()
    dry_run: bool = False
    create_patient: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """`status`: created, superseding (created, and ended another), superseded (an older version, stored as such) or
    unchanged; `reference` of the DocumentReference, empty after a dry run."""

    status: str
    reference: str
    report: Report


async def import_document(ctx: Context, document: bytes, options: Options) -> Imported:
    """Store a CDA document with its original bytes.

    Raises what `importers.cda.document.read` does; Invalid with the codes 900 to 906 (importers §6); Conflict when the
    same document identifier came with other bytes.
    """
    if ctx.actor.role not in ("ps", "open"):
        raise Forbidden("Documents are pushed by professionals and their software.")
    ctx.allow("DocumentReference", "c")
    ctx.allow("Binary", "c")
    ctx.trace.type = "DocumentReference"
    parsed = read(document, Limits(attachment_bytes=ctx.settings.max_attachment_bytes))
    strict = ctx.settings.ins_policy == "strict" and options.mode == "strict"
    verified = verify(parsed.identity, strict=strict, production=ctx.settings.production)

    async def attempt() -> Imported:
        async with ctx.store.snapshot() as snapshot:
            patient = await subject_of(ctx, snapshot, parsed.identity, verified.ins)
            conversion = _converted(ctx, parsed, patient, options)
            known = await _known(ctx, snapshot, parsed, patient)
            if known:
                return Imported("unchanged", f"DocumentReference/{known.id}", conversion.report)
            type_code = code_of(conversion.document_reference)
            before = await predecessor(ctx, snapshot, parsed.names, patient, type_code, strict=options.mode == "strict")
            conversion = _related(conversion, before)
            drafts = await _drafts(ctx, snapshot, conversion)
        if options.dry_run:
            return Imported("created", "", conversion.report)
        try:
            await commit_all(ctx, drafts, ctx.audits())
        except Taken as error:
            # The same document was pushed at the same moment: the next attempt finds it.
            raise Stale from error
        return Imported(before.status, f"{ctx.trace.type}/{ctx.trace.id}", conversion.report)

    imported: Imported = await retried(attempt)
    if imported.status == "unchanged" or options.dry_run:
        ctx.trace.id = imported.reference.partition("/")[2]
        await ctx.record()
    return imported


async def _known(ctx: Context, snapshot: Snapshot, parsed: Parsed, patient: str) -> Version | None:
    """The document of that identifier that the caller sees or deposited; raises Conflict if its bytes are others."""
    unique = parsed.names.unique_id
    found = await documents_by(ctx, snapshot, patient, TokenIs("identifier", unique.system, unique.value))
    for each in found:
        resource = orjson.loads(each.body)
        if resource.get("masterIdentifier") != unique.identifier():
            continue
        if resource["content"][0]["attachment"].get("hash") == parsed.sha1:
            return each
        raise Conflict("Another document has this identifier.", expression="ClinicalDocument/id")
    return None


def _converted(ctx: Context, parsed: Parsed, patient: str, options: Options) -> Conversion:
    now = datetime.fromtimestamp(ctx.now() / 1_000_000, UTC)
    return convert(parsed, subject=f"Patient/{patient}", envelope=Envelope(options.visibility), imported_at=now)


def _related(made: Conversion, before: Predecessor) -> Conversion:
    """The conversion with its relations, and its status if a newer version is there already."""
    resource = {**made.document_reference}
    if before.related:
        resource["relatesTo"] = before.related
    if before.status == "superseded":
        resource["status"] = "superseded"
    report = replace(made.report, issues=made.report.issues + before.issues)
    return replace(made, document_reference=resource, report=report)


async def _drafts(ctx: Context, snapshot: Snapshot, conversion: Conversion) -> list[Draft]:
    """The Binaries, the DocumentReference that points to them, and the end of what it replaces."""
    ids = {each.full_url: ctx.services.ids() for each in conversion.attachments}
    siblings, drafts = Siblings(), []
    for each in conversion.attachments:
        binary = {name: part for name, part in each.binary().items() if name not in ("id", "securityContext")}
        drafts.append(await _draft(ctx, snapshot, binary, ids[each.full_url], siblings))
    document = {name: part for name, part in conversion.document_reference.items() if name != "id"}
    urls = {full_url: f"Binary/{id_}" for full_url, id_ in ids.items()}
    linked = orjson.loads(with_links(orjson.dumps(document), lambda key, uri: urls.get(uri)))
    made = await _draft(ctx, snapshot, linked, ctx.services.ids(), siblings)
    drafts.append(made)
    if made.ends:
        drafts.append(await draft_end(ctx, snapshot, made.ends, siblings))
    return drafts


async def _draft(ctx: Context, snapshot: Snapshot, resource: dict[str, Any], id_: str, siblings: Siblings) -> Draft:
    return await draft(
        ctx,
        snapshot,
        interaction="create",
        body=orjson.dumps(resource),
        resource=ctx.checked(resource, resource["resourceType"]),
        id=id_,
        siblings=siblings,
    )
