"""The documents of a record that a caller knows of: those it sees, and those it deposited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_server.context import Context
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate, disj
from fhir_server.storage.interface import Snapshot, Version

_MOST: Final = 50


async def documents_by(ctx: Context, snapshot: Snapshot, patient: str, where: Predicate) -> Sequence[Version]:
    """At most 50 that satisfy `where`; what is hidden from the caller is as if it had never come (access §4)."""
    seen = await ctx.services.narrow.for_search(snapshot, ctx.actor, (patient,), only=("DocumentReference",))
    visible = disj(seen, ctx.services.narrow.own(ctx.actor))
    return await snapshot.search(Plan(("DocumentReference",), where, patients=(patient,), limit=_MOST), visible=visible)
