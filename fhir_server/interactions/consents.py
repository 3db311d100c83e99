"""A Consent is a directive of the closed set D01 to D10, or it is refused (access §3.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from fhir_server.auth.grants import revoke_app
from fhir_server.consent.directives import (
    Directive,
    check_performer,
    check_target,
    check_update,
    parse_directive,
)
from fhir_server.context import Context
from fhir_server.fhir.dates import format_instant
from fhir_server.fhir.references import parse_reference
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.facts import Facts
from fhir_server.storage.interface import Snapshot, Version, Write


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
    # What it is about stays what it was; it may be gone by now, which keeps nobody from taking their word back.
    for target in (directive.instance, directive.team) if before is None else ():
        if target:
            check_target(directive, target, siblings.facts.get(target) or await seen(ctx, snapshot, target))
    return {"organization": [{"display": ctx.settings.custodian}], "dateTime": received}


async def end_shares(ctx: Context, writes: Iterable[Write]) -> None:
    """End the tokens of every application with which nothing of a record is shared any more, now that these are
    written (D09, access §3.4)."""
    for directive in map(_changed_share, writes):
        if directive is None or directive.actor is None:
            continue
        async with ctx.store.snapshot() as snapshot:
            policy = await ctx.services.narrow.policy(snapshot, directive.patient)
        if all(each.actor != directive.actor for each in policy.live(ctx.now(), "D09")):
            client = directive.actor.removeprefix("client:")
            await revoke_app(ctx.store.ledger, client, directive.patient, now=ctx.now())


def _changed_share(write: Write) -> Directive | None:
    """The D09 of which a write is a later version."""
    if write.type != "Consent" or write.version == 1 or write.deleted:
        return None
    directive = parse_directive(orjson.loads(write.body))
    return directive if directive.id == "D09" else None


async def seen(ctx: Context, snapshot: Snapshot, link: str) -> Facts | None:
    """The facts of a live resource that the caller may read."""
    reference = parse_reference(link)
    visible = await ctx.services.narrow.for_instance(snapshot, ctx.actor, reference.type, reference.id)
    found = await snapshot.read(reference.type, reference.id, visible=visible)
    return None if found is None or found.deleted else found.facts
