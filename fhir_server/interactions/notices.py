"""Notices of the server to the people of a record: Communications that are written with what they tell of.

A notice is in the same commit as its cause. One that is due later is written at once and hidden till then, by the clock
that also releases what it is about: so it needs no scheduler, and cannot be forgotten (spec access §7).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.facts import facts_of
from fhir_server.context import Context
from fhir_server.fhir.dates import format_instant
from fhir_server.fhir.identity import RPPS
from fhir_server.fhir.splice import with_identity
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.extract import extract
from fhir_server.search.facts import INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX, Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Bit, Eq, TokenIs, conj
from fhir_server.settings import CANONICAL_BASE
from fhir_server.storage.interface import Snapshot, Version, Write

NOTICE: Final = f"{CANONICAL_BASE}/CodeSystem/notice"
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/communication-category"
_FORTNIGHT: Final = 14 * 86_400_000_000
_UPDATED: Final = ("Votre dossier a été mis à jour.", "Your record has been updated.")
_SERVER: Final = Actor(role="server", reference="", name="fhir-server", jti="")


async def announcements(
    ctx: Context, snapshot: Snapshot, before: Facts | None, after: Facts | None, siblings: Siblings
) -> tuple[Write, ...]:
    """What goes with a resource that waits to be announced to the patient (REC-122): in two weeks, a notice that says
    nothing of it; when it is announced or withdrawn before that, the end of that notice.

    `before`, `after`: the facts of the version that is there, for a replacement those of what it replaces, and of the
    one to come; None for none.
    """
    waits, waited = _waits(after, ctx.now()), _waits(before, ctx.now())
    if waits == waited or ctx.services.open:
        return ()
    facts = after if waits else before
    assert facts is not None
    assert facts.patient is not None
    name = sha256(facts.lineage.encode()).hexdigest()
    if not waits:
        return await _taken_back(ctx, snapshot, facts.patient, name)
    # One commit of many resources is one announcement to make: that of its document.
    if facts.rtype != "DocumentReference" and siblings.facts:
        return ()
    hidden = INVISIBLE_PATIENT | (facts.vis & INVISIBLE_REPRESENTANTS_LEGAUX)
    due = facts.deposited_at + _FORTNIGHT
    return (notice(ctx, facts.patient, "updated", _UPDATED, vis=hidden, due=due, name=name),)


def _waits(facts: Facts | None, now: int) -> bool:
    """Whether it is hidden from the patient until it is announced."""
    if facts is None or facts.patient is None or not facts.vis & INVISIBLE_PATIENT:
        return False
    return now < (facts.release_at or 0)


async def _taken_back(ctx: Context, snapshot: Snapshot, patient: str, name: str) -> tuple[Write, ...]:
    """A notice that is not due any more, as a version that nobody will see: a deletion would be told when the notice
    would have appeared."""
    of_record = conj(Eq("kind", "record"), Eq("patient", patient), Bit(INVISIBLE_PATIENT))
    plan = Plan(("Communication",), TokenIs("identifier", NOTICE, name), patients=(patient,))
    found = await snapshot.search(plan, visible=of_record)
    return tuple(_write(ctx, _ended(each), replace(each.facts, release_at=None), each.version + 1) for each in found)


def _ended(notice: Version) -> dict[str, Any]:
    return {**orjson.loads(notice.body), "status": "entered-in-error"}


def notice(
    ctx: Context,
    patient: str,
    topic: str,
    texts: Iterable[str],
    *,
    others: Iterable[str] = (),
    vis: int = 0,
    due: int | None = None,
    name: str = "",
) -> Write:
    """A Communication from the server to a patient. `topic`: its code in NOTICE; `texts`: French, then English.

    `others`: keys of further recipients; `vis`: what hides it; `due`: when a notice with INVISIBLE_PATIENT appears,
    microseconds; `name`: an identifier by which it is found again.
    """
    now, id_ = ctx.now(), ctx.services.ids()
    resource: dict[str, Any] = {
        "resourceType": "Communication",
        "id": id_,
        **({"identifier": [{"system": NOTICE, "value": name}]} if name else {}),
        "status": "completed",
        "category": [{"coding": [{"system": _CATEGORY, "code": "notification"}]}],
        "subject": {"reference": f"Patient/{patient}"},
        "topic": {"coding": [{"system": NOTICE, "code": topic}]},
        "sent": format_instant(due or now),
        "recipient": [{"reference": f"Patient/{patient}"}, *map(_recipient, sorted(set(others)))],
        "sender": {"display": ctx.settings.custodian},
        "payload": [{"contentString": each} for each in texts],
    }
    facts = facts_of(ctx.services.definitions, resource, id=id_, depositor=_SERVER, now=now, base=ctx.base)
    return _write(ctx, resource, replace(facts, vis=vis, release_at=due), 1)


def _write(ctx: Context, resource: dict[str, Any], facts: Facts, version: int) -> Write:
    body, stamp = with_identity(orjson.dumps(resource), facts.id, version)
    return Write(
        type="Communication",
        id=facts.id,
        version=version,
        body=body,
        facts=facts,
        entries=extract(ctx.services.index.written, "Communication", resource, ctx.base),
        stamp=stamp,
    )


def _recipient(key: str) -> dict[str, Any]:
    """A professional as a recipient: by the resource of this server, or by the RPPS number."""
    kind, _, value = key.partition(":")
    return {"identifier": {"system": RPPS, "value": value}} if kind == "rpps" else {"reference": key}
