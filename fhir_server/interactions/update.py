"""update: PUT [type]/[id], PUT [type]?criteria (https://hl7.org/fhir/R4/http.html#update)."""

from __future__ import annotations

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed
from fhir_server.interactions.create import draft_alone, read_body, written
from fhir_server.interactions.draft import Once, commit, retried
from fhir_server.interactions.target import to_update
from fhir_server.storage.interface import Version


async def update(ctx: Context, request: Request) -> Answer:
    """200 with the new version; 201 with a new resource where criteria find none. 412 where they find several."""
    type_ = request.path[0]
    ctx.allow(type_, "u")
    body, resource = await ctx.aside(request.body, read_body, ctx, request, type_)
    if len(request.path) > 1 and resource.get("id") != request.path[1]:
        raise Malformed("The id of the resource is not that of the url.", expression=f"{type_}.id")
    once = Once()

    async def attempt() -> tuple[int, Version]:
        async with ctx.store.snapshot() as snapshot:
            target = await to_update(ctx, snapshot, request, resource)
            made = await draft_alone(ctx, snapshot, target, body, resource, once)
        return target.status, await commit(ctx, made, once)

    status, version = await retried(attempt)
    return await written(ctx, request, status, version)
