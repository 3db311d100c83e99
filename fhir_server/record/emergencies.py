"""The declared emergencies that somebody has to look into: who opened which record, when, how; nothing of health in it.

They lie in the ledger of the store, for an administrator, whose token reads no record (spec access §7).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Final
from uuid import uuid4

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.openings import Opening
from fhir_server.storage.interface import Ledger

_KIND: Final = "emergency"


@dataclass(frozen=True, slots=True)
class Emergency:
    """One declaration. Times in microseconds since 1970 UTC; `reviewed`: by whom it was looked into, "" while it waits.

    What was declared as the reason may tell of the patient's health: it is in the access log, not here.
    """

    id: str
    time: int
    until: int
    mode: str
    patient: str
    rpps: str
    name: str
    structure: str
    client: str
    jti: str
    reviewed: str = ""

    @classmethod
    def of(cls, actor: Actor, opening: Opening, now: int) -> Emergency:
        """The declaration that this caller makes now."""
        rpps = next((key.removeprefix("rpps:") for key in sorted(actor.keys) if key.startswith("rpps:")), "")
        return cls(
            id=f"{now:020d}-{uuid4().hex}",
            time=now,
            until=opening.until,
            mode=opening.regime,
            patient=opening.patient,
            rpps=rpps,
            name=actor.name,
            structure=actor.structure,
            client=actor.client,
            jti=actor.jti,
        )


async def await_review(ledger: Ledger, emergency: Emergency) -> None:
    """Put it in the queue, or back with what came of it."""
    await ledger.put(_KIND, emergency.id, orjson.dumps(asdict(emergency)), expires=None)


async def emergencies(ledger: Ledger, *, now: int, waiting: bool = True) -> list[Emergency]:
    """The declarations in the order of their making; those that wait, or all."""
    found = [await ledger.get(_KIND, key, now=now) for key in await ledger.keys(_KIND, now=now)]
    known = [Emergency(**orjson.loads(each)) for each in found if each]
    return [each for each in known if not (waiting and each.reviewed)]


async def review(ledger: Ledger, id: str, by: Actor, *, now: int) -> Emergency | None:
    """Note that this administrator has looked into it; None when there is none of that id."""
    kept = await ledger.get(_KIND, id, now=now)
    if kept is None:
        return None
    done = replace(Emergency(**orjson.loads(kept)), reviewed=by.reference)
    await await_review(ledger, done)
    return done
