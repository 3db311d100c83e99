"""transaction: all entries of a Bundle or none (https://hl7.org/fhir/R4/http.html#trules)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.consent.kinds import types
from fhir_server.context import Context, Interaction, Pace
from fhir_server.errors import FhirServerError, Malformed
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.interactions.conditional import Written, target_of, unresolved, with_targets
from fhir_server.interactions.create import told
from fhir_server.interactions.delete import deleted
from fhir_server.interactions.deposits import Unchanged
from fhir_server.interactions.draft import (
    Draft,
    Once,
    commit_all,
    draft,
    draft_delete,
    draft_end,
    duplicate,
    may_change,
    retried,
)
from fhir_server.interactions.entries import Asked, answer_entry, entry_of
from fhir_server.interactions.entry_links import EntryLinks, Linked
from fhir_server.interactions.patch import changes_nothing, patched
from fhir_server.interactions.provide import Provision, leave, provision_of, submits, superseded
from fhir_server.interactions.siblings import Siblings
from fhir_server.interactions.steps import Named, Step, check, locate
from fhir_server.storage.interface import Commit, Snapshot, Stale, Taken, Version


async def transaction(
    ctx: Context, asked: Sequence[Asked], answer: Interaction, *, profiles: Collection[str] = ()
) -> bytes:
    """The transaction-response. Reads are answered last, from the state that the writes have made.

    `profiles`: those that the Bundle claims; one that provides documents is held to IHE's rules for that (ITI-65).
    """
    steps = [
        Step(index, ctx.entry(), each.request, each.full_url, each.resource)
        for index, each in enumerate(asked)
        if not _reads(ctx, each, index)
    ]
    if steps:
        # From here on every entry has a line of its own in the access log, and the Bundle none.
        ctx.trace.interaction = "transaction"
    elif not asked:
        await ctx.record()
    try:
        versions = await _written(ctx, steps, provision_of(ctx, steps, profiles))
    except FhirServerError as error:
        # All are refused together, and each has its line: the log of a record tells what was aimed at it.
        if rows := tuple(row for step in steps for row in step.ctx.audits(error)):
            await ctx.store.commit(Commit(audits=rows))
        raise
    entries = await _responses(ctx, steps, versions)
    for index, each in enumerate(asked):
        if index not in entries:
            entries[index] = await answer_entry(ctx, each.request, answer)
    return bundle("transaction-response", [entries[index] for index in range(len(asked))])


def _reads(ctx: Context, asked: Asked, index: int) -> bool:
    """Whether an entry changes nothing: a read, a search, or an operation of R4 that says so of itself."""
    method, name = asked.request.method, asked.request.path[-1] if asked.request.path else ""
    if method in ("GET", "HEAD") or (method, name) == ("POST", "_search"):
        return True
    if method != "POST" or not name.startswith("$"):
        return False
    if any(each.code == name[1:] and not each.affects_state for each in ctx.services.definitions.operations):
        return True
    with Named(index):
        raise Malformed("An operation that changes something has no place in a transaction.", expression="Bundle.entry")


async def _written(ctx: Context, steps: Sequence[Step], provision: Provision | None) -> dict[str, Version]:
    """The new versions by "Type/id". Raises with nothing written."""
    if not steps:
        return {}
    if provision:
        provision.check()
    for step in steps:
        await ctx.pace.rest()
        with Named(step.index):
            await check(step)
    once = Once()

    async def attempt() -> Sequence[Version]:
        async with ctx.store.snapshot() as snapshot:
            await locate(snapshot, steps, ctx.pace)
            ended = await _drafted(ctx, snapshot, steps, once, provision)
        made = [step.draft for step in steps if step.draft]
        try:
            return await commit_all(ctx, [*made, *ended], [row for step in steps for row in step.ctx.audits()])
        except Taken as error:
            once.lose(error)
            takers = (step.index for step in steps if step.draft and error.key in step.draft.write.keys)
            with Named(next(takers, 0)):
                raise duplicate(error) from error

    return {f"{each.type}/{each.id}": each for each in await retried(attempt)}


async def _drafted(
    ctx: Context, snapshot: Snapshot, steps: Sequence[Step], once: Once, provision: Provision | None
) -> list[Draft]:
    """Draft every step; what is returned ends the documents that entries replace.

    All is committed at one moment: what is drafted first is what others are judged by, content before the documents
    that point to it, and carriers and directives after what they are about. Raises Stale when something is here
    already, just as it is sent: that is then left as it is.
    """
    linking = await _linking(ctx, snapshot, steps)
    written = Written(ctx, linking.of_type)
    provided = provision is not None and provision.comprehensive
    siblings = Siblings(coming=linking.coming(), provided=provided, deposited=True)
    targets, ended = dict[str, str](), []
    changed = [step.link for step in steps if step.link and (step.writes or step.deletes)]
    for step in sorted(steps, key=_rank):
        await ctx.pace.rest()
        with Named(step.index):
            if step.deletes and step.existing:
                step.draft = await draft_delete(step.ctx, snapshot, step.existing)
            elif step.writes and step.target and not step.known:
                # Not for all beforehand: what has just been read is quick to judge and to index.
                linked = await ctx.aside(step.request.body, linking.linked, step)
                await _find(snapshot, step, linked, written, targets, changed)
                try:
                    step.draft = await _draft(snapshot, step, linked, targets, siblings, once)
                except Unchanged as known:
                    await leave(step, known.version, linked.resource, steps, snapshot, siblings)
                    continue
                if step.draft.ends and f"DocumentReference/{step.draft.ends.id}" not in changed:
                    ended.append(await draft_end(step.ctx, snapshot, step.draft.ends, siblings))
                    if provision:
                        step.ctx.remark(superseded())
    if any(step.known and step.writes for step in steps):
        raise Stale
    if provision:
        provision.check_drafted()
    return ended


def _rank(step: Step) -> int:
    if step.deletes:
        return 0
    if submits(step):
        return 4
    return 1 if step.type == "Binary" else 3 if step.type == "Consent" or step.type in types().carriers else 2


@dataclass(frozen=True, slots=True)
class _Linking:
    """What the entries write, with links to other entries as ids. `patched`: body and resource of those that patch."""

    links: EntryLinks
    steps: Sequence[Step]
    patched: Mapping[int, tuple[bytes, dict[str, Any]]]

    def coming(self) -> dict[str, dict[str, Any]]:
        """What is written, by "Type/id"; documents in FHIR as they will be stored."""
        return {step.link: step.resource or {} for step in self.steps if step.writes}

    def linked(self, step: Step) -> Linked:
        """The resource of a step that writes one."""
        body, resource = self.patched.get(step.index) or (step.request.body, step.resource or {})
        if step.type == "Bundle" and resource.get("type") == "document":
            # What is written inside is the document's own.
            return Linked(body, resource, ())
        return self.links.linked(step.full_url, body, resource)

    def of_type(self, type_: str) -> list[tuple[str, dict[str, Any]]]:
        """All of a type that are written, each with its "Type/id"."""
        return [(step.link, self.linked(step).resource) for step in self.steps if step.writes and step.type == type_]


async def _linking(ctx: Context, snapshot: Snapshot, steps: Sequence[Step]) -> _Linking:
    links, made = EntryLinks(ctx.base), {}
    for step in steps:
        await ctx.pace.rest()
        if step.request.method == "PATCH" and step.existing:
            with Named(step.index):
                await may_change(step.ctx, snapshot, step.existing)
                made[step.index] = await patched(step.ctx, step.request, step.existing)
                step.known = step.existing if changes_nothing(step.existing, made[step.index][1]) else None
        if step.link and not step.deletes:
            version = (step.existing.version if step.existing else 0) + step.writes
            links.add(step.full_url, step.link, version, _said(step))
    return _Linking(links, steps, made)


def _said(step: Step) -> str:
    """The version that the resource of an entry claims to be; a patch claims none."""
    meta = step.resource.get("meta", {}) if step.resource and step.request.method != "PATCH" else {}
    return str(meta.get("versionId", ""))


async def _find(
    snapshot: Snapshot,
    step: Step,
    linked: Linked,
    written: Written,
    targets: dict[str, str],
    changed: Sequence[str],
) -> None:
    """Conditional references find what is stored and stays as it is, and what this transaction writes."""
    for uri in linked.conditional:
        if uri not in targets:
            found = await target_of(step.ctx, snapshot, uri, changed) | written.matches(uri)
            if len(found) != 1:
                raise unresolved(linked.resource, uri)
            targets[uri] = found.pop()


async def _draft(
    snapshot: Snapshot, step: Step, linked: Linked, targets: dict[str, str], siblings: Siblings, once: Once
) -> Draft:
    assert step.target is not None
    body, resource = linked.body, linked.resource
    if linked.conditional:
        body, resource = await step.ctx.aside(body, with_targets, body, targets)
    return await draft(
        step.ctx,
        snapshot,
        interaction="update" if step.existing else "create",
        body=body,
        resource=resource,
        id=step.target.id,
        before=step.existing,
        once=once.keys(step.ctx, step.type, step.target.digest),
        siblings=siblings,
    )


async def _responses(ctx: Context, steps: Sequence[Step], versions: Mapping[str, Version]) -> dict[int, Entry]:
    """The answers to the entries that were written, by their index."""
    entries, pace = {}, Pace()
    async with ctx.store.snapshot() as snapshot:
        for step in steps:
            await pace.rest()
            entries[step.index] = await _response(snapshot, step, versions)
    return entries


async def _response(snapshot: Snapshot, step: Step, versions: Mapping[str, Version]) -> Entry:
    """The answer to one entry; a version that another entry made, or that was there, is answered as found."""
    version = versions.get(step.link)
    if step.deletes:
        return entry_of(step.ctx, step.request, deleted(step.request, version))
    status = step.target.status if step.draft and step.target else 200
    found = version or step.existing
    assert found is not None
    return entry_of(step.ctx, step.request, await told(step.ctx, snapshot, step.request, status, found))
