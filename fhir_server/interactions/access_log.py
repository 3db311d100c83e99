"""read and search of AuditEvent: the access log, for the holder of a record and their representatives (access §6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from fhir_server.consent.audit_search import Reader, as_seen, search_audits
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed, NotFound
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.interactions.paging import ABOUT_FORM, Pages, split

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
    """One line of the log."""
    ctx.allow("AuditEvent", "r")
    async with ctx.store.snapshot() as snapshot:
        visible = await ctx.services.narrow.for_instance(snapshot, ctx.actor, *request.path)
        found = await snapshot.audit(request.path[1], visible=visible)
        patient = found.row.patient if found else None
        ctx.trace.patient = patient
        reader = Reader(ctx.actor, patient or "", visible, ctx.now(), ctx.base)
        event = await as_seen(snapshot, reader, found) if found else None
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
    after = pages.after(cursor)
    async with ctx.store.snapshot() as snapshot:
        await ctx.about(snapshot, "Patient", patient)
        visible = await ctx.services.narrow.for_search(snapshot, ctx.actor, (patient,), only=("AuditEvent",))
        reader = Reader(ctx.actor, patient, visible, ctx.now(), ctx.base)
        page = await search_audits(snapshot, reader, pairs, before=after[1] if after else None)
    await ctx.record()
    entries = [Entry(f"{ctx.base}/AuditEvent/{each['id']}", orjson.dumps(each), "match") for each in page.events]
    last = None if page.before is None else ((), page.before)
    return Answer(200, bundle("searchset", entries, links=pages.links(cursor, last)))


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
