"""delete: DELETE [type]/[id] (https://hl7.org/fhir/R4/http.html#delete)."""

from __future__ import annotations

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import NotFound, PreconditionFailed
from fhir_server.interactions.draft import commit, draft_delete, retried
from fhir_server.interactions.update import current


async def delete(ctx: Context, request: Request) -> Answer:
    """204; the versions before stay for whoever could read them. 404 when absent, hidden or deleted already."""
    type_, id_ = request.path
    ctx.allow(type_, "d")

    async def attempt() -> Answer:
        async with ctx.store.snapshot() as snapshot:
            before = await current(ctx, snapshot, type_, id_, letter="d")
            if before is None or before.deleted:
                raise NotFound
            if request.if_match and request.if_match != str(before.version):
                raise PreconditionFailed(expression="If-Match")
            gone = await draft_delete(ctx, snapshot, before)
        return Answer(204, version=await commit(ctx, gone))

    answer: Answer = await retried(attempt)
    return answer
