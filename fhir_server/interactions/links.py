"""What a written resource may point to, where pointing would give a right, or tell what is there.

Content has the visibility of the documents that point to it (access §3.1), so pointing to it is reading it, for
everyone who sees the new document: only content of the same transaction, or content that the caller sees and that no
other document holds, may be named. A carrier (a Provenance, a Composition) is as visible as all that it points to, so
it may point only to what its writer sees. What is hidden is refused as what is unknown.
"""

from __future__ import annotations

from typing import Any

from fhir_server.consent.compartment import links_of, patient_of, said_in
from fhir_server.consent.kinds import kind_of, types
from fhir_server.context import Context
from fhir_server.errors import Invalid, Issue
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.facts import Facts
from fhir_server.search.predicate import AnyRef, Eq, conj, disj, negate
from fhir_server.storage.interface import Snapshot, Version


async def check_links(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], facts: Facts, siblings: Siblings
) -> None:
    """Raise Invalid when the resource points to content that it may not hold."""
    for content in resource.get("content", ()) if facts.rtype == "DocumentReference" else ():
        if str(content.get("attachment", {}).get("url", "")).startswith("urn:"):
            # It named an entry of a Bundle, and there is none (DOC-3).
            raise _unknown("DocumentReference.content.attachment.url")
    for link in sorted(facts.links):
        await ctx.pace.rest()
        if not link.startswith("Binary/"):
            continue
        if siblings.holders.setdefault(link, facts.lineage) != facts.lineage:
            raise _unknown(f"{facts.rtype}.content.attachment.url")
        if link not in siblings.facts and not await _may_hold(ctx, snapshot, link, facts):
            raise _unknown(f"{facts.rtype}.content.attachment.url")


async def _may_hold(ctx: Context, snapshot: Snapshot, link: str, facts: Facts) -> bool:
    id_ = link.partition("/")[2]
    elsewhere = AnyRef(negate(Eq("lineage", facts.lineage)))
    visible = await ctx.services.narrow.for_instance(snapshot, ctx.actor, "Binary", id_)
    found = await snapshot.read("Binary", id_, visible=conj(visible, negate(elsewhere)))
    return found is not None and not found.deleted


async def patients_through(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], siblings: Siblings
) -> frozenset[str]:
    """The patients of what a carrier points to; empty for every other type. Raises Invalid for a link into a record
    that leads nowhere, as far as the caller sees."""
    type_ = resource["resourceType"]
    if ctx.services.open or type_ not in types().carriers:
        return frozenset()
    patients = set()
    # Whose record it goes into needs no right to see the Patient: feeding is not reading (DOC-25).
    own = f"Patient/{patient_of(ctx.services.definitions, resource, base=ctx.base)}"
    for link in sorted(links_of(said_in(resource), base=ctx.base) - {own}):
        await ctx.pace.rest()
        found = siblings.facts.get(link) or await known(ctx, snapshot, link)
        if found is None and kind_of(link.partition("/")[0]) == "record":
            raise _unknown(type_)
        if found and found.patient:
            patients.add(found.patient)
    return frozenset(patients)


async def known(ctx: Context, snapshot: Snapshot, link: str) -> Facts | None:
    """The facts of what a link leads to, as far as the caller sees or deposited it."""
    found = await known_version(ctx, snapshot, link)
    return found.facts if found else None


async def known_version(ctx: Context, snapshot: Snapshot, link: str) -> Version | None:
    """The live version of what a link leads to, as far as the caller sees or deposited it."""
    type_, _, id_ = link.partition("/")
    visible = await ctx.services.narrow.for_instance(snapshot, ctx.actor, type_, id_)
    found = await snapshot.read(type_, id_, visible=disj(visible, ctx.services.narrow.own(ctx.actor)))
    return None if found is None or found.deleted else found


def _unknown(place: str) -> Invalid:
    return Invalid(issues=[Issue("not-found", "What this points to is not known to the server.", place)])
