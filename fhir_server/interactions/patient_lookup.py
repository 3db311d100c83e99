"""Finding a patient by identity: exact INS and birth date, one or none (domain PAT-9, access §3.3).

A professional who may not read the record learns that it is open, under which id, and nothing else: enough to feed it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from fhir_server.consent.decide import NO_SPACE
from fhir_server.context import Context
from fhir_server.errors import Invalid, Issue, Malformed, NotFound
from fhir_server.fhir.identity import INS_SYSTEMS, differing_traits, traits_of
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate, TokenIs
from fhir_server.search.query import Query
from fhir_server.storage.interface import Snapshot, Version

_ONE_IDENTIFIER: Final = re.compile(r"[^|,\\]+\|[^|,\\]+").fullmatch
_WHOLE_DATE: Final = re.compile(r"(eq)?[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
# What shapes the answer and tells nothing of the one who is looked for.
_SHAPING: Final = frozenset({"_count", "_total", "_summary", "_elements", "_sort"})
_SUBSETTED: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def looks_up(ctx: Context, query: Query) -> bool:
    """Whether this search is a professional's search for a patient."""
    return query.plan.types == ("Patient",) and ctx.actor.role == "ps" and query.plan.patients is None


async def looked_up(ctx: Context, snapshot: Snapshot, query: Query) -> list[tuple[str, str, bytes]]:
    """The one open record that the identity finds, as the caller may see it; else none. (type, id, body)

    Raises Malformed unless the search is by one `identifier` with its system and one whole `birthdate`.
    """
    ctx.services.limits.lookup(ctx.actor)
    asked = dict(query.used)
    identifier, born = asked.get("identifier", ""), asked.get("birthdate", "")
    criteria = [name for name, _ in query.used if name not in _SHAPING]
    if criteria != ["birthdate", "identifier"] or not _ONE_IDENTIFIER(identifier) or not _WHOLE_DATE(born):
        text = "A patient is looked for by one identifier, with its system, and the whole birth date."
        raise Malformed(issues=[Issue("required", text, name) for name in ("identifier", "birthdate")])
    found = await open_record(ctx, snapshot, query.plan.where)
    if found is None:
        return []
    visible = await ctx.visible(snapshot, "Patient", found.id, letter="s")
    seen = await snapshot.read("Patient", found.id, visible=visible)
    return [("Patient", found.id, seen.body if seen else _existence(found, identifier))]


def names_a_patient(ctx: Context, type_: str, criteria: Sequence[tuple[str, str]]) -> bool:
    """Whether a conditional reference is a depositor's naming of a patient: by one identifier, birth date or not."""
    asked = dict(criteria)
    fits = sorted(name for name, _ in criteria) in (["identifier"], ["birthdate", "identifier"])
    one = fits and _ONE_IDENTIFIER(asked["identifier"]) and _WHOLE_DATE(asked.get("birthdate", "0000-00-00"))
    return type_ == "Patient" and ctx.actor.role == "ps" and bool(one)


async def open_record(ctx: Context, snapshot: Snapshot, where: Predicate) -> Version | None:
    """The one Patient that a depositor finds, or a gateway names, if their record is open."""
    visible = ctx.services.narrow.for_naming(ctx.actor)
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


async def named_patient(ctx: Context, snapshot: Snapshot, patient: dict[str, Any]) -> Version:
    """The open record of a Patient whom a depositor only names, by INS and traits: a deposit makes no patient.

    Raises Invalid without an INS, or when the record has other traits (PAT-8: which, is not told); NotFound when there
    is no open record.
    """
    named = [each for each in patient.get("identifier", ()) if each.get("system") in INS_SYSTEMS and each.get("value")]
    if len(named) != 1:
        raise Invalid(issues=[Issue("required", "One INS names the patient.", "Patient.identifier")])
    found = await open_record(ctx, snapshot, TokenIs("identifier", named[0]["system"], named[0]["value"]))
    if found is None:
        raise NotFound(NO_SPACE, expression="Patient.identifier")
    said, kept = traits_of(patient), traits_of(orjson.loads(found.body))
    if set(differing_traits(said, kept)) - set(said.missing()):
        raise Invalid(issues=[Issue("business-rule", "The traits are not those of the record.", "Patient")])
    return found
