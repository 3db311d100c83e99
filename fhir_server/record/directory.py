"""A professional who has logged in is found in the directory, or entered with what Pro Santé Connect says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.fhir.identity import FINESS, RPPS, SIRENE, professional_identifiers
from fhir_server.interactions.router import answer

_PROFESSION: Final = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
_ENTRANCE: Final = Actor(role="admin", reference="Device/login", name="Connexion des professionnels", jti="")


async def placed(services: Services, actor: Actor) -> Actor:
    """The same professional, known here: with the references of their Practitioner, of their PractitionerRole in that
    structure, and of the structure, as far as the directory has them."""
    reference = await _practitioner(services, actor)
    keys = {reference}
    if actor.structure:
        structure = (("identifier", f"{FINESS}|{actor.structure},{SIRENE}|{actor.structure}"),)
        for organization in await _found(services, actor, "Organization", structure):
            held = (("practitioner", reference), ("organization", organization), ("active", "true"))
            keys |= {organization, *await _found(services, actor, "PractitionerRole", held)}
    return replace(actor, reference=reference, keys=actor.keys | keys)


async def _practitioner(services: Services, actor: Actor) -> str:
    """The Practitioner of that RPPS number: found or made, in one conditional create."""
    rpps = next(key.partition(":")[2] for key in sorted(actor.keys) if key.startswith("rpps:"))
    resource = {
        "resourceType": "Practitioner",
        "identifier": [*professional_identifiers(f"8{rpps}")[1:]],
        "active": True,
        "name": [{"text": actor.name}],
        "qualification": [{"code": {"coding": [{"system": _PROFESSION, "code": actor.profession}]}}],
    }
    asked = Request("POST", ("Practitioner",), body=orjson.dumps(resource), if_none_exist=f"identifier={RPPS}|{rpps}")
    given = await answer(Context(services, replace(_ENTRANCE, jti=actor.jti), Trace(request_id=services.ids())), asked)
    assert given.version is not None
    return f"Practitioner/{given.version.id}"


async def _found(services: Services, actor: Actor, type_: str, criteria: tuple[tuple[str, str], ...]) -> list[str]:
    """The resources of the directory that a search finds, as "Type/id"."""
    given = await answer(Context(services, actor, Trace(request_id=services.ids())), Request("GET", (type_,), criteria))
    bundle: dict[str, Any] = orjson.loads(given.body)
    return [
        f"{type_}/{each['resource']['id']}"
        for each in bundle.get("entry", ())
        if each["resource"]["resourceType"] == type_
    ]
