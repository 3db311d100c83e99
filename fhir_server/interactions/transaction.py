"""transaction: all entries of a Bundle or none (https://hl7.org/fhir/R4/http.html#trules)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import orjson

from fhir_server.context import Context, Interaction, Request
from fhir_server.errors import FhirServerError, Issue, Malformed, NotBuilt, NotFound, PreconditionFailed
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.fhir.splice import with_links, with_narrative_links
from fhir_server.interactions.conditional import Written, conditional_references, found_by, target_of, unresolved
from fhir_server.interactions.create import sees
from fhir_server.interactions.draft import (
    Draft,
    commit_all,
    draft,
    draft_delete,
    draft_end,
    duplicate,
    retried,
)
from fhir_server.interactions.entries import answer_entry, response_of
from fhir_server.interactions.siblings import Siblings
from fhir_server.interactions.update import check_base, current
from fhir_server.storage.interface import Commit, Snapshot, Taken, Version

# After so many entries others get their turn.
_PAUSE = 25
_LETTER = {"POST": "c", "PUT": "u", "DELETE": "d"}
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2}
_INTERACTION = {"POST": "create", "PUT": "update", "DELETE": "delete"}


@dataclass(slots=True)
class Step:
    """One writing entry on its way: what is asked, and the resource it is about as "Type/id"."""

    index: int
    ctx: Context
    request: Request
    full_url: str
    resource: dict[str, Any] | None
    link: str = ""
    existing: Version | None = None
    draft: Draft | None = None

    @property
    def type(self) -> str:
        """The resource type of the entry."""
        return self.request.path[0]


async def transaction(
    ctx: Context,
    requests: Sequence[Request],
    resources: Sequence[dict[str, Any] | None],
    full_urls: Sequence[str],
    answer: Interaction,
) -> bytes:
    """The transaction-response. Reads are answered last, from the state that the writes have made."""
    steps = [
        Step(index, ctx.entry(), request, full_url, resource)
        for index, (request, resource, full_url) in enumerate(zip(requests, resources, full_urls, strict=True))
        if request.method != "GET"
    ]
    if steps:
        # From here on every entry has a line of its own in the access log, and the Bundle none.
        ctx.trace.interaction = "transaction"
    elif not requests:
        await ctx.record()
    try:
        versions = iter(await _written(ctx, steps))
    except FhirServerError as error:
        # All are refused together, and each has its line: the log of a record tells what was aimed at it.
        if rows := tuple(row for step in steps for row in step.ctx.audits(error)):
            await ctx.store.commit(Commit(audits=rows))
        raise
    entries = {step.index: await _response(ctx, step, next(versions) if step.draft else None) for step in steps}
    for index, request in enumerate(requests):
        if request.method == "GET":
            entries[index] = await answer_entry(ctx, request, answer)
    return bundle("transaction-response", [entries[index] for index in range(len(requests))])


async def _written(ctx: Context, steps: Sequence[Step]) -> Sequence[Version]:
    """The new versions, in the order of the entries that make one. Raises with nothing written."""
    for step in steps:
        with _named(step.index):
            _check(step)

    async def attempt() -> Sequence[Version]:
        async with ctx.store.snapshot() as snapshot:
            await _locate(snapshot, steps)
            ended = await _draft(ctx, snapshot, steps)
        drafts = [step.draft for step in steps if step.draft]
        try:
            return await commit_all(ctx, [*drafts, *ended], [row for step in steps for row in step.ctx.audits()])
        except Taken as error:
            raise duplicate(error) from error

    versions: Sequence[Version] = await retried(attempt)
    return versions


def _check(step: Step) -> None:
    """What can be refused before the record is looked at."""
    method, path = step.request.method, step.request.path
    if method not in _LETTER or step.request.query:
        raise NotBuilt("This kind of entry is not offered in a transaction yet.", expression="Bundle.entry.request")
    if len(path) != (1 if method == "POST" else 2) or path[0] not in step.ctx.services.definitions.resource_types:
        raise Malformed("The url does not fit the method.", expression="Bundle.entry.request.url")
    trace = step.ctx.trace
    trace.interaction, trace.type, trace.id = _INTERACTION[method], path[0], path[1] if len(path) == 2 else ""
    step.ctx.allow(path[0], _LETTER[method])
    if method == "DELETE":
        step.link = "/".join(path)
        return
    step.ctx.checked(step.resource, path[0])
    if method == "PUT":
        step.link = "/".join(path)
        if step.resource and step.resource.get("id") != path[1]:
            raise Malformed("The id of the resource is not that of the url.", expression=f"{path[0]}.id")


async def _locate(snapshot: Snapshot, steps: Sequence[Step]) -> None:
    """Give every entry its resource: a new id, the one it names, or the one its criteria find."""
    asked: dict[tuple[str, str], str] = {}
    for step in steps:
        with _named(step.index):
            step.existing = None
            if step.request.method == "POST":
                await _locate_create(snapshot, step, asked)
            else:
                step.existing = await current(step.ctx, snapshot, step.type, step.link.partition("/")[2])
                if step.request.method == "PUT" or step.request.if_match:
                    check_base(step.ctx, step.request, step.existing)
    links = [step.link for step in steps if step.request.method != "POST"]
    if len(links) != len(set(links)):
        raise Malformed("Two entries change the same resource.", expression="Bundle.entry")


async def _locate_create(snapshot: Snapshot, step: Step, asked: dict[tuple[str, str], str]) -> None:
    """Two entries with the same criteria make one resource."""
    criteria = step.request.if_none_exist
    step.link = f"{step.type}/{step.ctx.services.ids()}"
    if not criteria:
        return
    pairs = parse_qsl(criteria, keep_blank_values=True)
    found = await found_by(step.ctx, snapshot, step.type, pairs, "If-None-Exist")
    if len(found) > 1:
        raise PreconditionFailed("The criteria match several resources.", expression="Bundle.entry.request.ifNoneExist")
    if found:
        step.existing, step.link = found[0], f"{step.type}/{found[0].id}"
    elif (step.type, criteria) in asked:
        step.link = asked[step.type, criteria]
    else:
        asked[step.type, criteria] = step.link


async def _draft(ctx: Context, snapshot: Snapshot, steps: Sequence[Step]) -> list[Draft]:
    """Deletes, creates, updates, in the order that R4 gives; links between entries come out as ids. What is returned
    ends the documents that entries replace."""
    by_url = {step.full_url: step.link for step in steps if step.full_url and step.request.method != "DELETE"}
    made: set[str] = set()
    bodies = {}
    for step in steps:
        step.draft = None
        if step.request.method == "DELETE" or (step.existing and step.request.method == "POST") or step.link in made:
            continue
        made.add(step.link)
        bodies[step.index] = _linked(step, by_url)
    written = Written(ctx, {step.link: bodies[step.index][1] for step in steps if step.index in bodies})
    siblings = Siblings()
    targets: dict[str, str] = {}
    ended = []
    # Binaries first: a document's right to point to one is judged on their facts.
    for rank, step in enumerate(sorted(steps, key=lambda each: (_ORDER[each.request.method], each.type != "Binary"))):
        if rank % _PAUSE == _PAUSE - 1:
            await asyncio.sleep(0)
        with _named(step.index):
            if step.request.method == "DELETE":
                step.draft = await _deletion(snapshot, step)
            elif step.index in bodies:
                body, resource = await _resolved(snapshot, step, *bodies[step.index], written, targets)
                step.draft = await draft(
                    step.ctx,
                    snapshot,
                    interaction="create" if step.request.method == "POST" else "update",
                    body=body,
                    resource=resource,
                    id=step.link.partition("/")[2],
                    before=step.existing,
                    siblings=siblings,
                )
                if step.draft.ends and f"DocumentReference/{step.draft.ends.id}" not in made:
                    ended.append(await draft_end(step.ctx, snapshot, step.draft.ends, siblings))
    return ended


def _linked(step: Step, by_url: dict[str, str]) -> tuple[bytes, dict[str, Any]]:
    """The body with every link to another entry's fullUrl turned into that entry's resource."""
    assert step.resource is not None
    body = with_links(step.request.body, lambda key, uri: by_url.get(uri))
    body = with_narrative_links(body, by_url.get)
    return body, step.resource if body == step.request.body else orjson.loads(body)


async def _resolved(
    snapshot: Snapshot,
    step: Step,
    body: bytes,
    resource: dict[str, Any],
    written: Written,
    targets: dict[str, str],
) -> tuple[bytes, dict[str, Any]]:
    """Conditional references find what is stored, or what this transaction writes (R4: they are resolved last)."""
    wanted = conditional_references(body)
    if not wanted:
        return body, resource
    for uri in wanted:
        if uri in targets:
            continue
        found = await target_of(step.ctx, snapshot, uri) | written.matches(uri)
        if len(found) != 1:
            raise unresolved()
        targets[uri] = found.pop()
    body = with_links(body, lambda key, uri: targets.get(uri) if key == "reference" else None)
    return body, orjson.loads(body)


async def _deletion(snapshot: Snapshot, step: Step) -> Draft:
    if step.existing is None or step.existing.deleted:
        raise NotFound
    return await draft_delete(step.ctx, snapshot, step.existing)


async def _response(ctx: Context, step: Step, version: Version | None) -> Entry:
    if version is None:
        return response_of(ctx, step.request, 200, step.existing, step.link)
    status = {"DELETE": 204, "POST": 201}.get(step.request.method, 200 if version.version > 1 else 201)
    entry = response_of(ctx, step.request, status, version, step.link)
    return entry if not entry.resource or await sees(step.ctx, version) else entry._replace(resource=b"")


class _named:
    """Errors inside name the entry: `Bundle.entry[3].resource.name[0]`."""

    def __init__(self, index: int) -> None:
        self._prefix = f"Bundle.entry[{index}]"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FhirServerError):
            error.issues = tuple(replace(issue, expression=self._place(issue)) for issue in error.issues)

    def _place(self, issue: Issue) -> str:
        if issue.expression.startswith("Bundle.entry"):
            return self._prefix + issue.expression.removeprefix("Bundle.entry")
        _, _, inside = issue.expression.partition(".")
        return f"{self._prefix}.resource.{inside}" if inside else self._prefix
