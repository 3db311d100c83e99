"""Whose document is it? INS and traits answer, or the deposit is refused: never a wrong patient (importers §6)."""

from __future__ import annotations

import orjson

from fhir_server.context import Context
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Eq, TokenIs, conj
from fhir_server.storage.interface import Snapshot
from importers.cda.datatypes import Key
from importers.cda.patient import PatientIdentity, compare
from importers.issues import rejection


async def subject_of(ctx: Context, snapshot: Snapshot, identity: PatientIdentity, ins: Key) -> str:
    """The id of the one open record of that INS.

    Raises Invalid: 902 when there is none or it is closed, 904 when the INS is known with other traits; the answer
    never says which value the record holds. Feeding a record is not reading it: any professional may, so the look-up
    sees every Patient, and nothing of it leaves but the match.
    """
    where = conj(TokenIs("identifier", ins.system, ins.value), Eq("rtype", "Patient"))
    found = await snapshot.search(
        Plan(("Patient",), where, limit=2), visible=ctx.services.narrow.for_deposit(ctx.actor)
    )
    live = [each for each in found if orjson.loads(each.body).get("active") is not False]
    if len(live) != 1:
        raise rejection("902")
    patient = live[0]
    ctx.trace.patient = patient.id
    if not ctx.services.open and (await ctx.services.narrow.policy(snapshot, patient.id)).closed:
        raise rejection("902")
    differing = compare(identity, orjson.loads(patient.body))
    if differing:
        raise rejection("904", "traits: " + ", ".join(differing))
    return patient.id
