"""Whose document is it? INS and traits answer, or the deposit is refused: never a wrong patient (importers §6)."""

from __future__ import annotations

from typing import Any

import orjson

from fhir_server.context import Context
from fhir_server.record.incoming import Incoming
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Eq, Predicate, TokenIs, conj
from fhir_server.storage.interface import Snapshot, Version
from importers.cda.patient import compare
from importers.issues import rejection


async def subject_of(ctx: Context, snapshot: Snapshot, incoming: Incoming, named: str = "") -> str:
    """The id of the one open record of the document's INS. `named`: who its sender says it is, as "Patient/id" or
    `system|value`.

    Raises Invalid: 902 when there is none or it is closed, 903 when nobody says whose it is, 904 when the INS is known
    with other traits, or is not that of the named patient; the answer never says which value the record holds. Feeding
    a record is not reading it: any professional may, so the look-up sees every Patient, and nothing of it leaves but
    the match.
    """
    patient = await _found(ctx, snapshot, incoming, named)
    ctx.trace.patient = patient.id
    if not ctx.services.open and (await ctx.services.narrow.policy(snapshot, patient.id)).closed:
        raise rejection("902")
    stored = orjson.loads(patient.body)
    ins = incoming.ins
    if ins and not any((each.get("system"), each.get("value")) == ins for each in stored.get("identifier", ())):
        raise rejection("904", "another patient than the one named")
    differing = compare(incoming.identity, stored) if incoming.identity else []
    if differing:
        raise rejection("904", "traits: " + ", ".join(differing))
    return patient.id


async def _found(ctx: Context, snapshot: Snapshot, incoming: Incoming, named: str) -> Version:
    visible = ctx.services.narrow.for_deposit(ctx.actor)
    if named and "|" not in named:
        one = await snapshot.read("Patient", named.removeprefix("Patient/"), visible=visible)
        live = [one] if one and not one.deleted else []
    else:
        live = await snapshot.search(Plan(("Patient",), _who(incoming, named), limit=2), visible=visible)
    live = [each for each in live if _is_open(orjson.loads(each.body))]
    if len(live) != 1:
        raise rejection("902")
    return live[0]


def _who(incoming: Incoming, named: str) -> Predicate:
    system, _, value = named.rpartition("|")
    if not named:
        system, value = incoming.ins or ("", "")
    if not value:
        raise rejection("903")
    return conj(TokenIs("identifier", system, value), Eq("rtype", "Patient"))


def _is_open(patient: dict[str, Any]) -> bool:
    return patient.get("active") is not False
