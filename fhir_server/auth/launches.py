"""EHR launch: software that has a patient open hands an app a word, with which the app asks to be let in for them.

The word is good for one use within five minutes, by that app, for that user (SMART App Launch 2.2, access §1).
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

import orjson

from fhir_server.storage.interface import Ledger

_KIND: Final = "launch"
_LIFE: Final = 300_000_000


@dataclass(frozen=True, slots=True)
class Launch:
    """`client`: the app; `user`: who launches it, "Practitioner/…"; `patient`: the id of the record that is open.
    `banner`: whether the app has to show who the patient is."""

    client: str
    user: str
    patient: str
    banner: bool = True


async def make_launch(ledger: Ledger, launch: Launch, *, now: int) -> str:
    """The word to hand to the app."""
    word = secrets.token_urlsafe(32)
    await ledger.put(_KIND, _name(word), orjson.dumps(asdict(launch)), expires=now + _LIFE)
    return word


async def taken_launch(ledger: Ledger, word: str, client: str, *, now: int) -> Launch | None:
    """What the word stands for, which is used up with that; None for another app, which does not use it up."""
    kept = await ledger.get(_KIND, _name(word), now=now)
    if kept is None or Launch(**orjson.loads(kept)).client != client:
        return None
    taken = await ledger.take(_KIND, _name(word))
    return Launch(**orjson.loads(taken)) if taken else None


def _name(word: str) -> str:
    return sha256(word.encode()).hexdigest()
