"""Which resource a write is about: the one of an id, or the one that criteria find.

https://hl7.org/fhir/R4/http.html#cond-update, #ccreate, #cdelete and #patch. Criteria are a search by the caller: what
it would not show them is not there, for a match as for an id.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fhir_server.context import Context, Request
from fhir_server.errors import Conflict, Invalid, Issue, Malformed, NotFound, PreconditionFailed
from fhir_server.interactions.conditional import found_by
from fhir_server.search.predicate import TRUE, disj
from fhir_server.storage.interface import Snapshot, Version


@dataclass(frozen=True, slots=True)
class Target:
    """`before`: the version that is there, as far as the caller may try to change it. `digest`: names the criteria that
    found none, "" where there are none."""

    id: str
    before: Version | None = None
    digest: str = ""

    @property
    def status(self) -> int:
        """Of the answer, when a resource has been written."""
        return 200 if self.before and not self.before.deleted else 201


async def to_create(
    ctx: Context, snapshot: Snapshot, type_: str, if_none_exist: str, without: Collection[str] = ()
) -> Target:
    """A new id; or the resource that the criteria of If-None-Exist find, which is left as it is.

    `without`: ids of resources that are not there any more when this is done.
    """
    if not if_none_exist:
        return Target(ctx.services.ids())
    pairs = parse_qsl(if_none_exist, keep_blank_values=True)
    found, digest = await _match(ctx, snapshot, type_, pairs, "If-None-Exist", without)
    return Target(found.id, found) if found else Target(ctx.services.ids(), None, digest)


async def to_update(ctx: Context, snapshot: Snapshot, request: Request, resource: dict[str, Any]) -> Target:
    """What an update replaces, or makes: an id that is unknown or hidden is 404, since ids are the server's to give;
    only the server run without authorization lets its clients choose one."""
    if len(request.path) == 1:
        return await _to_update_match(ctx, snapshot, request, resource)
    type_, id_ = request.path
    before = await current(ctx, snapshot, type_, id_, letter="u")
    if (before is None or before.deleted) and not ctx.services.open:
        raise NotFound
    check_version(request, before)
    return Target(id_, before)


async def to_patch(ctx: Context, snapshot: Snapshot, request: Request) -> Target:
    """What a patch changes; NotFound where there is none."""
    target = await _existing(ctx, snapshot, request, "u")
    if target is None:
        raise NotFound
    return target


async def to_delete(ctx: Context, snapshot: Snapshot, request: Request) -> Target | None:
    """What a deletion is about. NotFound for an id that is not there; None where criteria find nothing: that a match
    for them is gone is what was asked for."""
    return await _existing(ctx, snapshot, request, "d")


async def current(ctx: Context, snapshot: Snapshot, type_: str, id_: str, *, letter: str) -> Version | None:
    """What the caller may try to change: what they see, and what they deposited (the correction right, access §3.5)."""
    visible = await ctx.visible(snapshot, type_, id_, letter=letter)
    own = ctx.services.narrow.own(ctx.actor)
    return await snapshot.read(type_, id_, visible=disj(visible, own))


def check_version(request: Request, before: Version | None) -> None:
    """Raise PreconditionFailed unless If-Match names the version that is there, and If-None-Match does not.

    `*` stands for any version (RFC 9110 §13.1.1 and §13.1.2).
    """
    version = str(before.version) if before and not before.deleted else ""
    if request.if_match and (not version or request.if_match not in ("*", version)):
        text = "The version named by If-Match is not the current one."
        raise PreconditionFailed(text, expression="If-Match")
    named = [tag.strip().removeprefix("W/").strip('"') for tag in request.if_none_match.split(",")]
    if version and request.if_none_match and not {"*", version}.isdisjoint(named):
        raise PreconditionFailed("There is such a resource already.", expression="If-None-Match")


async def _to_update_match(ctx: Context, snapshot: Snapshot, request: Request, resource: dict[str, Any]) -> Target:
    type_, sent = request.path[0], resource.get("id")
    found, digest = await _match(ctx, snapshot, type_, request.query, "url")
    if found is None:
        return await _to_make(ctx, snapshot, request, sent, digest)
    if sent is not None and sent != found.id:
        raise Malformed("The id of the resource is not that of the one found.", expression=f"{type_}.id")
    return await _changeable(ctx, snapshot, request, found, "u")


async def _to_make(ctx: Context, snapshot: Snapshot, request: Request, sent: str | None, digest: str) -> Target:
    """The resource of an update whose criteria find none: under an id of its own, and another's nowhere."""
    check_version(request, None)
    if sent is None:
        return Target(ctx.services.ids(), None, digest)
    if not ctx.services.open:
        text = "The criteria find nothing, and the id of a new resource is the server's to give."
        raise Invalid(issues=[Issue("business-rule", text, f"{request.path[0]}.id")])
    before = await snapshot.read(request.path[0], sent, visible=TRUE)
    if before and not before.deleted:
        raise Conflict("A resource of that id is there, and the criteria do not find it.")
    return Target(sent, before, digest)


async def _existing(ctx: Context, snapshot: Snapshot, request: Request, letter: str) -> Target | None:
    if len(request.path) == 1:
        found, _ = await _match(ctx, snapshot, request.path[0], request.query, "url")
        if found is None:
            check_version(request, None)
            return None
        return await _changeable(ctx, snapshot, request, found, letter)
    type_, id_ = request.path
    before = await current(ctx, snapshot, type_, id_, letter=letter)
    if before is None or before.deleted:
        raise NotFound
    check_version(request, before)
    return Target(id_, before)


async def _changeable(ctx: Context, snapshot: Snapshot, request: Request, found: Version, letter: str) -> Target:
    """What a search by the caller has found, if their right to change reaches as far."""
    before = await current(ctx, snapshot, found.type, found.id, letter=letter)
    if before is None:
        raise NotFound
    check_version(request, before)
    return Target(found.id, before)


async def _match(
    ctx: Context,
    snapshot: Snapshot,
    type_: str,
    criteria: Collection[tuple[str, str]],
    place: str,
    without: Collection[str] = (),
) -> tuple[Version | None, str]:
    """The one resource that matches, and the name of the criteria; raises PreconditionFailed for several."""
    ctx.allow(type_, "s")
    found, digest = await found_by(ctx, snapshot, type_, criteria, place, without=without)
    if len(found) > 1:
        raise PreconditionFailed("The criteria match several resources.", expression=place)
    return (found[0] if found else None), digest
