"""A document in the place of another: its lineage is taken over, and the one before it ends (DOC-6, DOC-8)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from fhir_server.consent.compartment import patient_of
from fhir_server.consent.decide import may_replace
from fhir_server.context import Context
from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.references import parse_reference
from fhir_server.interactions.links import known_version
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TokenIs, disj
from fhir_server.storage.interface import Snapshot, Version

_PLACE: Final = "DocumentReference.relatesTo"


async def replaced_document(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], before: Version | None
) -> Version | None:
    """The stored document that this one newly replaces; None when it replaces nothing, or nothing new.

    Raises Invalid unless it is known to the caller and still current, Forbidden unless it is theirs.
    """
    if resource["resourceType"] != "DocumentReference" or ctx.services.open:
        return None
    targets = replaced_targets(resource)
    if not targets or (before and targets == replaced_targets(orjson.loads(before.body))):
        return None
    if len(targets) > 1:
        raise Invalid("A document replaces one document.", expression=_PLACE)
    if "reference" not in targets[0]:
        found = await _identified(ctx, snapshot, resource, targets[0].get("identifier", {}))
        if found is None:
            return None
    else:
        reference = parse_reference(targets[0]["reference"])
        of_document = reference.type == "DocumentReference"
        found = await known_version(ctx, snapshot, f"DocumentReference/{reference.id}") if of_document else None
    if found is None:
        raise Invalid(issues=[Issue("not-found", "The replaced document is not known to the server.", _PLACE)])
    may_replace(ctx.actor, found.facts)
    if orjson.loads(found.body).get("status") != "current":
        raise Invalid(issues=[Issue("business-rule", "The replaced document is not current.", _PLACE)])
    return found


def replaced_targets(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """What `relatesTo` says is replaced."""
    return [
        each["target"]
        for each in resource.get("relatesTo", ())
        if each.get("code") == "replaces" and each.get("target")
    ]


async def _identified(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], identifier: dict[str, Any]
) -> Version | None:
    """The document of the same record that a logical target names; None when the caller knows of none: then it names
    what is not here, takes over nothing and ends nothing."""
    patient = patient_of(ctx.services.definitions, resource, base=ctx.base)
    if patient is None or not identifier.get("value"):
        return None
    seen = await ctx.services.narrow.for_search(snapshot, ctx.actor, (patient,), only=("DocumentReference",))
    where = TokenIs("identifier", identifier.get("system", ""), identifier["value"])
    plan = Plan(("DocumentReference",), where, patients=(patient,), limit=1)
    found = await snapshot.search(plan, visible=disj(seen, ctx.services.narrow.own(ctx.actor)))
    return found[0] if found else None
