"""$review-emergencies: the declared emergencies for an administrator to look into, without anything of the record.

POST lists those that wait, and with `reviewed` (the id of one, repeated) takes them out of the queue first.
"""

from __future__ import annotations

from typing import Any

import orjson

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Invalid, Issue, Malformed
from fhir_server.fhir.dates import format_instant
from fhir_server.fhir.json import parse
from fhir_server.record.emergencies import Emergency, emergencies, review


async def run(ctx: Context, request: Request) -> Answer:
    """200 with the queue as it is then, oldest first; 403 for all but administrators; 422 for an unknown id."""
    if ctx.actor.role != "admin":
        raise Forbidden("Only an administrator looks into that.")
    for index, id_ in enumerate(_reviewed(ctx, request)):
        if await review(ctx.store.ledger, id_, ctx.actor, now=ctx.now()) is None:
            place = f"Parameters.parameter[{index}].valueString"
            raise Invalid(issues=[Issue("not-found", "There is no such declaration.", place)])
    waiting = await emergencies(ctx.store.ledger, now=ctx.now())
    await ctx.record()
    told = [{"name": "emergency", "part": _parts(each)} for each in waiting]
    return Answer(200, orjson.dumps({"resourceType": "Parameters", "parameter": told} if told else _NONE))


_NONE = {"resourceType": "Parameters"}


def _reviewed(ctx: Context, request: Request) -> list[str]:
    if not request.body:
        return []
    sent = ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "Parameters")
    for index, each in enumerate(sent.get("parameter", ())):
        if each["name"] != "reviewed" or "valueString" not in each:
            text = "Expected are `reviewed`, the ids of declarations."
            raise Malformed(text, expression=f"Parameters.parameter[{index}]")
    return [each["valueString"] for each in sent.get("parameter", ())]


def _parts(emergency: Emergency) -> list[dict[str, Any]]:
    values = {
        "id": ("valueString", emergency.id),
        "mode": ("valueCode", emergency.mode),
        "declared": ("valueInstant", format_instant(emergency.time)),
        "until": ("valueInstant", format_instant(emergency.until)),
        "patient": ("valueReference", {"reference": f"Patient/{emergency.patient}"}),
        "rpps": ("valueString", emergency.rpps),
        "name": ("valueString", emergency.name),
        "structure": ("valueString", emergency.structure),
        "client": ("valueString", emergency.client),
        "jti": ("valueString", emergency.jti),
    }
    return [{"name": name, kind: value} for name, (kind, value) in values.items() if value]
