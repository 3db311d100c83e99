"""The page of the applications that a person has let in, and of stopping one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Response

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import find
from fhir_server.auth.grants import revoke_app
from fhir_server.consent.data_time import PARIS
from fhir_server.fhir.dates import parse_instant
from fhir_server.portal.parts import Parts
from fhir_server.portal.records import name_of
from fhir_server.portal.shares import Share, settle, shares
from fhir_server.portal.sharing import category_name
from fhir_server.portal.visit import Visit

# Not the words of the machine's locale: a page is in the language of its reader.
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Guest:
    """One application in one record. `place`: as which of their actors the person let it in."""

    place: int
    patient: str
    client: str
    name: str
    categories: tuple[str, ...]
    since: str
    until: str


class Apps:
    """/apps."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Its routes."""
        router.add_api_route("/apps", self._parts.endpoint(self._list), methods=["GET"])
        router.add_api_route("/apps/stop", self._parts.endpoint(self._stop), methods=["POST"])

    async def _list(self, visit: Visit, stopped: str = "") -> Response:
        if visit.session is None:
            return self._parts.pages.redirect(visit, "/login")
        if visit.session.professional and visit.actor is None:
            return self._parts.pages.redirect(visit, "/login/exercice")
        holders = [(place, each) for place, each in enumerate(visit.session.actors) if each.role in ("patient", "rep")]
        guests = [guest for place, actor in holders for guest in await self._guests(visit, place, actor)]
        return self._parts.pages.page(
            visit, "apps", guests=guests, holder=bool(holders), stopped=stopped, patients=_grouped(guests)
        )

    async def _stop(self, visit: Visit) -> Response:
        """End the directives of an application, and every token that came of them."""
        place, client = visit.asked("place"), visit.asked("client")
        actors = visit.session.actors if visit.session else ()
        if not (place.isascii() and place.isdigit() and int(place) < len(actors)):
            return await self._list(visit)
        actor = actors[int(place)]
        if actor.role not in ("patient", "rep"):
            return await self._list(visit)
        await settle(self._parts.services, actor, actor.patients[0], client, ())
        await revoke_app(self._parts.ledger, client, actor.patients[0], now=self._parts.now())
        return await self._list(visit, await self._name(client))

    async def _guests(self, visit: Visit, place: int, actor: Actor) -> list[Guest]:
        """The applications in one record, each with all that it was given."""
        patient = await name_of(self._parts, actor, actor.patients[0])
        if not patient:
            return []
        found: dict[str, list[Share]] = {}
        for share in await shares(self._parts.services, actor, actor.patients[0]):
            found.setdefault(share.client, []).append(share)
        return [
            Guest(
                place,
                patient,
                client,
                await self._name(client),
                _categories(given, visit.language),
                _day(min(parse_instant(str(each.consent["dateTime"])) for each in given), visit.language),
                _until(given, visit.language),
            )
            for client, given in sorted(found.items())
        ]

    async def _name(self, client: str) -> str:
        known = await find(self._parts.ledger, client)
        return known.name if known else client


def _categories(given: Sequence[Share], language: str) -> tuple[str, ...]:
    """What it may read, in words; empty for everything."""
    codes = {each.category for each in given}
    return () if None in codes else tuple(sorted(category_name(str(code), language) for code in codes))


def _until(given: Sequence[Share], language: str) -> str:
    """The day on which the last of it ends; "" for one that does not."""
    ends = [each.directive.period.high for each in given]
    known = [each for each in ends if each is not None]
    if len(known) < len(ends):
        return ""
    return _day(max(known), language)


def _day(moment: int, language: str) -> str:
    """The day in Paris of a moment in microseconds, as people of that language write it."""
    day = datetime.fromtimestamp(moment / 1_000_000, UTC).astimezone(PARIS)
    return day.strftime("%d/%m/%Y") if language == "fr" else f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _grouped(guests: Sequence[Guest]) -> dict[str, list[Guest]]:
    found: dict[str, list[Guest]] = {}
    for guest in guests:
        found.setdefault(guest.patient, []).append(guest)
    return found
