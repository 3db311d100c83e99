"""The page on which the record is chosen that an application is to work with.

A patient or representative chooses among the records that open to them now; a professional finds one patient by exact
INS and birth date, through the ordinary lookup, and is never shown a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Response

from fhir_server.auth.actor import Actor
from fhir_server.errors import FhirServerError, Malformed, NotFound
from fhir_server.fhir.identity import INS_NIA, INS_NIR, INS_NIR_DEMO, INS_NIR_TEST, normal_ins
from fhir_server.portal.journey import Journey, journey, keep, onward, settled
from fhir_server.portal.pages import Fault
from fhir_server.portal.parts import Parts
from fhir_server.portal.shares import ask
from fhir_server.portal.visit import Visit

_KINDS: Final = {"nir": INS_NIR, "nia": INS_NIA, "test": INS_NIR_TEST, "demo": INS_NIR_DEMO}
_INS: Final = re.compile(r"[0-9A-Z]{15}", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_WRITTEN: Final = re.compile(r"([0-9]{1,2})[/. -]([0-9]{1,2})[/. -]([0-9]{4})", re.ASCII)
"""Day, month and year, as they stand on a carte Vitale and are written in France."""


class Records:
    """/authorize/patient."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Its routes."""
        router.add_api_route("/authorize/patient", self._parts.endpoint(self._form), methods=["GET"])
        router.add_api_route("/authorize/patient", self._parts.endpoint(self._choose), methods=["POST"])

    async def _form(self, visit: Visit, *faults: Fault, status: int = 200) -> Response:
        given = await journey(self._parts, visit)
        if not settled(visit, given):
            return await onward(self._parts, visit)
        assert visit.session is not None
        shown: dict[str, Any] = {"app": given.request.client_name, "request": given.id}
        leads_to = [given.request.redirect_uri]
        if visit.session.professional:
            kinds = [each for each in _KINDS if not self._parts.services.settings.production or each in ("nir", "nia")]
            typed = {name: visit.asked(name) for name in ("ins", "kind", "birth")}
            return self._parts.pages.page(
                visit, "lookup", status=status, faults=faults, leads_to=leads_to, kinds=kinds, typed=typed, **shown
            )
        records = await self._open(visit)
        if not records:
            return self._parts.pages.page(
                visit, "message", status=403, title="patient_none_title", text="patient_none", leads_to=leads_to
            )
        return self._parts.pages.page(
            visit, "patient", status=status, faults=faults, leads_to=leads_to, records=records, **shown
        )

    async def _choose(self, visit: Visit) -> Response:
        given = await journey(self._parts, visit)
        if not settled(visit, given):
            return await onward(self._parts, visit)
        assert visit.session is not None
        if visit.session.professional:
            return await self._look_up(visit, given)
        wanted = visit.asked("patient")
        for place, label in await self._open(visit):
            if wanted == str(place):
                patient = visit.session.actors[place].patients[0]
                chosen = replace(given, session=visit.session.id, place=place, patient=patient, label=label)
                await keep(self._parts, chosen)
                return await onward(self._parts, visit)
        return await self._form(visit, Fault("patient-0", "patient_missing"), status=422)

    async def _open(self, visit: Visit) -> list[tuple[int, str]]:
        """The records that open to this person now: which of their actors, and whose it is."""
        assert visit.session is not None
        found = []
        for place, actor in enumerate(visit.session.actors):
            if actor.role in ("patient", "rep"):
                label = await name_of(self._parts, actor, actor.patients[0])
                if label:
                    found.append((place, label))
        return found

    async def _look_up(self, visit: Visit, given: Journey) -> Response:
        ins, birth = normal_ins(visit.asked("ins")), _date(visit.asked("birth").strip())
        system = _KINDS.get(visit.asked("kind"), INS_NIR)
        faults = []
        if not _INS.fullmatch(ins):
            faults.append(Fault("ins", "lookup_ins_wrong"))
        if not _DATE.fullmatch(birth):
            faults.append(Fault("birth", "lookup_birth_wrong"))
        if faults:
            return await self._form(visit, *faults, status=422)
        assert visit.actor is not None
        assert visit.session is not None
        query = {"identifier": f"{system}|{ins}", "birthdate": birth}
        try:
            found = (await ask(self._parts.services, visit.actor, "GET", ("Patient",), **query)).get("entry", [])
        except Malformed:
            return await self._form(visit, Fault("birth", "lookup_birth_wrong"), status=422)
        if not found:
            return await self._form(visit, Fault("ins", "lookup_unknown"), status=404)
        patient = found[0]["resource"]
        label = _named(patient) or f"INS {ins}"
        await keep(self._parts, replace(given, session=visit.session.id, patient=patient["id"], label=label))
        return await onward(self._parts, visit)


async def name_of(parts: Parts, actor: Actor, patient: str) -> str:
    """Whose record that is, as that person may read it; "" when it is not open to them."""
    try:
        return _named(await ask(parts.services, actor, "GET", ("Patient", patient))) or f"Patient/{patient}"
    except NotFound:
        return ""
    except FhirServerError as error:
        if error.code in ("forbidden", "deleted"):
            return ""
        raise


def _date(text: str) -> str:
    """A date as FHIR has it, of one as people write it; anything else as it is."""
    found = _WRITTEN.fullmatch(text)
    return f"{found[3]}-{found[2]:0>2}-{found[1]:0>2}" if found else text


def _named(patient: Mapping[str, Any]) -> str:
    """The name in use, else the first there is."""
    names = patient.get("name", [])
    name = next((each for each in names if each.get("use") == "usual"), names[0] if names else {})
    given = " ".join(name.get("given", [])[:1])
    return str(name.get("text") or f"{given} {name.get('family', '')}".strip())
