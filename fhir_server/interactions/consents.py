"""A Consent is a directive of the closed set D01 to D10, or it is refused (access §3.4)."""

from __future__ import annotations

from typing import Any

import orjson

from fhir_server.consent.directives import check_performer, check_target, check_update, parse_directive
from fhir_server.context import Context
from fhir_server.fhir.dates import format_instant
from fhir_server.fhir.references import parse_reference
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.facts import Facts
from fhir_server.storage.interface import Snapshot, Version


async def consent_changes(
    ctx: Context,
    snapshot: Snapshot,
    resource: dict[str, Any],
    before: Version | None,
    siblings: Siblings,
) -> dict[str, Any]:
    """What the server sets in a directive: the organisation that keeps the record, and when it was received.

    Raises Invalid naming every element that is not in the shape, or a target that is not in this patient's record.
    """
    directive = parse_directive(resource)
    received = format_instant(ctx.now())
    if before is None:
        check_performer(directive, ctx.actor)
    else:
        earlier = orjson.loads(before.body)
        check_update(earlier, resource)
        received = earlier["dateTime"]
    for target in (directive.instance, directive.team):
        if target:
            check_target(directive, target, siblings.facts.get(target) or await seen(ctx, snapshot, target))
    return {"organization": [{"display": ctx.settings.custodian}], "dateTime": received}


async def seen(ctx: Context, snapshot: Snapshot, link: str) -> Facts | None:
    """The facts of a live resource that the caller may read."""
    reference = parse_reference(link)
    visible = await ctx.services.narrow.for_instance(snapshot, ctx.actor, reference.type, reference.id)
    found = await snapshot.read(reference.type, reference.id, visible=visible)
    return None if found is None or found.deleted else found.facts
