"""search of one type: GET [type]?… and POST [type]/_search (https://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

import orjson

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed
from fhir_server.fhir.bundle import Entry, Link, bundle
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.interactions.patient_lookup import looked_up, looks_up
from fhir_server.search.parse import parse
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate
from fhir_server.search.query import Query
from fhir_server.storage.interface import Snapshot, Version

CURSOR: Final = "_cursor"


async def search(ctx: Context, request: Request) -> Answer:
    """One page of what matches and this caller may see; totals and links speak of visible rows only."""
    type_ = request.path[0]
    ctx.allow(type_, "s")
    cursor, pairs = _split(request)
    query = read_query(ctx, type_, pairs, strict=request.strict)
    plan = replace(query.plan, after=_after(ctx, query, cursor)) if cursor else query.plan
    ctx.trace.query = urlencode(query.used)
    async with ctx.store.snapshot() as snapshot:
        if looks_up(ctx, type_, query):
            return await _lookup(ctx, snapshot, query)
        visible = await narrowed(ctx, snapshot, type_, query)
        page = await _page(snapshot, plan, visible)
        total = await _total(snapshot, query, page, visible, first=not cursor)
    await ctx.record()
    return Answer(200, _bundle(ctx, type_, query, page, total, cursor))


async def _lookup(ctx: Context, snapshot: Snapshot, query: Query) -> Answer:
    """A professional's search for a patient: one or none, and its total says so."""
    found = await looked_up(ctx, snapshot, query)
    entries = [Entry(f"{ctx.base}/Patient/{orjson.loads(each)['id']}", each, "match") for each in found]
    links = [Link("self", _url(ctx, "Patient", query, ""))]
    await ctx.record()
    return Answer(200, bundle("searchset", entries, links=links, total=len(entries)))


def read_query(ctx: Context, type_: str, pairs: list[tuple[str, str]], *, strict: bool) -> Query:
    """The parsed query; raises Malformed naming the parameter that cannot be answered."""
    return parse(
        ctx.services.registry,
        (type_,),
        pairs,
        strict=strict,
        base_url=ctx.base,
        default_count=ctx.settings.page_size,
        max_count=ctx.settings.max_page_size,
    )


async def narrowed(ctx: Context, snapshot: Snapshot, type_: str, query: Query) -> Predicate:
    """What the caller may see of the records the query is about; raises Malformed when it must name one."""
    await ctx.services.narrow.check_shared(snapshot, ctx.actor, type_)
    patients = await _named(ctx, snapshot, type_, query)
    bound = ctx.actor.patients if patients is None else tuple(set(patients) & set(ctx.actor.patients) or patients)
    if len(bound) > 1:
        raise Malformed("This token is for several records: name one patient.", expression="patient")
    for patient in bound:
        await ctx.about(snapshot, "Patient", patient)
    return await ctx.services.narrow.for_search(snapshot, ctx.actor, patients, only=(type_,))


async def _named(ctx: Context, snapshot: Snapshot, type_: str, query: Query) -> tuple[str, ...] | None:
    """The patients that the query names. A professional's search of a record names one, by itself or by one `_id`:
    judged from the request alone, so that each search is in the log of the record it is about."""
    patients = query.plan.patients
    if not ctx.services.narrow.must_name_patient(ctx.actor, (type_,)) and (patients is None or type_ != "Patient"):
        return patients
    named = patients if patients is not None else query.ids
    if ctx.actor.role in ("ps", "ncp") and len(named) != 1:
        raise Malformed("A professional's search of a record names one patient.", expression="patient")
    if patients is not None:
        return patients
    record = await snapshot.compartment(type_, query.ids[0])
    return (record,) if record else ()


async def _page(snapshot: Snapshot, plan: Plan, visible: Predicate) -> list[Version]:
    if plan.limit == 0:
        return []
    return await snapshot.search(replace(plan, limit=plan.limit + 1), visible=visible)


async def _total(
    snapshot: Snapshot, query: Query, page: list[Version], visible: Predicate, *, first: bool
) -> int | None:
    """Exact or absent (access §5): free when the first page holds everything, counted when asked for."""
    if query.total != "none" or query.plan.limit == 0:
        return await snapshot.count(query.plan, visible=visible)
    return len(page) if first and len(page) <= query.plan.limit else None


def _bundle(ctx: Context, type_: str, query: Query, found: list[Version], total: int | None, cursor: str) -> bytes:
    page = found[: query.plan.limit]
    links = [Link("self", _url(ctx, type_, query, cursor))]
    if len(found) > len(page):
        links.append(Link("next", _url(ctx, type_, query, _seal(ctx, query, page[-1]))))
    entries = [Entry(f"{ctx.base}/{each.type}/{each.id}", each.body, "match") for each in page]
    if query.warnings:
        entries.append(Entry(resource=operation_outcome_bytes(query.warnings), search="outcome"))
    return bundle("searchset", entries, links=links, total=total)


def _split(request: Request) -> tuple[str, list[tuple[str, str]]]:
    cursors = [value for name, value in request.query if name == CURSOR]
    if len(cursors) > 1:
        raise Malformed("One page at a time.", expression=CURSOR)
    return (cursors[0] if cursors else ""), [pair for pair in request.query if pair[0] != CURSOR]


def _url(ctx: Context, type_: str, query: Query, cursor: str) -> str:
    pairs = [*query.used, (CURSOR, cursor)] if cursor else query.used
    return f"{ctx.base}/{type_}" + (f"?{urlencode(pairs)}" if pairs else "")


def binding(ctx: Context) -> str:
    """Whose page it is: a link handed to someone else opens nothing (access §5)."""
    return f"{ctx.actor.role} {ctx.actor.reference} {ctx.actor.client} {' '.join(ctx.actor.patients)}"


def _after(ctx: Context, query: Query, cursor: str) -> tuple[int | str, int]:
    return ctx.services.cursors.open(cursor, query=query.digest, binding=binding(ctx))


def _seal(ctx: Context, query: Query, last: Version) -> str:
    keys: dict[str, int | str] = {"_lastUpdated": last.time, "_id": last.id}
    key = keys.get(query.plan.sort.key, 0)
    return ctx.services.cursors.seal((key, last.position), query=query.digest, binding=binding(ctx))
