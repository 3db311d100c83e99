"""Patient/[id]/$declare-emergency: bris de glace, or medical regulation (Centre 15) (spec access §7).

It opens the record to this session for a time, as a care team would see it: no mask and no block is pierced, but that
regulation does not ask for the patient's authorisation. The holder and the médecin traitant are told, with the reason.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fhir_server.consent.data_time import PARIS
from fhir_server.consent.openings import BRIS_DE_GLACE, CENTRE_15, EMERGENCIES, REGULATION, Opening
from fhir_server.consent.policy import RecordPolicy
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Invalid, Issue
from fhir_server.interactions.draft import retried
from fhir_server.interactions.notices import notice
from fhir_server.operations.opening import MINUTE, declare, open_policy, parameters, professional
from fhir_server.record.emergencies import Emergency, await_review
from fhir_server.search.facts import INVISIBLE_REPRESENTANTS_LEGAUX
from fhir_server.storage.interface import Write

_SHORTEST = 10
_WORDS = {BRIS_DE_GLACE: ("bris de glace", "bris de glace"), CENTRE_15: ("régulation médicale", "medical regulation")}


async def run(ctx: Context, request: Request) -> Answer:
    """200 with the end of the opening. 422 without a reason, 403 where the patient opposes it, 404 without a record."""
    patient = professional(ctx, request)
    asked = parameters(ctx, request, "reason", "mode")
    mode = asked.get("mode", ctx.actor.mode if ctx.actor.mode in EMERGENCIES else BRIS_DE_GLACE)
    if mode not in EMERGENCIES:
        raise _refused("mode", f"One of {BRIS_DE_GLACE} and {CENTRE_15}.")
    if mode == CENTRE_15 and REGULATION not in ctx.actor.keys:
        raise Forbidden("Only a professional with the right of medical regulation does that.")
    reason = str(asked.get("reason", "")).strip()
    if len(reason) < _SHORTEST:
        raise _refused("reason", f"An emergency has a reason, of {_SHORTEST} characters at least.")

    opening = Opening(mode, patient, ctx.now() + ctx.settings.emergency_minutes * MINUTE)
    declared = Emergency.of(ctx.actor, opening, ctx.now())

    async def attempt() -> Answer:
        async with ctx.store.snapshot() as snapshot:
            policy = await open_policy(ctx, snapshot, patient)
        if any(each.purpose == mode for each in policy.live(ctx.now(), "D02")):
            raise Forbidden("The patient opposes this access.")
        ctx.trace.reason = reason
        # Before it opens: one that nobody could look into later does not happen.
        await await_review(ctx.store.ledger, declared)
        return await declare(ctx, policy, opening, _told(ctx, policy, opening, reason))

    answer: Answer = await retried(attempt)
    return answer


def _told(ctx: Context, policy: RecordPolicy, opening: Opening, reason: str) -> Write:
    """The notice for the holder and the médecin traitant; in a secret session not for the representatives."""
    actor, french, english = ctx.actor, *_WORDS[opening.regime]
    since, until = _clock(ctx.now()), _clock(opening.until)
    who = f"{actor.name} ({actor.structure_name})" if actor.structure_name else actor.name
    texts = (
        f"{who} a ouvert votre dossier en urgence ({french}) du {since} au {until}. Motif déclaré : {reason}",
        f"{who} opened your record in an emergency ({english}) from {since} to {until}. Declared reason: {reason}",
    )
    treating = policy.practitioners | {str(each.actor) for each in policy.live(ctx.now(), "D06")}
    hidden = INVISIBLE_REPRESENTANTS_LEGAUX if actor.secret else 0
    return notice(ctx, policy.patient, "emergency", texts, others=treating, vis=hidden)


def _clock(time: int) -> str:
    """A moment on the clocks of Paris."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time)
    return moment.astimezone(PARIS).strftime("%d/%m/%Y %H:%M")


def _refused(name: str, text: str) -> Invalid:
    place = f"Parameters.parameter.where(name='{name}').value"
    return Invalid(issues=[Issue("required" if name == "reason" else "value", text, place)])
