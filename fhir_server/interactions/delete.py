"""delete: DELETE [type]/[id], DELETE [type]?criteria (https://hl7.org/fhir/R4/http.html#delete)."""

from __future__ import annotations

from fhir_server.context import Answer, Context, Request
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.interactions.draft import Once, commit, draft_delete, retried
from fhir_server.interactions.target import to_delete
from fhir_server.storage.interface import Version


async def delete(ctx: Context, request: Request) -> Answer:
    """204; the versions before stay for whoever could read them. 404 when the id is absent, hidden or deleted already.

    By criteria: of one match, 204 also when there is none, 412 when there are several.
    """
    ctx.allow(request.path[0], "d")

    async def attempt() -> Version | None:
        async with ctx.store.snapshot() as snapshot:
            target = await to_delete(ctx, snapshot, request)
            if target is None or target.before is None:
                return None
            gone = await draft_delete(ctx, snapshot, target.before)
        return await commit(ctx, [gone], Once())

    version = await retried(attempt)
    if version is None:
        await ctx.record()
    return deleted(request, version)


def deleted(request: Request, version: Version | None) -> Answer:
    """The answer to a deletion: 204, or 200 with an OperationOutcome for the one who prefers it."""
    if request.prefer == "OperationOutcome":
        return Answer(200, operation_outcome_bytes(()), version=version)
    return Answer(204, version=version)
