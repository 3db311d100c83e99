"""read and vread: GET [type]/[id] and GET [type]/[id]/_history/[vid] (https://hl7.org/fhir/R4/http.html#read)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Gone, Malformed, NotFound
from fhir_server.fhir.subset import SUMMARIES, Subsets
from fhir_server.interactions.binary import content
from fhir_server.interactions.folders import as_shown, is_folder
from fhir_server.storage.interface import Version


async def read(ctx: Context, request: Request) -> Answer:
    """The current version; 404 when absent or not for this caller, 410 when deleted and once visible to them."""
    type_, id_ = request.path
    summary, elements = _parts(request)
    found = await _find(ctx, type_, id_, None)
    await ctx.record()
    if _unchanged(request, found):
        return Answer(304, version=found)
    return await ctx.aside(found.body, _answer, ctx, request, found, summary, elements)


async def vread(ctx: Context, request: Request) -> Answer:
    """One version, judged by today's policy and by the facts it was written with."""
    type_, id_, _, number = request.path
    summary, elements = _parts(request)
    if not number.isdecimal() or len(number) > 18:
        raise NotFound
    found = await _find(ctx, type_, id_, int(number))
    await ctx.record()
    return await ctx.aside(found.body, _answer, ctx, request, found, summary, elements)


async def _find(ctx: Context, type_: str, id_: str, version: int | None) -> Version:
    ctx.allow(type_, "r")
    async with ctx.store.snapshot() as snapshot:
        visible = await ctx.visible(snapshot, type_, id_)
        await ctx.services.narrow.check_shared(snapshot, ctx.actor, type_)
        found = await snapshot.read(type_, id_, visible=visible, version=version)
        if found is not None and is_folder(found):
            [found] = await as_shown(ctx, snapshot, [found])
    if found is None:
        raise NotFound
    ctx.trace.shows(found.facts, found.version)
    if found.deleted:
        raise Gone
    return found


def _parts(request: Request) -> tuple[str, list[str]]:
    """What of the resource is wanted: `_summary` and `_elements`."""
    if not request.query:
        return "", []
    asked = dict(request.query)
    summary, elements = asked.get("_summary", ""), asked.get("_elements", "")
    if summary not in ("", "false", *SUMMARIES):
        raise Malformed("true, text, data or false is expected.", expression="_summary")
    return summary, [each for each in elements.split(",") if each]


def _answer(ctx: Context, request: Request, found: Version, summary: str, elements: list[str]) -> Answer:
    answer = content(request, Answer(200, found.body, version=found))
    # Content that is given out raw has no parts.
    if (summary or elements) and answer.body is found.body:
        cut = Subsets(ctx.services.definitions).cut
        answer.body = cut(found.type, found.body, summary=summary, elements=elements)
    return answer


def _unchanged(request: Request, found: Version) -> bool:
    """Conditional read: If-None-Match wins over If-Modified-Since (RFC 9110 §13.2.2)."""
    if request.if_none_match:
        return request.if_none_match == "*" or str(found.version) in _versions(request.if_none_match)
    since = _seconds(request.if_modified_since)
    return since is not None and found.time // 1_000_000 <= since


def _seconds(header: str) -> int | None:
    """An HTTP date in seconds since 1970; None for what is none, which is passed over as RFC 9110 §13.1.3 says."""
    try:
        return int(parsedate_to_datetime(header).timestamp()) if header else None
    except (ValueError, OverflowError):
        return None


def _versions(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
