"""create: POST [type], plain or conditional (https://hl7.org/fhir/R4/http.html#create)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed, PreconditionFailed
from fhir_server.fhir.json import parse
from fhir_server.interactions.binary import FHIR_JSON
from fhir_server.interactions.binary import resource as binary_resource
from fhir_server.interactions.conditional import found_by, resolved
from fhir_server.interactions.draft import commit, draft, draft_end, retried
from fhir_server.interactions.siblings import Siblings
from fhir_server.storage.interface import Version


async def create(ctx: Context, request: Request) -> Answer:
    """201 with the resource as stored; 200 with the existing one when If-None-Exist finds it."""
    type_ = request.path[0]
    ctx.allow(type_, "c")
    body, resource = read_body(ctx, request, type_)

    async def attempt() -> tuple[int, Version]:
        async with ctx.store.snapshot() as snapshot:
            if request.if_none_exist:
                existing = await _existing(ctx, snapshot, type_, request.if_none_exist)
                if existing:
                    return 200, existing
            linked, whole = await resolved(ctx, snapshot, body, resource)
            siblings = Siblings()
            made = await draft(
                ctx,
                snapshot,
                interaction="create",
                body=linked,
                resource=whole,
                id=ctx.services.ids(),
                siblings=siblings,
            )
            ended = [await draft_end(ctx, snapshot, made.ends, siblings)] if made.ends else []
        return 201, await commit(ctx, made, *ended)

    status, version = await retried(attempt)
    if status == 200:
        ctx.trace.shows(version.facts, version.version)
        await ctx.record()
    return await written(ctx, request, status, version)


def read_body(ctx: Context, request: Request, type_: str) -> tuple[bytes, dict[str, Any]]:
    """The valid resource of a request body, as bytes and parsed."""
    body = request.body
    if not body:
        raise Malformed("A resource is expected in the body.")
    if type_ == "Binary" and not request.content_type:
        raise Malformed("What kind of content is it?", expression="Content-Type")
    sent = None
    if type_ != "Binary" or request.content_type in FHIR_JSON:
        sent = parse(body, max_depth=ctx.settings.max_depth)
    if type_ == "Binary" and not (isinstance(sent, dict) and sent.get("resourceType") == "Binary"):
        # Any content is taken as it is, JSON too, but for a Binary itself (R4 binary.html#rest).
        body = binary_resource(request.content_type, body)
        sent = parse(body, max_depth=ctx.settings.max_depth)
    return body, ctx.checked(sent, type_)


async def written(ctx: Context, request: Request, status: int, version: Version) -> Answer:
    """The answer to a write: with the resource only if the caller may see it (access §3.5, L11)."""
    location = f"{version.type}/{version.id}/_history/{version.version}"
    if request.prefer == "minimal" or not await sees(ctx, version):
        return Answer(status, version=version, location=location)
    return Answer(status, version.body, version=version, location=location)


async def _existing(ctx: Context, snapshot: Any, type_: str, criteria: str) -> Version | None:
    found = await found_by(ctx, snapshot, type_, parse_qsl(criteria, keep_blank_values=True), "If-None-Exist")
    if len(found) > 1:
        raise PreconditionFailed("The criteria match several resources.", expression="If-None-Exist")
    return found[0] if found else None


async def sees(ctx: Context, version: Version) -> bool:
    """Whether the caller may read what they have just written."""
    if ctx.services.open:
        return True
    async with ctx.store.snapshot() as snapshot:
        visible = await ctx.visible(snapshot, version.type, version.id)
        return await snapshot.read(version.type, version.id, visible=visible) is not None
