"""history of one resource, of a type, of everything (https://hl7.org/fhir/R4/http.html#history).

The store keeps versions, not requests: a PATCH is told as the PUT of its outcome, and a first version as a POST unless
its id cannot be one that this server gave. Criteria that are not offered are refused: a client that copies a record by
its history must not take more or less than it asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fhir_server.consent.kinds import kind_of
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed, NotFound
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.fhir.dates import format_instant, search_range
from fhir_server.interactions.folders import as_shown
from fhir_server.interactions.paging import ABOUT_FORM, Pages, split
from fhir_server.interactions.whose import View, covered, view_without_name
from fhir_server.search.plan import Value
from fhir_server.storage.interface import Version

_GIVEN_HERE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


@dataclass(slots=True)
class _Asked:
    """The parameters of a history, `pairs` as links repeat them."""

    count: int
    since: int | None = None
    at: tuple[int, int] | None = None
    pairs: tuple[tuple[str, str], ...] = ()


async def history_instance(ctx: Context, request: Request) -> Answer:
    """Newest first; nothing of it for a caller who may not see the resource."""
    type_, id_, _ = request.path
    ctx.allow(type_, "r")
    cursor, asked = _asked(ctx, request)
    pages = Pages(ctx, request, f"{type_}/{id_}/_history", asked.pairs)
    after = pages.after(cursor)
    async with ctx.store.snapshot() as snapshot:
        visible = await ctx.visible(snapshot, type_, id_)
        await ctx.services.narrow.check_shared(snapshot, ctx.actor, type_)
        if await snapshot.read(type_, id_, visible=visible) is None:
            raise NotFound
        found = await snapshot.history(
            type_,
            id_,
            visible=visible,
            since=asked.since,
            at=asked.at,
            before=after[1] if after else None,
            limit=asked.count + 1,
        )
        found = [*await as_shown(ctx, snapshot, found)]
    await ctx.record()
    more = ((), found[asked.count - 1].version) if len(found) > asked.count else None
    return _answer(ctx, pages, cursor, found, asked, more)


async def history_type(ctx: Context, request: Request) -> Answer:
    """Of all resources of a type that the caller may see. A professional, who cannot say here whose record is meant,
    has the history of what is nobody's."""
    type_ = request.path[0]
    ctx.allow(type_, "s")
    if ctx.actor.role in ("ps", "ncp") and kind_of(type_) == "record":
        raise Malformed("A professional's history of a record is that of one resource.", expression="patient")
    return await _changes(ctx, request, f"{type_}/_history", ((type_,),))


async def history_system(ctx: Context, request: Request) -> Answer:
    """Of all resources of the types that the token covers; the access log has none."""
    return await _changes(ctx, request, "_history", _apart(ctx, covered(ctx, "s")))


def _apart(ctx: Context, types: Sequence[str]) -> list[tuple[str, ...]]:
    """The types by where what this caller may see of them lies: in records, in nobody's, beside both (content). What
    cannot be seen at all is not asked for, or it would be looked through to find nothing."""
    if ctx.services.open:
        return [tuple(types)]
    parts: dict[str, list[str]] = {"public": [], "record": [], "content": []}
    for each in types:
        kind = "content" if each == "Binary" else kind_of(each)
        if kind == "public" or (kind in parts and ctx.actor.patients):
            parts[kind].append(each)
    return [tuple(part) for part in parts.values() if part]


async def _changes(ctx: Context, request: Request, path: str, groups: Sequence[tuple[str, ...]]) -> Answer:
    """The last changes of each group of types, put together."""
    cursor, asked = _asked(ctx, request)
    pages = Pages(ctx, request, path, asked.pairs)
    after = pages.after(cursor)
    async with ctx.store.snapshot() as snapshot:
        if len(request.path) == 2:
            await ctx.services.narrow.check_shared(snapshot, ctx.actor, request.path[0])
        view = await view_without_name(ctx, snapshot)
        found = [
            each
            for types in groups
            for each in await snapshot.changes(
                types,
                visible=await view.of(types),
                patients=_where(ctx, view, types),
                since=asked.since,
                at=asked.at,
                before=after[1] if after else None,
                limit=asked.count + 1,
            )
        ]
        found = [*await as_shown(ctx, snapshot, found)]
    await ctx.record()
    found = sorted(found, key=_place, reverse=True)[: asked.count + 1]
    more = ((), _place(found[asked.count - 1])) if len(found) > asked.count else None
    return _answer(ctx, pages, cursor, found, asked, more)


def _where(ctx: Context, view: View, types: Sequence[str]) -> Sequence[str | None] | None:
    """The records that the rows are in, as far as it is known; content is in none."""
    return (None,) if types == ("Binary",) and not ctx.services.open else view.records(types)


def _place(version: Version) -> int:
    """Where a version stands among all changes."""
    (place,) = version.order
    assert isinstance(place, int)
    return place


def _asked(ctx: Context, request: Request) -> tuple[str, _Asked]:
    cursor, pairs = split(request)
    asked = _Asked(ctx.settings.page_size)
    kept = {}
    for name, value in pairs:
        if name in kept:
            raise Malformed("This parameter was given more than once.", expression=name)
        if name == "_count":
            asked.count = min(_number(value), ctx.settings.max_page_size)
            value = str(asked.count)
        elif name == "_since":
            asked.since = _range(ctx, name, value)[0]
        elif name == "_at":
            asked.at = _range(ctx, name, value)
        elif name not in ABOUT_FORM:
            raise Malformed("This parameter is not offered on a history.", expression=name[:100])
        if name not in ABOUT_FORM:
            kept[name] = value
    asked.pairs = tuple(sorted(kept.items()))
    return cursor, asked


def _number(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 10 and 0 < int(value) < 2**31):
        raise Malformed("A positive whole number is expected.", expression="_count")
    return int(value)


def _range(ctx: Context, name: str, value: str) -> tuple[int, int]:
    try:
        # A client that does not escape the + of an offset sends a blank.
        low, high = search_range(value.strip().replace(" ", "+"), zone=ctx.services.registry.zone)
    except ValueError:
        raise Malformed("A date is expected, such as 2026-05-01T10:00:00Z.", expression=name) from None
    return low, high


def _answer(
    ctx: Context,
    pages: Pages,
    cursor: str,
    found: Sequence[Version],
    asked: _Asked,
    more: tuple[tuple[Value, ...], int] | None,
) -> Answer:
    """The page; its total where it is all there is."""
    total = None if cursor or more else len(found)
    entries = list(_entries(ctx.base, found))[: asked.count]
    return Answer(200, bundle("history", entries, links=pages.links(cursor, more), total=total))


def _entries(base: str, found: Sequence[Version]) -> Iterator[Entry]:
    """An entry a version; the one before it, where it is among them, tells what was brought back from deletion."""
    older = {(each.type, each.id, each.version): each for each in found}
    for each in found:
        before = older.get((each.type, each.id, each.version - 1))
        method = _method(each)
        made = each.version == 1 or (before is not None and before.deleted)
        yield Entry(
            full_url=f"{base}/{each.type}/{each.id}",
            resource=each.body,
            request={"method": method, "url": each.type if method == "POST" else f"{each.type}/{each.id}"},
            response={
                "status": "204" if each.deleted else "201" if made else "200",
                "etag": f'W/"{each.version}"',
                "lastModified": format_instant(each.time),
            },
        )


def _method(version: Version) -> str:
    if version.deleted:
        return "DELETE"
    return "POST" if version.version == 1 and _GIVEN_HERE(version.id) else "PUT"
