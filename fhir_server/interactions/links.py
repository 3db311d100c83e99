"""What a written resource may point to, where pointing would give a right or move a document.

A Binary has the visibility of the documents that point to it (access §3.1), so pointing to one is reading it: only a
Binary of the same transaction, or one that the caller sees and that no other patient's document holds, may be named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fhir_server.consent.compartment import links_of
from fhir_server.consent.decide import may_replace
from fhir_server.consent.kinds import types
from fhir_server.context import Context
from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.references import parse_reference
from fhir_server.search.facts import Facts
from fhir_server.search.predicate import AnyRef, Eq, conj, disj, negate
from fhir_server.storage.interface import Snapshot, Version

if TYPE_CHECKING:
    from fhir_server.interactions.draft import Siblings


async def check_links(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], facts: Facts, siblings: Siblings | None
) -> None:
    """Raise Invalid when the resource points to content that the caller could not read; hidden reads as unknown."""
    for link in sorted(facts.links):
        type_, _, id_ = link.partition("/")
        if type_ != "Binary" or (siblings and link in siblings.facts):
            continue
        elsewhere = AnyRef(negate(Eq("patient", facts.patient)))
        visible = conj(await ctx.services.narrow.for_instance(snapshot, ctx.actor, type_, id_), negate(elsewhere))
        found = await snapshot.read(type_, id_, visible=visible)
        if found is None or found.deleted:
            text = "This content is not known to the server."
            raise Invalid(issues=[Issue("not-found", text, f"{resource['resourceType']}.content.attachment.url")])


async def replaced_document(
    ctx: Context,
    snapshot: Snapshot,
    resource: dict[str, Any],
    before: Version | None,
    siblings: Siblings | None,
) -> Facts | None:
    """The facts of the document that this new one replaces.

    Raises Invalid unless it is known and this caller's to see or correct, Forbidden unless it is theirs (DOC-6).
    """
    if resource["resourceType"] != "DocumentReference" or before or ctx.services.open:
        return None
    targets = [each["target"] for each in resource.get("relatesTo", ()) if each["code"] == "replaces"]
    if len(targets) > 1:
        raise Invalid("A document replaces one document.", expression="DocumentReference.relatesTo")
    if not targets or "reference" not in targets[0]:
        return None
    reference = parse_reference(targets[0]["reference"])
    found = None
    if reference.type == "DocumentReference":
        found = await _linked(ctx, snapshot, f"{reference.type}/{reference.id}", siblings)
    if found is None:
        text = "The replaced document is not known to the server."
        raise Invalid(issues=[Issue("not-found", text, "DocumentReference.relatesTo.target")])
    may_replace(ctx.actor, found)
    return found


async def patients_through(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], siblings: Siblings | None
) -> frozenset[str]:
    """The patients of what a carrier (a Provenance, a Composition) points to; empty for every other type."""
    if resource["resourceType"] not in types().carriers:
        return frozenset()
    found = [await _linked(ctx, snapshot, link, siblings) for link in sorted(links_of(resource, base=ctx.base))]
    return frozenset(each.patient for each in found if each and each.patient)


async def _linked(ctx: Context, snapshot: Snapshot, link: str, siblings: Siblings | None) -> Facts | None:
    """The facts of what a link leads to, as far as the caller sees or deposited it."""
    if siblings and link in siblings.facts:
        return siblings.facts[link]
    type_, _, id_ = link.partition("/")
    visible = await ctx.services.narrow.for_instance(snapshot, ctx.actor, type_, id_)
    found = await snapshot.read(type_, id_, visible=disj(visible, ctx.services.narrow.own(ctx.actor)))
    return None if found is None or found.deleted else found.facts
