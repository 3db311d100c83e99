"""Finding a patient by identity: exact INS and birth date, one or none (domain PAT-9, access §3.3).

A professional who may not read the record learns that it is open, under which id, and nothing else: enough to feed it.
"""

from __future__ import annotations

from typing import Any

import orjson

from fhir_server.context import Context
from fhir_server.errors import Issue, Malformed
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate
from fhir_server.search.query import Query
from fhir_server.storage.interface import Snapshot, Version

_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def looks_up(ctx: Context, type_: str, query: Query) -> bool:
    """Whether this search is a professional's search for a patient."""
    return type_ == "Patient" and ctx.actor.role == "ps" and query.plan.patients is None


async def looked_up(ctx: Context, snapshot: Snapshot, query: Query) -> list[bytes]:
    """The one open record that the identity finds, as the caller may see it; else none.

    Raises Malformed unless the search is by one `identifier` with its system and one whole `birthdate`.
    """
    asked = {name: value for name, value in query.used if not name.startswith("_")}
    names = [name for name, _ in query.used if not name.startswith("_")]
    identifier, born = asked.get("identifier", ""), asked.get("birthdate", "").removeprefix("eq")
    whole = len(born) == 10 and identifier.partition("|")[2] and "," not in identifier
    if sorted(names) != ["birthdate", "identifier"] or not whole:
        text = "A patient is looked for by one identifier, with its system, and the whole birth date."
        raise Malformed(issues=[Issue("required", text, name) for name in ("identifier", "birthdate")])
    found = await open_record(ctx, snapshot, query.plan.where)
    if found is None:
        return []
    visible = await ctx.visible(snapshot, "Patient", found.id, letter="s")
    seen = await snapshot.read("Patient", found.id, visible=visible)
    return [seen.body if seen else _existence(found, identifier)]


async def open_record(ctx: Context, snapshot: Snapshot, where: Predicate) -> Version | None:
    """The one Patient that a depositor finds, if their record is open."""
    visible = ctx.services.narrow.for_deposit(ctx.actor)
    found = await snapshot.search(Plan(("Patient",), where, limit=2), visible=visible)
    if len(found) != 1:
        return None
    ctx.trace.patient = found[0].id
    return None if (await ctx.services.narrow.policy(snapshot, found[0].id)).closed else found[0]


def _existence(found: Version, asked: str) -> bytes:
    """The id, the identifier that was asked for, and that the record is open."""
    system, _, value = asked.partition("|")
    kept: list[dict[str, Any]] = [
        {"system": each["system"], "value": each["value"]}
        for each in orjson.loads(found.body).get("identifier", ())
        if each.get("value") == value
        and str(each.get("system", "")).removeprefix("urn:oid:") in (system, system.removeprefix("urn:oid:"))
    ]
    shown = {
        "resourceType": "Patient",
        "id": found.id,
        "meta": {"tag": [_SUBSETTED]},
        "identifier": kept,
        "active": True,
    }
    return orjson.dumps(shown)
