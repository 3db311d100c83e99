"""Patient/[id]/$attest-consent: a professional attests that the patient, who is there, consents (spec access §3.2).

It opens the record to this session, for the time of a consultation. It is no directive of the patient's: it lives in
the session and ends with it.
"""

from __future__ import annotations

from urllib.parse import urlencode

from fhir_server.consent.keys import key_of
from fhir_server.consent.openings import CONSULT, Opening
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Invalid, Issue
from fhir_server.interactions.draft import retried
from fhir_server.operations.opening import MINUTE, declare, open_policy, parameters, professional

_NEEDS_GRANT = "In this sector the patient opens the record themselves, by a grant."


async def run(ctx: Context, request: Request) -> Answer:
    """200 with the end of the opening. 403 in a sector that needs the patient's own grant, 422 for too long a time."""
    patient = professional(ctx, request)
    asked = parameters(ctx, request, "minutes", "beneficiary")
    if ctx.actor.sector in _listed(ctx.settings.express_consent_sectors):
        raise Forbidden(_NEEDS_GRANT)
    most = ctx.settings.consult_minutes
    minutes = asked.get("minutes", most)
    if type(minutes) is not int or not 1 <= minutes <= most:
        raise _refused("minutes", f"From 1 to {most} minutes.")
    said = {"minutes": str(minutes)}
    if "beneficiary" in asked:
        key = key_of(asked["beneficiary"]) if isinstance(asked["beneficiary"], dict) else None
        if key is None or not key.startswith("rpps:"):
            raise _refused("beneficiary", "A professional is named by the RPPS identifier.")
        said["beneficiary"] = key
    ctx.trace.query = urlencode(said)

    async def attempt() -> Answer:
        async with ctx.store.snapshot() as snapshot:
            policy = await open_policy(ctx, snapshot, patient)
        return await declare(ctx, policy, Opening(CONSULT, patient, ctx.now() + minutes * MINUTE))

    answer: Answer = await retried(attempt)
    return answer


def _refused(name: str, text: str) -> Invalid:
    place = f"Parameters.parameter.where(name='{name}').value"
    return Invalid(issues=[Issue("business-rule", text, place)])


def _listed(text: str) -> set[str]:
    return {each.strip() for each in text.split(",")} - {""}
