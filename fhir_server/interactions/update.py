"""update: PUT [type]/[id] (https://hl7.org/fhir/R4/http.html#update)."""

from __future__ import annotations

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed, NotFound, PreconditionFailed
from fhir_server.interactions.conditional import resolved
from fhir_server.interactions.create import read_body, written
from fhir_server.interactions.draft import commit, draft, draft_end, retried
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.predicate import Predicate, disj
from fhir_server.storage.interface import Snapshot, Version


async def update(ctx: Context, request: Request) -> Answer:
    """200 with the new version. An id that is unknown or hidden answers 404: ids are the server's to give.

    Only the server run without authorization lets a client choose the id of a new resource (201).
    """
    type_, id_ = request.path
    ctx.allow(type_, "u")
    body, resource = read_body(ctx, request, type_)
    if resource.get("id") != id_:
        raise Malformed("The id of the resource is not that of the url.", expression=f"{type_}.id")

    async def attempt() -> tuple[int, Version]:
        async with ctx.store.snapshot() as snapshot:
            before = await current(ctx, snapshot, type_, id_)
            check_base(ctx, request, before)
            linked, whole = await resolved(ctx, snapshot, body, resource)
            siblings = Siblings()
            made = await draft(
                ctx,
                snapshot,
                interaction="update",
                body=linked,
                resource=whole,
                id=id_,
                before=before,
                siblings=siblings,
            )
            ended = [await draft_end(ctx, snapshot, made.ends, siblings)] if made.ends else []
        return (200 if before and not before.deleted else 201), await commit(ctx, made, *ended)

    status, version = await retried(attempt)
    return await written(ctx, request, status, version)


async def current(ctx: Context, snapshot: Snapshot, type_: str, id_: str, *, letter: str = "u") -> Version | None:
    """What the caller may try to change: what they see, and what they deposited (the correction right, access §3.5)."""
    visible: Predicate = await ctx.visible(snapshot, type_, id_, letter=letter)
    own: Predicate = ctx.services.narrow.own(ctx.actor)
    return await snapshot.read(type_, id_, visible=disj(visible, own))


def check_base(ctx: Context, request: Request, before: Version | None) -> None:
    if (before is None or before.deleted) and not ctx.services.open:
        raise NotFound
    if request.if_match and (before is None or request.if_match != str(before.version)):
        raise PreconditionFailed("The version named by If-Match is not the current one.", expression="If-Match")
