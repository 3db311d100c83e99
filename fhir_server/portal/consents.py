"""The page on which a person decides what an application gets.

A patient ticks categories of the record; what they tick becomes directives D09, written as that person through the
ordinary create, and what the application gets is never more than it asked for. A professional's software gets that
professional's own rights, within its scopes.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

from fhir_server.auth.authorize import deny
from fhir_server.auth.scopes import resource_scopes
from fhir_server.portal.journey import Journey, decided, journey, let_in, onward, settled
from fhir_server.portal.pages import Fault, away
from fhir_server.portal.parts import Parts
from fhir_server.portal.records import name_of
from fhir_server.portal.shares import settle
from fhir_server.portal.sharing import (
    Gift,
    asks_to_read,
    asks_to_write,
    categories_asked,
    category_name,
    directives,
    scopes_given,
)
from fhir_server.portal.visit import Visit

DAYS: Final = {"day": 1, "quarter": 91, "year": 365, "always": 0}


class Consents:
    """/authorize/consent."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Its routes."""
        router.add_api_route("/authorize/consent", self._parts.endpoint(self._form), methods=["GET"])
        router.add_api_route("/authorize/consent", self._parts.endpoint(self._decide), methods=["POST"])

    async def _form(self, visit: Visit, *faults: Fault, status: int = 200) -> Response:
        given = await journey(self._parts, visit)
        if not self._ready(visit, given):
            return await onward(self._parts, visit)
        scopes = given.request.scopes
        asked = categories_asked(scopes)
        return self._parts.pages.page(
            visit,
            "consent" if self._shares(visit, given) else "software",
            status=status,
            faults=faults,
            leads_to=[given.request.redirect_uri],
            app=given.request.client_name,
            request=given.id,
            patient=await self._label(visit, given),
            categories=[(code, category_name(code, visit.language)) for code in asked],
            reads=asks_to_read(scopes),
            writes=asks_to_write(scopes),
            later="offline_access" in scopes,
            who="openid" in scopes or "fhirUser" in scopes,
            scopes=scopes,
            chosen=visit.form,
            terms=list(DAYS),
        )

    async def _decide(self, visit: Visit) -> Response:
        given = await journey(self._parts, visit)
        if not self._ready(visit, given):
            return await onward(self._parts, visit)
        if visit.asked("decision") != "approve":
            assert visit.session is not None
            await decided(self._parts, given, given.actor(visit.session), "deny")
            return away(visit, await deny(self._parts.ledger, given.id))
        if not self._shares(visit, given):
            return await let_in(self._parts, visit, given, given.request.scopes)
        gift, faults = self._gift(visit, given)
        scopes = scopes_given(given.request.scopes, gift)
        wanted, left = resource_scopes(given.request.scopes), resource_scopes(scopes)
        if not faults and (not scopes or (wanted and not left)):
            faults = [Fault("share-all", "consent_nothing")]
        if faults:
            return await self._form(visit, *faults, status=422)
        await self._write(visit, given, gift)
        return await let_in(self._parts, visit, given, scopes)

    def _ready(self, visit: Visit, given: Journey) -> bool:
        """Whether all that comes before is settled, for this login."""
        request = given.request
        if not settled(visit, given) or "none" in request.prompt or request.first_party:
            return False
        return bool(given.patient) or not request.needs_patient

    def _shares(self, visit: Visit, given: Journey) -> bool:
        """Whether it is a patient or representative who decides, over a record."""
        assert visit.session is not None
        return given.actor(visit.session).role in ("patient", "rep") and bool(given.patient)

    async def _label(self, visit: Visit, given: Journey) -> str:
        if given.label or not given.patient or not self._shares(visit, given):
            return given.label
        assert visit.session is not None
        return await name_of(self._parts, given.actor(visit.session), given.patient)

    def _gift(self, visit: Visit, given: Journey) -> tuple[Gift, list[Fault]]:
        """What was ticked, of what could be; and what was left open."""
        asked, faults = categories_asked(given.request.scopes), list[Fault]()
        reads = asks_to_read(given.request.scopes)
        share, until = visit.asked("share"), visit.asked("until")
        ticked = frozenset(visit.form.get("category", ())) & frozenset(asked)
        if reads and share not in ("all", "some", "none"):
            faults.append(Fault("share-all", "consent_share_missing"))
        if share == "some" and not ticked:
            faults.append(Fault("category-0", "consent_categories_missing"))
        if until not in DAYS:
            faults.append(Fault("until-day", "consent_until_missing"))
        some = ticked if share == "some" else frozenset[str]()
        categories = None if reads and share == "all" else some
        write, offline = visit.asked("write") == "yes", visit.asked("offline") == "yes"
        return Gift(categories, write=write, offline=offline, days=DAYS.get(until, 0)), faults

    async def _write(self, visit: Visit, given: Journey, gift: Gift) -> None:
        """The directives D09 of this decision, in the place of earlier ones for the same application."""
        assert visit.session is not None
        actor = given.actor(visit.session)
        wanted = directives(
            actor,
            given.patient,
            given.request.client,
            gift,
            now=self._parts.now(),
            place=visit.words["site"],
        )
        await settle(self._parts.services, actor, given.patient, given.request.client, wanted)
