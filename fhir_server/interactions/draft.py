"""One resource made ready to be written: judged, indexed and stamped, but not yet committed.

Everything a decision was made on is guarded: if the policy of the record, or the version that is replaced, changes
before the commit, the store answers Stale and the interaction starts again from a fresh snapshot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fhir_server.consent.decide import (
    check_document,
    check_document_update,
    check_sender,
    check_team_update,
    may_write,
)
from fhir_server.consent.displays import without_displays
from fhir_server.consent.facts import facts_of
from fhir_server.consent.labels import canonical_labels
from fhir_server.context import Context
from fhir_server.errors import Conflict, Issue
from fhir_server.fhir.splice import with_identity, with_members
from fhir_server.interactions.consents import consent_changes
from fhir_server.interactions.links import check_links, patients_through
from fhir_server.interactions.replacement import replaced_document
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.storage.interface import (
    AuditRow,
    Commit,
    Guard,
    PolicyGuard,
    Snapshot,
    Stale,
    Taken,
    Version,
    Write,
)

# What a change of these says is part of the policy of a record: its version is raised with it (access §5).
POLICY_TYPES: Final = frozenset({"Consent", "CareTeam", "RelatedPerson", "Patient"})
_ATTEMPTS: Final = 8
# Prefix of a key of `_keys` -> what to say when it is taken.
_ONCE: Final = {
    "ins": ("An active patient with this INS is here already.", "Patient.identifier"),
    "document": ("You have deposited a document with this identifier already.", "DocumentReference.masterIdentifier"),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A write with all that must still hold when it is committed. `ends`: the document that it replaces."""

    write: Write
    guards: tuple[Guard | PolicyGuard, ...] = ()
    bump: frozenset[str] = frozenset()
    ends: Version | None = None


async def draft(
    ctx: Context,
    snapshot: Snapshot,
    *,
    interaction: str,
    body: bytes,
    resource: dict[str, Any],
    id: str,
    before: Version | None = None,
    siblings: Siblings,
) -> Draft:
    """The write of a valid resource. Raises Forbidden, NotFound or Invalid, as rights and the record say."""
    type_ = resource["resourceType"]
    if not ctx.services.open:
        body, resource = _with(body, resource, without_displays(resource, base=ctx.base))
    replaced = await replaced_document(ctx, snapshot, resource, before)
    facts = facts_of(
        ctx.services.definitions,
        resource,
        id=id,
        depositor=ctx.actor,
        now=ctx.now(),
        before=before.facts if before else None,
        replaced=replaced.facts if replaced else None,
        base=ctx.base,
        through=await patients_through(ctx, snapshot, resource, siblings),
    )
    version = before.version + 1 if before else 1
    ctx.trace.shows(facts, version)
    guards = await _decide(ctx, snapshot, interaction, type_, before, facts, resource)
    if not ctx.services.open:
        check_sender(ctx.actor, resource)
        check_document(ctx.actor, resource, facts, base=ctx.base)
        await check_links(ctx, snapshot, resource, facts, siblings)
        body, resource = await _completed(ctx, snapshot, body, resource, facts, before, siblings)
    stamped, stamp = with_identity(body, id, version)
    write = Write(
        type=type_,
        id=id,
        version=version,
        body=stamped,
        facts=facts,
        entries=extract(ctx.services.registry, type_, resource, ctx.base),
        stamp=stamp,
        keys=_keys(ctx, resource, facts),
    )
    siblings.facts[f"{type_}/{id}"] = facts
    return Draft(write, guards, _bump(type_, facts), replaced)


async def draft_end(ctx: Context, snapshot: Snapshot, before: Version, siblings: Siblings) -> Draft:
    """The replaced document as superseded: a version of its own, in the same commit, and no interaction of its own."""
    body = with_members(before.body, {"status": "superseded"})
    return await draft(
        ctx.entry(),
        snapshot,
        interaction="update",
        body=body,
        resource=orjson.loads(body),
        id=before.id,
        before=before,
        siblings=siblings,
    )


