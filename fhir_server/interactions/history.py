"""history of one resource: GET [type]/[id]/_history (https://hl7.org/fhir/R4/http.html#history)."""

from __future__ import annotations

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed, NotFound
from fhir_server.fhir.bundle import Entry, Link, bundle
from fhir_server.fhir.dates import format_instant
from fhir_server.storage.interface import Version


async def history(ctx: Context, request: Request) -> Answer:
    """Newest first, paged by version number; nothing of it for a caller who may not see the resource."""
    type_, id_, _ = request.path
    count, before = _paging(ctx, request)
    ctx.allow(type_, "r")
    async with ctx.store.snapshot() as snapshot:
        visible = await ctx.visible(snapshot, type_, id_)
        await ctx.services.narrow.check_shared(snapshot, ctx.actor, type_)
        if await snapshot.read(type_, id_, visible=visible) is None:
            raise NotFound
        found = await snapshot.history(type_, id_, visible=visible, before=before, limit=count + 1)
    await ctx.record()
    page, more = found[:count], len(found) > count
    here = f"{ctx.base}/{type_}/{id_}/_history"
    links = [Link("self", f"{here}?_count={count}" + (f"&_before={before}" if before else ""))]
    if more:
        links.append(Link("next", f"{here}?_count={count}&_before={page[-1].version}"))
    return Answer(200, bundle("history", [_entry(ctx.base, each) for each in page], links=links))


def _paging(ctx: Context, request: Request) -> tuple[int, int | None]:
    count, before = ctx.settings.page_size, None
    for name, value in request.query:
        if name not in ("_count", "_before", "_format", "_pretty"):
            raise Malformed("This server does not offer that parameter on history yet.", expression=name)
        if name in ("_count", "_before") and not (value.isascii() and value.isdecimal() and 0 < int(value) < 2**31):
            raise Malformed("A positive whole number is expected.", expression=name)
        if name == "_count":
            count = min(int(value), ctx.settings.max_page_size)
        if name == "_before":
            before = int(value)
    return count, before


def _entry(base: str, version: Version) -> Entry:
    method = "DELETE" if version.deleted else "POST" if version.version == 1 else "PUT"
    url = version.type if method == "POST" else f"{version.type}/{version.id}"
    return Entry(
        full_url=f"{base}/{version.type}/{version.id}",
        resource=version.body,
        request={"method": method, "url": url},
        response={
            "status": {"DELETE": "204", "POST": "201", "PUT": "200"}[method],
            "etag": f'W/"{version.version}"',
            "lastModified": format_instant(version.time),
        },
    )
