"""read, search and create of AuditEvent: the access log, for the holder of a record and representatives (access §6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from fhir_server.auth.scopes import resource_scopes
from fhir_server.consent.audit_event import DECISION
from fhir_server.consent.audit_feed import patients_of
from fhir_server.consent.audit_search import LogPage, Place, Reader, as_seen, search_audits
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Invalid, Malformed, NotFound, TooLarge
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.fhir.json import parse
from fhir_server.interactions.paging import ABOUT_FORM, Pages, split
from fhir_server.search.plan import Value
from fhir_server.storage.interface import Commit

_LARGEST: Final = 1 << 16
"""Bytes of an event of another system."""

_DEFINED: Final = "http://hl7.org/fhir/SearchParameter/AuditEvent-"
SEARCH_PARAMETERS: Final = [
    {"name": name, "definition": _DEFINED + name, "type": kind}
    for name, kind in {
        "patient": "reference",
        "date": "date",
        "action": "token",
        "outcome": "token",
        "type": "token",
        "subtype": "token",
        "agent": "reference",
        "entity": "reference",
    }.items()
]


async def read(ctx: Context, request: Request) -> Answer:
    """One event of the log."""
    ctx.allow("AuditEvent", "r")
    asked = request.path[1]
    async with ctx.store.snapshot() as snapshot:
        visible = await ctx.services.narrow.for_instance(snapshot, ctx.actor, "AuditEvent", asked)
        found = await snapshot.audit(asked.removesuffix(DECISION), visible=visible)
        patient = found.row.patient if found else None
        ctx.trace.patient = patient
        reader = Reader(ctx.actor, patient or "", visible, ctx.now(), ctx.base)
        events = await as_seen(snapshot, reader, found) if found else []
    event = next((each for each in events if each["id"] == asked), None)
    if event is None:
        raise NotFound
    await ctx.record()
    return Answer(200, orjson.dumps(event))


async def search(ctx: Context, request: Request) -> Answer:
    """The log of one patient, newest first, in pages; empty for whoever it is not for."""
    ctx.allow("AuditEvent", "s")
    patient = _patient(ctx, request)
    cursor, given = split(request)
    pairs = [pair for pair in given if pair[0] not in (*ABOUT_FORM, "patient")]
    pages = Pages(ctx, request, "AuditEvent", [("patient", f"Patient/{patient}"), *sorted(pairs)])
    ctx.trace.query = pages.query
    after = place(pages.after(cursor))
    async with ctx.store.snapshot() as snapshot:
        await ctx.about(snapshot, "Patient", patient)
        visible = await ctx.services.narrow.for_search(snapshot, ctx.actor, (patient,), only=("AuditEvent",))
        reader = Reader(ctx.actor, patient, visible, ctx.now(), ctx.base)
        page = await search_audits(snapshot, reader, pairs, after=after)
    await ctx.record()
    return Answer(200, told(ctx, pages, cursor, page))


def told(ctx: Context, pages: Pages, cursor: str, page: LogPage) -> bytes:
    """A page of the log as a Bundle."""
    entries = [Entry(f"{ctx.base}/AuditEvent/{each['id']}", orjson.dumps(each), "match") for each in page.events]
    last = None if page.after is None else ((page.after[1],), page.after[0])
    return bundle("searchset", entries, links=pages.links(cursor, last))


def place(after: tuple[tuple[Value, ...], int] | None) -> Place | None:
    """Where the log goes on, of what a link remembers."""
    return None if after is None else (after[1], int(after[0][0] or 0))


async def create(ctx: Context, request: Request) -> Answer:
    """An event of another system, which a registered feed writes into the log: by the scope `system/AuditEvent.c`,
    which no role has by itself. It is one line of the log, its own."""
    if not any(each.level == "system" and each.covers("AuditEvent", "c") for each in resource_scopes(ctx.actor.scopes)):
        raise Forbidden("The access log takes events from registered systems only.")
    if len(request.body) > _LARGEST:
        raise TooLarge(f"An event may have {_LARGEST} bytes.", expression="AuditEvent")
    event = ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "AuditEvent")
    patients = patients_of(event, ctx.base)
    if len(patients) > 1:
        raise Invalid("An event is about one patient.", expression="AuditEvent.entity")
    async with ctx.store.snapshot() as snapshot:
        for patient in patients:
            await ctx.about(snapshot, "Patient", patient)
    if patients and not ctx.trace.patient:
        raise Invalid("This patient is not known here.", expression="AuditEvent.entity")
    ctx.trace.type, ctx.trace.event = "AuditEvent", request.body.decode()
    (row,) = ctx.audits()
    await ctx.store.commit(Commit(audits=(row,)))
    return Answer(201, location=f"AuditEvent/{row.id}")


async def search_compartment(ctx: Context, request: Request) -> Answer:
    """The log as a part of the Patient's compartment."""
    name, patient = request.path[:2]
    if name != "Patient":
        raise Malformed("The access log is that of one patient.", expression="patient")
    ctx.trace.type, ctx.trace.id = "AuditEvent", ""
    return await search(ctx, replace(request, query=(*request.query, ("patient", f"Patient/{patient}"))))


def _patient(ctx: Context, request: Request) -> str:
    """Whose log is asked for; one's own when the token is bound to one record."""
    named = {
        value.removeprefix(f"{ctx.base}/").removeprefix("Patient/")
        for name, value in request.query
        if name == "patient"
    }
    found = named or set(ctx.actor.patients)
    if len(found) != 1:
        raise Malformed("The access log is that of one patient.", expression="patient")
    return found.pop()
