"""What a professional has declared in this session, which opens one record for a time (spec access §3.2, §7).

An opening is text in the token row (`Actor.openings`): it lives in no other session, speaks of one patient, and ends by
itself. What cannot be read opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from fhir_server.auth.actor import Actor
from fhir_server.fhir.dates import format_instant

CONSULT: Final = "consult"
BRIS_DE_GLACE: Final = "bris_de_glace"
CENTRE_15: Final = "centre_15"
REGULATION: Final = "right:regulation"
"""The key of a professional whose identity provider says `Acces_Regulation_Medicale`."""

ACCESS_MODE: Final = "X-Access-Mode"
"""The header that flags an emergency on every answer while it lasts."""

REGIMES: Final = (CENTRE_15, BRIS_DE_GLACE, CONSULT)
EMERGENCIES: Final = (CENTRE_15, BRIS_DE_GLACE)


class Opening(NamedTuple):
    """`regime`: consult, bris_de_glace or centre_15; `until`: microseconds since 1970 UTC, exclusive."""

    regime: str
    patient: str
    until: int

    def __str__(self) -> str:
        """As `Actor.openings` keeps it."""
        return f"{self.regime}|{self.patient}|{self.until}"


def openings_of(actor: Actor) -> Iterator[Opening]:
    """What the session has declared, ended or not. Nobody but a professional opens anything."""
    for text in actor.openings if actor.role == "ps" else ():
        regime, _, rest = text.partition("|")
        patient, _, until = rest.partition("|")
        if regime in REGIMES and patient and until.isascii() and until.isdecimal():
            yield Opening(regime, patient, int(until))


def regimes(actor: Actor, patient: str, now: int) -> tuple[str, ...]:
    """Under what the record of that patient is open to this session now, what opens most first."""
    if not actor.openings:
        return ()
    live = {each.regime for each in openings_of(actor) if each.patient == patient and now < each.until}
    return tuple(each for each in REGIMES if each in live)


def mode_of(actor: Actor, patient: str, now: int) -> str:
    """The mode in which a session acts on a record: the emergency declared for it, else the one of the token."""
    return next((each for each in regimes(actor, patient, now) if each in EMERGENCIES), actor.mode)


def opened(actor: Actor, opening: Opening, now: int) -> Actor:
    """The caller with one more opening, in the place of an earlier one of that regime and patient; ended ones go."""
    kept = (
        each
        for each in openings_of(actor)
        if now < each.until and (each.regime, each.patient) != (opening.regime, opening.patient)
    )
    return replace(actor, openings=(*map(str, kept), str(opening)))


def flags(actor: Actor, now: int) -> Iterator[str]:
    """The emergencies of this session that last, each as `mode; patient=Patient/id; until=instant`."""
    for each in openings_of(actor):
        if each.regime in EMERGENCIES and now < each.until:
            yield f"{each.regime}; patient=Patient/{each.patient}; until={format_instant(each.until)}"
