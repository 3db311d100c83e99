"""Patient/[id]/$everything: a record in one answer (https://hl7.org/fhir/R4/patient-operation-everything.html).

The Patient first, then the record in the order of its making, then what it points to that is in no record:
professionals, organisations, places, medications, devices, content. Bodies are joined as they lie; what points where is
known from their facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from fhir_server.consent.data_time import PARIS
from fhir_server.consent.kinds import types
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Gone, Malformed, NotFound
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.fhir.dates import search_range
from fhir_server.fhir.json import parse
from fhir_server.interactions.folders import as_shown
from fhir_server.interactions.paging import ABOUT_FORM, CURSOR, Pages
from fhir_server.interactions.whose import View, covered
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE, Eq, Predicate, Rng, Updated, conj, disj, negate, one_of
from fhir_server.storage.interface import Version

# Parameter -> the member of Parameters.parameter that holds it.
_VALUES: Final = {
    "start": "valueDate",
    "end": "valueDate",
    "_since": "valueInstant",
    "_type": "valueCode",
    "_count": "valueInteger",
}
_AT_ONCE: Final = 200
_SLICE: Final = 1_000
"""Rows that the store gives in some 10 ms."""


@dataclass(slots=True)
class _Asked:
    """What of the record is wanted: `cared` by the time of care, `changed` by the time of the last change; `pairs` as
    links repeat them."""

    types: tuple[str, ...]
    count: int
    cared: Predicate = TRUE
    changed: Predicate = TRUE
    since: int = 0
    cursor: str = ""
    pairs: list[tuple[str, str]] = field(default_factory=list)


async def of_instance(ctx: Context, request: Request) -> Answer:
    """The record of one Patient."""
    return await _everything(ctx, request, request.path[1])


async def of_type(ctx: Context, request: Request) -> Answer:
    """The caller's own record: that which the token is for."""
    ctx.allow("Patient", "r")
    if len(ctx.actor.patients) != 1:
        raise Malformed("Name the patient: Patient/[id]/$everything.", expression="Patient")
    return await _everything(ctx, request, ctx.actor.patients[0])


async def _everything(ctx: Context, request: Request, patient: str) -> Answer:
    ctx.trace.type, ctx.trace.id = "Patient", patient
    ctx.allow("Patient", "r")
    asked = _asked(ctx, request, await ctx.aside(request.body, _posted, ctx, request))
    pages = Pages(ctx, request, f"Patient/{patient}/$everything", asked.pairs)
    after = pages.after(asked.cursor)
    async with ctx.store.snapshot() as snapshot:
        await ctx.about(snapshot, "Patient", patient)
        await ctx.services.narrow.check_shared(snapshot, ctx.actor, "Patient")
        view = View(ctx, snapshot, (patient,), "r")
        found = await snapshot.read("Patient", patient, visible=await view.of(("Patient",)))
        if found is None:
            raise NotFound
        ctx.trace.shows(found.facts, found.version)
        if found.deleted:
            raise Gone
        first = [found] if after is None and "Patient" in asked.types and found.time >= asked.since else []
        room = asked.count - len(first)
        rows = await _record(view, asked, patient, after[1] if after else 0, room + 1)
        last = ((), rows[room - 1].position if room else 0) if len(rows) > room else None
        page = [*first, *await as_shown(ctx, snapshot, rows[:room])]
        beside = await _beside(view, asked, page)
    ctx.trace.left([*page, *beside])
    await ctx.record()
    links = pages.links(asked.cursor, last)
    total = None if after or last else len(page)
    return Answer(200, bundle("searchset", _entries(ctx.base, page, beside), links=links, total=total))


async def _record(view: View, asked: _Asked, patient: str, after: int, limit: int) -> list[Version]:
    """The rows of the record behind that position, without the Patient.

    What is judged by other resources is asked for apart: the rest needs no more than its own facts.
    """
    where = conj(Eq("patient", patient), asked.cared, asked.changed)
    linked = types().linked
    found: list[Version] = []
    for part in (set(asked.types) - linked - {"Patient"}, set(asked.types) & linked):
        if part:
            names = tuple(sorted(part))
            found += await _in_slices(view, Plan(names, where, (patient,), after=((), after) if after else None), limit)
    return sorted(found, key=lambda each: each.position)[:limit]


