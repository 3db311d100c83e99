"""One resource made ready to be written: judged, indexed and stamped, but not yet committed.

Everything a decision was made on is guarded: if the policy of the record, or the version that is replaced, changes
before the commit, the store answers Stale and the interaction starts again from a fresh snapshot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from fhir_server.consent.compartment import Said, said_in
from fhir_server.consent.decide import authored, check_document, check_sender, check_team_update, may_write
from fhir_server.consent.displays import without_displays
from fhir_server.consent.document_changes import check_document_update, check_lowered, ends
from fhir_server.consent.facts import facts_of
from fhir_server.consent.labels import canonical_labels
from fhir_server.context import Context
from fhir_server.errors import Conflict, Issue
from fhir_server.fhir.splice import with_identity, with_members
from fhir_server.interactions.consents import consent_changes, end_shares
from fhir_server.interactions.deposits import check_deposit
from fhir_server.interactions.derived import following
from fhir_server.interactions.documents import as_submitted
from fhir_server.interactions.fhir_documents import check_held, held_content, of_document
from fhir_server.interactions.links import check_links, patients_through
from fhir_server.interactions.notices import announcements
from fhir_server.interactions.replacement import replaced_document
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.registry import SearchRegistry
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
# Prefix of a key of `unique_keys`: what to say when it is taken.
_UNIQUE: Final = {
    "ins": ("An active patient with this INS is here already.", "Patient.identifier"),
    "document": ("You have deposited a document with this identifier already.", "DocumentReference.masterIdentifier"),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A write with all that must still hold when it is committed. `ends`: the document that it replaces;
    `beside`: what the server writes with it."""

    write: Write
    guards: tuple[Guard | PolicyGuard, ...] = ()
    bump: frozenset[str] = frozenset()
    ends: Version | None = None
    beside: tuple[Write, ...] = ()


async def draft(
    ctx: Context,
    snapshot: Snapshot,
    *,
    interaction: str,
    body: bytes,
    resource: dict[str, Any],
    id: str,
    before: Version | None = None,
    once: tuple[str, ...] = (),
    within: Facts | None = None,
    unsure: bool = False,
    siblings: Siblings,
) -> Draft:
    """The write of a valid resource. Raises Forbidden, NotFound or Invalid, as rights and the record say.

    `once`: keys that it holds until its next version, beside those of its kind. `within`: the facts of the document
    that it belongs to, or is an earlier version of: it is in that lineage and hidden as that is. `unsure`: it is hidden
    in every way because how it was to be hidden is not understood, which DOC-24 is not about.
    """
    making = _Making(ctx, snapshot, siblings, id, before, body, resource, within, unsure)
    await making.receive()
    facts, replaced = await making.facts()
    guards = await _decide(ctx, snapshot, interaction, before, facts, making.resource)
    if not ctx.services.open:
        await making.judge(facts)
        await making.complete(facts)
    if before and before.body and not ctx.services.open and ends(orjson.loads(before.body), making.resource):
        return Draft(_deletion(before), guards, _bump(facts), beside=await _withdrawn(ctx, snapshot, before))
    earlier = before.facts if before else within or (replaced.facts if replaced else None)
    beside = await announcements(ctx, snapshot, earlier, facts, siblings)
    if before:
        beside += await following(ctx, snapshot, before, facts, making.resource, siblings.facts)
    siblings.know(making.resource, facts, base=ctx.base)
    # The guard holds while these are the parameters to index by: both are taken at once.
    index, registry = ctx.services.index.guard, ctx.services.index.written
    write = await ctx.aside(making.body, making.write, registry, facts, once)
    return Draft(write, (*guards, index), _bump(facts), replaced, beside)


