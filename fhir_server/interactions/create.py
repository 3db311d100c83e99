"""create: POST [type], plain or conditional (https://hl7.org/fhir/R4/http.html#create)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Issue, Malformed
from fhir_server.fhir.json import most_parts, parse
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.interactions.binary import FHIR_JSON
from fhir_server.interactions.binary import resource as binary_resource
from fhir_server.interactions.conditional import resolved
from fhir_server.interactions.deposits import Unchanged
from fhir_server.interactions.documents import check_filled
from fhir_server.interactions.draft import Draft, Once, commit, draft, draft_end, retried
from fhir_server.interactions.folders import as_shown
from fhir_server.interactions.publish import is_published, published, submission_set
from fhir_server.interactions.siblings import Siblings
from fhir_server.interactions.target import Target, to_create
from fhir_server.storage.interface import Snapshot, Version


async def create(ctx: Context, request: Request) -> Answer:
    """201 with the resource as stored; 200 with the existing one when If-None-Exist finds it."""
    type_ = request.path[0]
    ctx.allow(type_, "c")
    body, resource = await ctx.aside(request.body, read_body, ctx, request, type_)
    once = Once()

    async def attempt() -> tuple[int, Version]:
        async with ctx.store.snapshot() as snapshot:
            target = await to_create(ctx, snapshot, type_, request.if_none_exist)
            if target.before:
                return 200, target.before
            try:
                made = await draft_alone(ctx, snapshot, target, body, resource, once)
            except Unchanged as known:
                return 200, known.version
        return 201, await commit(ctx, made, once)

    status, version = await retried(attempt)
    if status == 200:
        ctx.trace.shows(version.facts, version.version)
        await ctx.record()
    return await written(ctx, request, status, version)


async def draft_alone(
    ctx: Context, snapshot: Snapshot, target: Target, body: bytes, resource: dict[str, Any], once: Once
) -> list[Draft]:
    """The drafts of a resource that is written on its own: its own, and the end of the document that it replaces."""
    linked, whole = await resolved(ctx, snapshot, body, resource)
    siblings, beside = Siblings(deposited=True), list[Draft]()
    if target.before is None and is_published(whole):
        linked, whole, beside = await published(ctx, snapshot, whole, target.id, siblings)
    made = await draft(
        ctx,
        snapshot,
        interaction="update" if target.before else "create",
        body=linked,
        resource=whole,
        id=target.id,
        before=target.before,
        once=once.keys(ctx, resource["resourceType"], target.digest),
        siblings=siblings,
    )
    if is_published(resource) and target.before is None:
        beside += await submission_set(ctx, snapshot, whole, target.id, siblings)
    if made.ends:
        beside.append(await draft_end(ctx, snapshot, made.ends, siblings))
    return [made, *beside]


def read_body(ctx: Context, request: Request, type_: str) -> tuple[bytes, dict[str, Any]]:
    """The valid resource of a request body, as bytes and parsed."""
    body = request.body
    if not body:
        raise Malformed("A resource is expected in the body.")
    if type_ == "Binary" and not request.content_type:
        raise Malformed("What kind of content is it?", expression="Content-Type")
    sent = None
    if type_ != "Binary" or request.content_type in FHIR_JSON:
        sent = parse(body, max_depth=ctx.settings.max_depth, max_parts=most_parts(type_))
    if type_ == "Binary" and not (isinstance(sent, dict) and sent.get("resourceType") == "Binary"):
        # Any content is taken as it is, JSON too, but for a Binary itself (R4 binary.html#rest).
        body = binary_resource(request.content_type, body, request.path[1] if len(request.path) > 1 else "")
        sent = parse(body, max_depth=ctx.settings.max_depth)
    check_filled(sent)
    return body, ctx.checked(sent, type_)


async def written(ctx: Context, request: Request, status: int, version: Version) -> Answer:
    """The answer to a write that stands on its own."""
    async with ctx.store.snapshot() as snapshot:
        return await told(ctx, snapshot, request, status, version)


async def told(ctx: Context, snapshot: Snapshot, request: Request, status: int, version: Version) -> Answer:
    """The answer to a write, as `Prefer: return` has it; with the resource only if the caller may see it (access §3.5,
    L11). `snapshot`: taken after it was written, since it may itself have changed what its writer sees."""
    location = f"{version.type}/{version.id}/_history/{version.version}"
    body = b""
    if request.prefer != "minimal" and await sees(ctx, snapshot, version):
        [version] = await as_shown(ctx, snapshot, [version])
        outcome = request.prefer == "OperationOutcome"
        body = await ctx.aside(version.body, remarks, ctx, version) if outcome else version.body
    elif request.prefer == "OperationOutcome":
        body = operation_outcome_bytes(ctx.remarks)
    return Answer(status, body, version=version, location=location, headers=warnings(ctx.remarks))


def remarks(ctx: Context, version: Version) -> bytes:
    """What is to be said of a resource that was let pass, as an OperationOutcome."""
    found = ctx.services.validator.validate(orjson.loads(version.body))
    return operation_outcome_bytes([*found, *ctx.remarks])


def warnings(remarks: Sequence[Issue]) -> tuple[tuple[str, str], ...]:
    """The same for an answer whose body is the resource: as `Warning` headers, which hold no data of a patient."""
    return tuple(("Warning", f'199 fhir-server "{each.expression}: {each.text}"') for each in remarks)


async def sees(ctx: Context, snapshot: Snapshot, version: Version) -> bool:
    """Whether the caller may read what they have written."""
    visible = await ctx.visible(snapshot, version.type, version.id)
    return await snapshot.read(version.type, version.id, visible=visible) is not None
