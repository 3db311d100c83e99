"""Opening a record for a time: who asks, for which record, and the opening itself (spec access §7)."""

from __future__ import annotations

from typing import Any

import orjson

from fhir_server.auth.tokens import amend
from fhir_server.consent.openings import Opening, opened
from fhir_server.consent.policy import RecordPolicy
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Malformed, NotFound
from fhir_server.fhir.dates import format_instant
from fhir_server.fhir.json import parse
from fhir_server.storage.interface import Commit, PolicyGuard, Snapshot, Write

MINUTE = 60_000_000


def parameters(ctx: Context, request: Request, *names: str) -> dict[str, Any]:
    """The `Parameters` of a request: name to value, each once. Raises Malformed for one that is not known."""
    if not request.body:
        return {}
    sent = ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "Parameters")
    found: dict[str, Any] = {}
    for index, each in enumerate(sent.get("parameter", ())):
        value = next((each[key] for key in each if key.startswith("value")), None)
        if each["name"] not in names or each["name"] in found or value is None:
            raise Malformed("This parameter is not understood here.", expression=f"Parameters.parameter[{index}]")
        found[each["name"]] = value
    return found


def professional(ctx: Context, request: Request) -> str:
    """The patient whose record a professional asks to open. Raises Forbidden for every other caller."""
    patient = request.path[1]
    ctx.trace.type, ctx.trace.id = "Patient", patient
    ctx.allow("Patient", "r")
    if ctx.actor.role != "ps":
        raise Forbidden("Only a professional opens a record so.")
    return patient


async def open_policy(ctx: Context, snapshot: Snapshot, patient: str) -> RecordPolicy:
    """The policy of a record that is open; NotFound for a closed one as for an unknown one."""
    await ctx.about(snapshot, "Patient", patient)
    policy = await ctx.services.narrow.policy(snapshot, patient)
    if policy.closed or not policy.readable:
        raise NotFound
    return policy


async def declare(ctx: Context, policy: RecordPolicy, opening: Opening, *notices: Write) -> Answer:
    """Log it and tell of it, then open: should the last step fail, nothing is open. Raises Stale when the policy has
    changed meanwhile."""
    now = ctx.now()
    ctx.actor = opened(ctx.actor, opening, now)
    guards = (PolicyGuard(policy.patient, policy.version), ctx.services.index.guard)
    await ctx.store.commit(Commit(writes=notices, guards=guards, audits=ctx.audits()))
    await amend(ctx.store.ledger, ctx.actor.session, lambda actor: opened(actor, opening, now), now)
    told = [
        {"name": "regime", "valueCode": opening.regime},
        {"name": "patient", "valueReference": {"reference": f"Patient/{opening.patient}"}},
        {"name": "until", "valueInstant": format_instant(opening.until)},
    ]
    return Answer(200, orjson.dumps({"resourceType": "Parameters", "parameter": told}))