@dataclass(slots=True)
class _Making:
    """A resource on its way to a version: its facts, then whether it may be, then what the server says in it."""

    ctx: Context
    snapshot: Snapshot
    siblings: Siblings
    id: str
    before: Version | None
    body: bytes
    resource: dict[str, Any]
    within: Facts | None = None
    unsure: bool = False

    @property
    def version(self) -> int:
        return self.before.version + 1 if self.before else 1

    @property
    def _follows(self) -> bool:
        """Whether it is hidden because its document is, which was judged."""
        return self.within is not None and self.resource["resourceType"] != "DocumentReference"

    async def receive(self) -> None:
        """What is said of a new document is completed and judged. Raises Unchanged for one that is here already."""
        if self.before is None:
            changes = await as_submitted(self.ctx, self.snapshot, self.resource, self.siblings)
            self._change(changes)
            if self.siblings.deposited:
                await check_deposit(self.ctx, self.snapshot, self.resource, self.siblings)
        else:
            check_held(self.before)

    async def facts(self) -> tuple[Facts, Version | None]:
        """What the server knows of it, and the document that it replaces."""
        ctx = self.ctx
        said = await ctx.aside(self.body, self._said)
        if holder := self.siblings.documents.get(f"Bundle/{self.id}"):
            facts = await ctx.aside(self.body, of_document, ctx, self.id, said, self.siblings.facts[holder])
            ctx.trace.shows(facts, self.version)
            return facts, None
        replaced = None
        if self.within is None:
            replaced = await replaced_document(ctx, self.snapshot, self.resource, self.before)
        facts = await ctx.aside(
            self.body,
            facts_of,
            ctx.services.definitions,
            self.resource,
            id=self.id,
            depositor=ctx.actor,
            now=ctx.now(),
            before=self.before.facts if self.before and not self.within else None,
            replaced=self.within or (replaced.facts if replaced else None),
            base=ctx.base,
            through=await patients_through(ctx, self.snapshot, self.resource, self.siblings),
            said=said,
            together=ctx.settings.cumul_invisible_masque or self._follows or self.unsure,
            lifts=ctx.trace.interaction == "patch",
        )
        if self.before and self.within:
            facts = replace(facts, deposited_at=self.before.facts.deposited_at)
        ctx.trace.shows(facts, self.version)
        return facts, replaced

    async def judge(self, facts: Facts) -> None:
        """Raise Forbidden or Invalid where this caller may not say that, or point there."""
        check_sender(self.ctx.actor, self.resource)
        if self.before is None or authored(self.ctx.actor, self.before.facts):
            check_document(self.ctx.actor, self.resource, facts, base=self.ctx.base)
        await check_links(self.ctx, self.snapshot, self.resource, facts, self.siblings)

    async def complete(self, facts: Facts) -> None:
        """What the server says in it: labels in their right spelling, a directive's envelope."""
        if facts.rtype == "Consent":
            changes = await consent_changes(self.ctx, self.snapshot, self.resource, self.before, self.siblings)
        else:
            changes = canonical_labels(self.resource, facts.vis)
        self._change(changes)

    def write(self, registry: SearchRegistry, facts: Facts, once: tuple[str, ...]) -> Write:
        """The new version with its index entries."""
        stamped, stamp = with_identity(self.body, self.id, self.version)
        return Write(
            type=facts.rtype,
            id=self.id,
            version=self.version,
            body=stamped,
            facts=facts,
            entries=extract(registry, facts.rtype, self.resource, self.ctx.base),
            stamp=stamp,
            keys=(*unique_keys(self.ctx, self.resource, facts), *once),
        )

    def _said(self) -> Said:
        """What it says of others, when it says no more of them than may be kept."""
        said = said_in(self.resource)
        if not self.ctx.services.open and self._change(without_displays(self.resource, said, base=self.ctx.base)):
            said = said_in(self.resource)
        return said

    def _change(self, changes: dict[str, Any]) -> bool:
        """Whether there was anything to change."""
        if changes:
            self.body, self.resource = with_members(self.body, changes), {**self.resource, **changes}
        return bool(changes)


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
    check_held(before)
    guards = await _decide(ctx, snapshot, "delete", before, before.facts, {})
    return Draft(_deletion(before), guards, _bump(before.facts), beside=await _withdrawn(ctx, snapshot, before))


async def _withdrawn(ctx: Context, snapshot: Snapshot, before: Version) -> tuple[Write, ...]:
    """What goes with a resource that goes."""
    notices = await announcements(ctx, snapshot, before.facts, None, Siblings())
    followed = await following(ctx, snapshot, before, before.facts, None)
    return (*notices, *followed, *await held_content(snapshot, before, ctx.base))


def _deletion(before: Version) -> Write:
    return Write(before.type, before.id, before.version + 1, b"", before.facts, deleted=True)


