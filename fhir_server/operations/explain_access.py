"""[type]/[id]/$explain-access: who can see this, and why, for the holder of the record (spec access §6).

The verdict is the store's own answer to the predicate of each caller; the reasons are the parts that this predicate was
made of. So neither can disagree with what that caller will meet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.categories import read_table
from fhir_server.consent.grounds import Reason
from fhir_server.consent.known import PROFESSION, is_stranger, known_callers
from fhir_server.consent.rules import Case, Rules
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Forbidden, Gone, Malformed, NotFound
from fhir_server.fhir.identity import RPPS
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row
from fhir_server.storage.interface import Snapshot, Version

CARRIES: Final = "carries"
_HOLDERS: Final = ("patient", "rep")
_KEPT: Final = ("_format", "_pretty", "_language")


async def run(ctx: Context, request: Request) -> Answer:
    """200 with one `actor` for each caller that the record knows of, and for the strangers; 404 for what is not there
    for the one who asks."""
    type_, id_ = request.path[:2]
    ctx.trace.type, ctx.trace.id = type_, id_
    ctx.allow(type_, "r")
    if ctx.actor.role not in _HOLDERS:
        raise Forbidden("Only the patient and representatives are told who sees what.")
    for name, _ in request.query:
        if name not in _KEPT:
            raise Malformed("This parameter is not understood here.", expression=name)
    language = _language(request)
    async with ctx.store.snapshot() as snapshot:
        found = await _asked_about(ctx, snapshot, type_, id_)
        told = [_told(*each, language=language) async for each in _judged(ctx, snapshot, found)]
    await ctx.record()
    return Answer(200, orjson.dumps({"resourceType": "Parameters", "language": language, "parameter": told}))


async def _asked_about(ctx: Context, snapshot: Snapshot, type_: str, id_: str) -> Version:
    found = await snapshot.read(type_, id_, visible=await ctx.visible(snapshot, type_, id_))
    if found is None:
        raise NotFound
    ctx.trace.shows(found.facts, found.version)
    if found.deleted:
        raise Gone
    return found


async def _judged(ctx: Context, snapshot: Snapshot, found: Version) -> AsyncIterator[tuple[Actor, bool, list[Reason]]]:
    """Each known caller with whether they see it, and why. Of content the reasons are those of its documents."""
    rows = [found.facts] if found.facts.patient else await ctx.services.narrow.whereabouts(snapshot, "Binary", found.id)
    patients = {each.patient for each in rows if each.patient}
    if len(patients) != 1:
        raise Malformed("This is in nobody's record: everyone may see it.", expression="url")
    policy, now = await ctx.services.narrow.policy(snapshot, patients.pop()), ctx.now()
    rules = ctx.services.narrow.rules
    for actor in await known_callers(snapshot, policy, rows, now=now, base=ctx.base):
        predicate = rules.predicate(actor, {policy.patient: policy}, now)
        seen = await snapshot.read(found.type, found.id, visible=predicate) is not None
        yield actor, seen, reasons(rules, Case(actor, policy, now), rows, seen=seen)


def reasons(rules: Rules, case: Case, rows: Sequence[Facts], *, seen: bool) -> list[Reason]:
    """The parts of the decision that are about these rows: of content, about any of its documents."""
    grounds = rules.grounds(case)
    judged = [Row(each, Entries(), 0) for each in rows]
    shown = [each for each in judged if grounds.shows(each)]
    if bool(shown) != seen:
        # By its own facts it would be seen: what it points to is not.
        return [Reason(CARRIES)]
    return list(dict.fromkeys(reason for each in (shown or judged) for reason in grounds.reasons(each)))


def _told(actor: Actor, seen: bool, why: Sequence[Reason], language: str) -> dict[str, Any]:
    words = _words()
    parts = [
        {"name": "who", "valueReference": _who(actor, language)},
        {"name": "role", "valueCode": actor.role},
        {"name": "seen", "valueBoolean": seen},
        {"name": "verdict", "valueString": words["verdicts"]["seen" if seen else "not-seen"][language]},
    ]
    if actor.profession:
        parts.insert(2, {"name": "profession", "valueCoding": {"system": PROFESSION, "code": actor.profession}})
    return {"name": "actor", "part": [*parts, *(_because(each, language) for each in why)]}


def _because(reason: Reason, language: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"name": "code", "valueCode": reason.code},
        {"name": "text", "valueString": _words()["reasons"][reason.code][language]},
    ]
    if reason.about:
        parts.append({"name": "about", "valueReference": {"reference": reason.about}})
    return {"name": "reason", "part": parts}


def _who(actor: Actor, language: str) -> dict[str, Any]:
    if is_stranger(actor):
        return {"display": _words()["strangers"][actor.mode][language]}
    rpps = next((key.removeprefix("rpps:") for key in sorted(actor.keys) if key.startswith("rpps:")), "")
    place = f" ({actor.structure_name})" if actor.structure_name else ""
    who: dict[str, Any] = {"reference": actor.reference} if actor.reference else {}
    if rpps:
        who["identifier"] = {"system": RPPS, "value": rpps}
    if actor.name:
        who["display"] = actor.name + place
    return who


def _language(request: Request) -> str:
    """`fr` or `en`: what `_language` asks for, else the first of them that Accept-Language names; else French."""
    asked = dict(request.query).get("_language") or request.language
    return next(_spoken(asked), "fr")


def _spoken(accepted: str) -> Iterator[str]:
    for each in accepted.split(","):
        tag = each.strip().partition(";")[0].partition("-")[0].lower()
        if tag in ("fr", "en"):
            yield tag


@cache
def _words() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    return read_table("reasons")