async def _in_slices(view: View, plan: Plan, limit: int) -> list[Version]:
    """The first `limit` rows, so many at a time that nobody waits long for all of them."""
    found: list[Version] = []
    visible = await view.of(plan.types)
    while len(found) < limit:
        await view.ctx.pace.rest()
        most = min(_SLICE, limit - len(found))
        rows = await view.snapshot.search(replace(plan, limit=most), visible=visible)
        found += rows
        if len(rows) < most:
            break
        plan = replace(plan, after=((), rows[-1].position))
    return found


async def _beside(view: View, asked: _Asked, page: Sequence[Version]) -> list[Version]:
    """What the rows of a page point to that is in nobody's record."""
    wanted: dict[str, list[str]] = {}
    for link in sorted(frozenset().union(*(each.facts.links for each in page))):
        type_, _, id_ = link.partition("/")
        wanted.setdefault(type_, []).append(id_)
    found: list[Version] = []
    for type_ in asked.types:
        ids = iter(wanted.get(type_, ()))
        while part := list(islice(ids, _AT_ONCE)):
            await view.ctx.pace.rest()
            where = conj(one_of("id", part), Eq("patient", None), asked.changed)
            plan = Plan((type_,), where, limit=len(part))
            found += await view.snapshot.search(plan, visible=await view.of((type_,)))
    return found


def _entries(base: str, page: Sequence[Version], beside: Sequence[Version]) -> Iterable[Entry]:
    for mode, rows in (("match", page), ("include", beside)):
        for each in rows:
            yield Entry(f"{base}/{each.type}/{each.id}", each.body, mode)


def _asked(ctx: Context, request: Request, posted: Iterable[tuple[str, str]]) -> _Asked:
    """The parameters of url and body; raises Malformed for one that is unknown, unreadable or repeated."""
    given = [pair for pair in (*request.query, *posted) if pair[0] not in ABOUT_FORM]
    named: dict[str, str] = {}
    for name, value in given:
        if name == "_type" and name in named:
            value = f"{named[name]},{value}"
        elif name in named or name not in (*_VALUES, CURSOR):
            raise Malformed("This parameter is not understood here, or not twice.", expression=name[:100])
        named[name] = value
    cursor = named.pop(CURSOR, "")
    asked = _Asked(_types(ctx, named.get("_type")), _count(ctx, named.get("_count")), cursor=cursor)
    start, end = (_range(named, name) for name in ("start", "end"))
    if start or end:
        in_time = Rng("data_time", start[0] if start else None, end[1] if end else None)
        # What has no time of care is of all times.
        asked.cared = disj(in_time, negate(Rng("data_time", None, None)))
    if since := _range(named, "_since"):
        asked.since, asked.changed = since[0], Updated(since[0], None)
    if "_count" in named:
        named["_count"] = str(asked.count)
    asked.pairs = sorted(named.items())
    return asked


def _posted(ctx: Context, request: Request) -> Iterable[tuple[str, str]]:
    """The parameters of a Parameters resource."""
    if not request.body:
        return []
    sent: dict[str, Any] = ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "Parameters")
    pairs = []
    for index, each in enumerate(sent.get("parameter", ())):
        name = each["name"]
        if name not in _VALUES or _VALUES[name] not in each:
            text = "Expected are start, end (valueDate), _since (valueInstant), _type (valueCode), _count."
            raise Malformed(text, expression=f"Parameters.parameter[{index}]")
        pairs.append((name, str(each[_VALUES[name]])))
    return pairs


def _types(ctx: Context, asked: str | None) -> tuple[str, ...]:
    """The types that are wanted and that the token covers; one that is named and not covered is refused."""
    known = covered(ctx, "r")
    if asked is None:
        return known
    named = [each.strip() for each in asked.split(",")]
    if not ctx.services.definitions.resource_types.issuperset(named):
        raise Malformed("Names of resource types are expected.", expression="_type")
    if not set(known).issuperset(named):
        raise Forbidden("The scopes of this token do not cover that.")
    return tuple(each for each in known if each in named)


def _count(ctx: Context, asked: str | None) -> int:
    most = ctx.settings.max_everything
    if asked is None:
        return most
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= 10 and 0 < int(asked) < 2**31):
        raise Malformed("A positive whole number is expected.", expression="_count")
    return min(int(asked), most)


def _range(named: dict[str, str], name: str) -> tuple[int, int] | None:
    """A day is taken where the time of care is (consent/data_time.py)."""
    if name not in named:
        return None
    try:
        # A client that does not escape the + of an offset sends a blank.
        low, high = search_range(named[name].strip().replace(" ", "+"), zone=PARIS)
    except ValueError:
        raise Malformed("A date is expected, such as 2026-05-01.", expression=name) from None
    return low, high