async def commit(ctx: Context, made: Sequence[Draft], once: Once) -> Version:
    """Write the drafts and the line of the access log; the version of the first. Raises Stale or Conflict."""
    try:
        return (await commit_all(ctx, made, ctx.audits()))[0]
    except Taken as error:
        once.lose(error)
        raise duplicate(error) from error


class Once:
    """What one request makes because criteria found nothing, and makes once however often it is sent at the same time.

    The key is its caller's own: it tells nobody of what others have made. The request that comes second looks again,
    and finds what the first has made; where it finds nothing even then, since what was made does not fit the criteria
    or is hidden now, there is nothing to wait for and it makes its own.
    """

    def __init__(self) -> None:
        self._lost: set[str] = set()

    def keys(self, ctx: Context, type_: str, digest: str) -> tuple[str, ...]:
        """The key of a resource of that type for the criteria of that digest; none for the one who has lost it."""
        key = f"once {ctx.actor.reference} {type_} {digest}"
        return () if not digest or key in self._lost else (key,)

    def lose(self, error: Taken) -> None:
        """Raise Stale, so that the request starts again, if it was such a key that was taken."""
        if error.key.startswith("once "):
            self._lost.add(error.key)
            raise Stale from error


def duplicate(error: Taken) -> Conflict:
    """Which rule of uniqueness a write breaks, in words for its client."""
    kind = error.key.partition(" ")[0]
    text, place = _UNIQUE[kind]
    return Conflict(issues=[Issue("duplicate", text, place)])


async def commit_all(ctx: Context, drafts: Sequence[Draft], audits: Sequence[AuditRow]) -> Sequence[Version]:
    """All drafts and their access log in one commit."""
    try:
        versions = await ctx.store.commit(
            Commit(
                writes=(*(each.write for each in drafts), *(extra for each in drafts for extra in each.beside)),
                guards=tuple(dict.fromkeys(guard for each in drafts for guard in each.guards)),
                bump=frozenset().union(*(each.bump for each in drafts)),
                audits=tuple(audits),
            )
        )
    except Stale:
        # It may be the definitions of the index that have changed.
        await ctx.services.index.refresh(ctx.now())
        raise
    if not ctx.services.open:
        await end_shares(ctx, (each.write for each in drafts))
    return versions


async def retried(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Run an attempt again while the record moves under it; the last Stale reaches the caller as a 409."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await attempt()
        except Stale:
            continue
    return await attempt()


async def may_change(ctx: Context, snapshot: Snapshot, before: Version) -> None:
    """Raise Forbidden or MethodNotAllowed unless the caller may write a next version, whatever it will say."""
    ctx.trace.shows(before.facts, before.version)
    await _decide(ctx, snapshot, "update", before, before.facts, {})


async def _decide(
    ctx: Context,
    snapshot: Snapshot,
    interaction: str,
    before: Version | None,
    facts: Facts,
    resource: dict[str, Any],
) -> tuple[Guard | PolicyGuard, ...]:
    if ctx.services.open:
        return ()
    # What an application writes that is nobody's is decided by the policy of the record its token is bound to.
    record = facts.patient or (ctx.actor.patients[0] if ctx.actor.role == "app" and ctx.actor.patients else None)
    policy = await ctx.services.narrow.policy(snapshot, record) if record else None
    may_write(ctx.actor, policy, interaction, facts.rtype, before.facts if before else None, facts, now=ctx.now())
    if before and resource and not before.deleted:
        earlier = orjson.loads(before.body)
        check_document_update(ctx.actor, earlier, resource, own=authored(ctx.actor, before.facts))
        if ctx.trace.interaction == "patch":
            check_lowered(earlier, resource, facts)
        if policy:
            check_team_update(ctx.actor, policy, earlier, resource, now=ctx.now(), base=ctx.base)
    return (PolicyGuard(record, policy.version),) if record and policy else ()


def _bump(facts: Facts) -> frozenset[str]:
    return frozenset({facts.patient}) if facts.rtype in POLICY_TYPES and facts.patient else frozenset()


def unique_keys(ctx: Context, resource: dict[str, Any], facts: Facts) -> tuple[str, ...]:
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
