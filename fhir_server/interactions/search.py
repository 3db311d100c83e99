"""search of one type, of all, of a compartment, by GET and POST (https://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from fhir_server.consent.audit import told
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Issue, Malformed, NotFound
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.fhir.subset import Subsets
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
    await ctx.record()
    links = pages.links(cursor, found.last)
    return Answer(200, bundle("searchset", _entries(ctx, query, found), links=links, total=found.total))


@dataclass(slots=True)
class _Found:
    """One page: what matches and what is included as (type, id, body); `last`: its place, when more follows."""

    matches: list[tuple[str, str, bytes]]
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
    last = (page[-1].order, page[-1].position) if more else None
    return _Found([(each.type, each.id, each.body) for each in page], included.rows, included.full, last, total)


def _entries(ctx: Context, query: Query, found: _Found) -> list[Entry]:
    """Matches as `_summary` and `_elements` cut them; what is included as `_summary` does; what there is to be said."""
    base, summary = ctx.base, query.summary
    cut = Subsets(ctx.services.definitions).cut
    entries = [
        Entry(f"{base}/{type_}/{id_}", cut(type_, body, summary=summary, elements=query.elements), "match")
        for type_, id_, body in found.matches
    ]
    entries += [
        Entry(f"{base}/{each.type}/{each.id}", cut(each.type, each.body, summary=summary), "include")
        for each in found.included
    ]
    warnings = list(query.warnings)
    if found.cut_off:
        text = f"More than {ctx.settings.max_included} resources would go with this page: the rest is left out."
        warnings.append(Issue("too-costly", text, "_include", severity="warning"))
    if warnings:
        entries.append(Entry(resource=operation_outcome_bytes(warnings), search="outcome"))
    return entries