async def draft_delete(ctx: Context, snapshot: Snapshot, before: Version) -> Draft:
    """The deletion of a resource that the caller sees, or may correct."""
    ctx.trace.shows(before.facts, before.version)
    guards = await _decide(ctx, snapshot, "delete", before.type, before, before.facts, {})
    write = Write(before.type, before.id, before.version + 1, b"", before.facts, deleted=True)
    return Draft(write, guards, _bump(before.type, before.facts))


async def commit(ctx: Context, *made: Draft) -> Version:
    """Write the drafts and the line of the access log; the version of the first. Raises Stale or Conflict."""
    try:
        return (await commit_all(ctx, made, ctx.audits()))[0]
    except Taken as error:
        raise duplicate(error) from error


def duplicate(error: Taken) -> Conflict:
    """Which rule of uniqueness a write breaks, in words for its client."""
    kind = error.key.partition(" ")[0]
    text, place = _ONCE[kind]
    return Conflict(issues=[Issue("duplicate", text, place)])


async def commit_all(ctx: Context, drafts: Sequence[Draft], audits: Sequence[AuditRow]) -> Sequence[Version]:
    """All drafts and their access log in one commit."""
    return await ctx.store.commit(
        Commit(
            writes=tuple(each.write for each in drafts),
            guards=tuple(dict.fromkeys(guard for each in drafts for guard in each.guards)),
            bump=frozenset().union(*(each.bump for each in drafts)),
            audits=tuple(audits),
        )
    )


async def retried(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Run an attempt again while the record moves under it; the last Stale reaches the caller as a 409."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await attempt()
        except Stale:
            continue
    return await attempt()


async def _decide(
    ctx: Context,
    snapshot: Snapshot,
    interaction: str,
    type_: str,
    before: Version | None,
    facts: Facts,
    resource: dict[str, Any],
) -> tuple[Guard | PolicyGuard, ...]:
    if ctx.services.open:
        return ()
    # What an application writes that is nobody's is decided by the policy of the record its token is bound to.
    record = facts.patient or (ctx.actor.patients[0] if ctx.actor.role == "app" and ctx.actor.patients else None)
    policy = await ctx.services.narrow.policy(snapshot, record) if record else None
    may_write(ctx.actor, policy, interaction, type_, before.facts if before else None, facts, now=ctx.now())
    if before and resource and not before.deleted:
        earlier = orjson.loads(before.body)
        check_document_update(ctx.actor, earlier, resource)
        if policy:
            check_team_update(ctx.actor, policy, earlier, resource, now=ctx.now(), base=ctx.base)
    return (PolicyGuard(record, policy.version),) if record and policy else ()


async def _completed(
    ctx: Context,
    snapshot: Snapshot,
    body: bytes,
    resource: dict[str, Any],
    facts: Facts,
    before: Version | None,
    siblings: Siblings,
) -> tuple[bytes, dict[str, Any]]:
    """The resource with what the server says in it: labels in their right spelling, a directive's envelope."""
    if resource["resourceType"] == "Consent":
        changes = await consent_changes(ctx, snapshot, resource, before, siblings)
    else:
        changes = canonical_labels(resource, facts.vis)
    return _with(body, resource, changes)


def _with(body: bytes, resource: dict[str, Any], changes: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    return (with_members(body, changes), {**resource, **changes}) if changes else (body, resource)


def _bump(type_: str, facts: Facts) -> frozenset[str]:
    return frozenset({facts.patient}) if type_ in POLICY_TYPES and facts.patient else frozenset()


def _keys(ctx: Context, resource: dict[str, Any], facts: Facts) -> tuple[str, ...]:
    """What may exist once: an INS among Patients (PAT-11), a document's id among one depositor's (access §4)."""
    if resource["resourceType"] == "Patient":
        return tuple(
            f"ins {each.get('system')}|{each.get('value')}"
            for each in resource.get("identifier", ())
            if str(each.get("system", "")).startswith("urn:oid:1.2.250.1.213.1.4.")
            and each.get("use") != "old"
            and resource.get("active") is not False
        )
    if resource["resourceType"] == "DocumentReference" and "masterIdentifier" in resource and not ctx.services.open:
        master = resource["masterIdentifier"]
        return (f"document {facts.patient} {ctx.actor.reference} {master.get('system')}|{master.get('value')}",)
    return ()
