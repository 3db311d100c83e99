"""search of one type, of all, of a compartment, by GET and POST (https://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

from fhir_server.consent.audit import told
from fhir_server.context import Answer, Context, Pace, Request
from fhir_server.errors import Forbidden, Issue, Malformed, NotFound
from fhir_server.fhir.bundle import Entry, Link, bundle
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.fhir.subset import Subsets
from fhir_server.interactions.folders import as_shown
from fhir_server.interactions.include import Included
from fhir_server.interactions.paging import Pages, split
from fhir_server.interactions.patient_lookup import looked_up, looks_up
from fhir_server.interactions.whose import covered, view_of, view_of_compartment
from fhir_server.search.parse import parse
from fhir_server.search.plan import Value
from fhir_server.search.query import Query
from fhir_server.search.registry import SearchRegistry
from fhir_server.storage.interface import Snapshot, Version

_REMEMBERED: Final = 2_000
"""Characters of a question that is worth remembering."""
_WHOSE: Final = ("patient", "subject")
_NAMED: Final = {"DocumentReference": (("status",), _WHOSE), "List": (("code",), ("status",), _WHOSE)}
"""What a professional's search of a type names, each by one of several parameters."""
_Row: TypeAlias = tuple[str, str, bytes]
"""Type, id and body."""
COMPARTMENTS: Final = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where a search looks. `path`: under the base, as links have it; `named`: whether the request names the types."""

    path: str
    types: tuple[str, ...]
    named: bool = True
    compartment: tuple[str, str] | None = None


async def search_type(ctx: Context, request: Request) -> Answer:
    """GET [type]?… and POST [type]/_search."""
    type_ = request.path[0]
    ctx.allow(type_, "s")
    return await _search(ctx, request, _Asked(type_, (type_,)))


async def search_system(ctx: Context, request: Request) -> Answer:
    """GET [base]?… and POST _search: the types that `_type` names, else all that the token covers."""
    return await _search(ctx, request, _Asked("", _types(ctx, request), _names_types(request)))


async def search_compartment(ctx: Context, request: Request) -> Answer:
    """GET [compartment]/[id]/[type]?… or …/*, and POST …/_search: what is in the compartment of one resource."""
    name, id_, *more = (segment for segment in request.path if segment != "_search")
    if name not in COMPARTMENTS:
        raise NotFound("R4 has no compartment of that type.")
    type_ = more[0] if more else "*"
    ctx.trace.type, ctx.trace.id = ("" if type_ == "*" else type_), ""
    if type_ == "*":
        asked = _Asked(f"{name}/{id_}/*", _types(ctx, request), _names_types(request), (name, id_))
    else:
        ctx.allow(type_, "s")
        asked = _Asked(f"{name}/{id_}/{type_}", (type_,), True, (name, id_))
    return await _search(ctx, request, asked)


def read_query(
    ctx: Context,
    types: str | tuple[str, ...],
    pairs: list[tuple[str, str]],
    *,
    strict: bool,
    compartment: tuple[str, str] | None = None,
) -> Query:
    """The parsed query; raises Malformed naming the parameter that cannot be answered."""
    settings = ctx.settings
    given = (
        ctx.services.registry,
        (types,) if isinstance(types, str) else types,
        tuple(pairs),
        strict,
        ctx.base,
        (settings.page_size, settings.max_page_size),
        compartment,
    )
    short = sum(len(name) + len(value) for name, value in pairs) <= _REMEMBERED
    return _remembered(*given) if short else _parsed(*given)


def _parsed(
    registry: SearchRegistry,
    types: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    strict: bool,
    base: str,
    counts: tuple[int, int],
    compartment: tuple[str, str] | None,
) -> Query:
    return parse(
        registry,
        types,
        pairs,
        strict=strict,
        base_url=base,
        default_count=counts[0],
        max_count=counts[1],
        compartment=compartment,
    )


# The same is asked again and again, page after page. A parsed question depends on nothing but what it was made of.
_remembered: Final = lru_cache(maxsize=512)(_parsed)


def _names_types(request: Request) -> bool:
    return any(name == "_type" for name, _ in request.query)


def _types(ctx: Context, request: Request) -> tuple[str, ...]:
    """What a search of several types is of; a type that is named and not covered is refused, from the token alone."""
    types = covered(ctx, "s")
    named = {each for name, value in request.query if name == "_type" for each in value.split(",")}
    others = named & ctx.services.definitions.resource_types - {*types, "Parameters"}
    if others == {"AuditEvent"} and not ctx.services.open:
        raise Malformed("The access log is searched by itself.", expression="_type")
    if others:
        raise Forbidden("The scopes of this token do not cover that.")
    return types


async def _search(ctx: Context, request: Request, asked: _Asked) -> Answer:
    """One page of what matches and this caller may see; totals and links speak of visible rows only."""
    cursor, pairs = split(request)
    if ctx.actor.role == "ps" and len(asked.types) == 1:
        _check_named(asked, {name for name, _ in pairs})
    query = read_query(ctx, asked.types, pairs, strict=request.strict, compartment=asked.compartment)
    pages = Pages(ctx, request, asked.path, query.used)
    custom = ctx.services.registry.custom
    ctx.trace.query = told(query.used, custom) if custom else pages.query
    async with ctx.store.snapshot() as snapshot:
        if asked.compartment is None and looks_up(ctx, query):
            one_or_none = await looked_up(ctx, snapshot, query)
            found = _Found(one_or_none, total=len(one_or_none))
        else:
            found = await _find(ctx, snapshot, query, asked, pages.after(cursor))
    body = await _page(ctx, query, found, pages.links(cursor, found.last))
    await ctx.record()
    return Answer(200, body)


async def _page(ctx: Context, query: Query, found: _Found, links: Sequence[Link]) -> bytes:
    """The Bundle. It is made before the log is written, while what it is made of is in the cache of the processor; it
    leaves after that."""
    return bundle("searchset", await _entries(ctx, query, found), links=links, total=found.total)


def _check_named(asked: _Asked, names: set[str]) -> None:
    """Raise Malformed where a professional's search of documents or of what they were submitted in leaves out what it
    has to name (DOC-13, DOC-14). Looking for one by `_id` is reading it."""
    wanted = _NAMED.get(asked.types[0])
    if wanted is None:
        return
    given = {re.split("[:.]", name)[0] for name in names} | ({"patient"} if asked.compartment else set())
    missing = [] if "_id" in given else [each for each in wanted if given.isdisjoint(each)]
    if missing:
        text = "A professional who searches documents, or what they were submitted in, says this too."
        raise Malformed(issues=[Issue("required", text, each[0]) for each in missing])


@dataclass(slots=True)
class _Found:
    """One page: what matches, what is included; `last`: its place, when more follows."""

    matches: list[_Row]
    included: Sequence[Version] = ()
    cut_off: bool = False
    last: tuple[tuple[Value, ...], int] | None = None
    total: int | None = None


async def _find(
    ctx: Context, snapshot: Snapshot, query: Query, asked: _Asked, after: tuple[tuple[Value, ...], int] | None
) -> _Found:
    for each in query.plan.types if asked.named else ():
        await ctx.services.narrow.check_shared(snapshot, ctx.actor, each)
    if asked.compartment:
        view = await view_of_compartment(ctx, snapshot, query, *asked.compartment)
    else:
        view = await view_of(ctx, snapshot, query)
    if view is None:
        return _Found([], total=0)
    plan, visible = await view.search(replace(query.plan, after=after))
    rows = await snapshot.search(replace(plan, limit=plan.limit + 1), visible=visible) if plan.limit else []
    page, more = rows[: plan.limit], len(rows) > plan.limit
    total = None
    # Exact or absent (access §5): free when the first page holds everything, counted when asked for.
    if query.total != "none" or not plan.limit:
        total = await snapshot.count(plan, visible=visible)
    elif not after and not more:
        total = len(page)
    included = Included(view, page, ctx.settings.max_included)
    await included.gather(query.includes)
    ctx.trace.left([*page, *included.rows])
    last = (page[-1].order, page[-1].position) if more else None
    shown = [(each.type, each.id, each.body) for each in await as_shown(ctx, snapshot, page)]
    return _Found(shown, await as_shown(ctx, snapshot, included.rows), included.full, last, total)


async def _cut(ctx: Context, rows: list[_Row], summary: str, elements: Sequence[str] = ()) -> list[_Row]:
    """The rows, of each resource no more than is asked for."""
    if not summary and not elements:
        return rows
    cut, pace, left = Subsets(ctx.services.definitions).cut, Pace(), []
    for type_, id_, body in rows:
        await pace.rest()
        part = await ctx.aside(body, cut, type_, body, summary=summary, elements=elements)
        left.append((type_, id_, part))
    return left


async def _entries(ctx: Context, query: Query, found: _Found) -> list[Entry]:
    """Matches as `_summary` and `_elements` cut them; what is included as `_summary` does; what there is to be said."""
    base, included = ctx.base, [(each.type, each.id, each.body) for each in found.included]
    entries = [
        Entry(f"{base}/{type_}/{id_}", body, "match")
        for type_, id_, body in await _cut(ctx, found.matches, query.summary, query.elements)
    ]
    entries += [
        Entry(f"{base}/{type_}/{id_}", body, "include") for type_, id_, body in await _cut(ctx, included, query.summary)
    ]
    warnings = list(query.warnings)
    if found.cut_off:
        text = f"More than {ctx.settings.max_included} resources would go with this page: the rest is left out."
        warnings.append(Issue("too-costly", text, "_include", severity="warning"))
    if warnings:
        entries.append(Entry(resource=operation_outcome_bytes(warnings), search="outcome"))
    return entries
