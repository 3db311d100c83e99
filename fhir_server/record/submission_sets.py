"""The set that documents were submitted in, as the List of MHD: made when they are stored, once (importers §10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from fhir_server.auth.scopes import allows
from fhir_server.consent.categories import MHD_LIST_TYPES
from fhir_server.context import Context, Request
from fhir_server.interactions.create import create
from importers.cda.datatypes import URI
from importers.coded import concept, master_identifier, moment
from importers.metadata import SubmissionSet

_MHD: Final = "https://profiles.ihe.net/ITI/MHD/StructureDefinition"


async def keep_set(ctx: Context, submitted: SubmissionSet | None, documents: Sequence[str], patient: str) -> None:
    """Create the List of the documents ("DocumentReference/…") of one patient. The same again changes nothing; without
    a uniqueId, or a token that covers it, there is none: it says nothing that the documents do not."""
    if submitted is None or not submitted.unique_id or not documents or not patient:
        return
    if not allows(ctx.actor.scopes, ctx.actor, "List", "c"):
        return
    ctx.trace.interaction, ctx.trace.type = "create", "List"
    body = orjson.dumps(_list(submitted, documents, patient))
    await create(ctx, Request("POST", ("List",), body=body, prefer="minimal"))


def _list(submitted: SubmissionSet, documents: Sequence[str], patient: str) -> dict[str, Any]:
    kind = submitted.content_type
    designation = [{"url": f"{_MHD}/ihe-designationType", "valueCodeableConcept": concept(kind)}] if kind else []
    source = {"url": f"{_MHD}/ihe-sourceId", "valueIdentifier": master_identifier(submitted.source_id or "")}
    entry_id = {"use": "official", "system": URI, "value": submitted.id}
    found = {
        "resourceType": "List",
        "extension": [*designation, *([source] if submitted.source_id else [])],
        "identifier": [
            {"use": "usual", **master_identifier(submitted.unique_id or "")},
            *([entry_id] if submitted.id.startswith("urn:uuid:") else []),
        ],
        "status": "current",
        "mode": "working",
        "title": submitted.title,
        "code": {"coding": [{"system": MHD_LIST_TYPES, "code": "submissionset"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": moment(submitted.submission_time),
        "note": [{"text": submitted.comments}] if submitted.comments else [],
        "entry": [{"item": {"reference": each}} for each in documents],
    }
    return {name: each for name, each in found.items() if each}
