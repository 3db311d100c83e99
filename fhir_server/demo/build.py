"""Fill an empty store with the demonstration, through the same interactions as every client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.auth.contexts import REGULATION
from fhir_server.auth.tokens import issue
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.demo import family
from fhir_server.fhir.dates import format_instant
from fhir_server.interactions.router import answer
from fhir_server.settings import CANONICAL_BASE

DAY: Final = 86_400_000_000
_ADMIN: Final = Actor(role="admin", reference="Device/demo-admin", name="Administrateur de démonstration", jti="demo")
_MARK: Final = "demo"


@dataclass(slots=True)
class Cast:
    """Who is who: keys of `family` to references."""

    references: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> str:
        return self.references[key]

    def id(self, key: str) -> str:
        """The id alone."""
        return self.references[key].partition("/")[2]


async def build(services: Services) -> Cast:
    """The cast of this store: played on first call, remembered afterwards."""
    known = await services.store.ledger.get(_MARK, "cast", now=services.clock())
    if known:
        return Cast(orjson.loads(known))
    cast = Cast()
    await _directory(services, cast)
    await _patients(services, cast)
    await _documents(services, cast)
    await services.store.ledger.put(_MARK, "cast", orjson.dumps(cast.references), expires=None)
    return cast


async def credentials(services: Services, cast: Cast) -> dict[str, dict[str, str]]:
    """A token of one day for every actor: name -> {"reference", "token"}."""
    given = {}
    for name, actor in actors(cast).items():
        token = await issue(services.store.ledger, actor, ttl=DAY, now=services.clock())
        given[name] = {"reference": actor.reference, "token": token}
    return given


def actors(cast: Cast) -> dict[str, Actor]:
    """The callers of the demonstration."""
    everyone = {
        "patient": _citizen(cast, "patient", cast["patient"], family.PATIENTS[0], cast.id("patient")),
        "mother": _citizen(cast, "patient", cast["mother"], family.PATIENTS[1], cast.id("mother")),
        "representative": _citizen(cast, "rep", cast["representative"], family.PATIENTS[1], cast.id("child")),
        "admin": _ADMIN,
        "app": Actor(
            role="app",
            reference="Device/demo-app",
            name="Carnet de santé (démonstration)",
            jti="",
            keys=frozenset({"client:demo-app"}),
            patients=(cast.id("patient"),),
            authoriser="patient",
            authoriser_key=cast["patient"],
            client="demo-app",
        ),
    }
    for person in family.PROFESSIONALS:
        everyone[person.key] = _professional(cast, person)
    everyone["lgc"] = _professional(
        cast, family.PROFESSIONALS[-1], client="demo-lgc", software="Logiciel du laboratoire"
    )
    return everyone


def _citizen(cast: Cast, role: str, reference: str, person: family.Person, record: str) -> Actor:
    return Actor(
        role=role,
        reference=reference,
        name=f"{person.given} {person.family}",
        jti="",
        keys=frozenset({reference}),
        patients=(record,),
        purpose="PATRQT",
    )


def _professional(cast: Cast, person: family.Professional, client: str = "", software: str = "") -> Actor:
    structure = next(each for each in family.STRUCTURES if each.key == person.structure)
    own = {cast[person.key], cast[f"{person.key} role"], *({REGULATION} if person.regulates else ())}
    return Actor(
        role="ps",
        reference=cast[person.key],
        name=f"{person.given} {person.family}",
        jti="",
        keys=frozenset({f"rpps:{person.rpps}", f"org:{structure.finess}", cast[structure.key], *own}),
        profession=person.profession,
        specialty=person.specialty,
        structure=structure.finess,
        structure_name=structure.name,
        sector=structure.sector,
        client=client,
        software=software,
    )


async def _directory(services: Services, cast: Cast) -> None:
    for structure in family.STRUCTURES:
        cast.references[structure.key] = await _post(services, _ADMIN, family.organization(structure))
    for person in family.PROFESSIONALS:
        cast.references[person.key] = await _post(services, _ADMIN, family.practitioner(person))
        role = family.practitioner_role(person, cast[person.key], cast[person.structure])
        cast.references[f"{person.key} role"] = await _post(services, _ADMIN, role)


async def _patients(services: Services, cast: Cast) -> None:
    for person in family.PATIENTS:
        gp = cast["medecin_traitant"] if person.key == "patient" else ""
        cast.references[person.key] = await _post(services, _ADMIN, family.patient(person, gp))
    mother = family.related_person(cast["child"], family.PATIENTS[1])
    cast.references["representative"] = await _post(services, _ADMIN, mother)
    since = format_instant(services.clock())[:10]
    members = [cast["care_team role"], cast["nurse role"]]
    team = await _post(services, _ADMIN, family.care_team(cast["patient"], members, since))
    patient = actors(cast)["patient"]
    to_team = {"type": "permit", "actor": family.named({"reference": team})}
    await _post(services, patient, family.consent(cast["patient"], "care-team", to_team))
    app = {"identifier": {"system": f"{CANONICAL_BASE}/client", "value": "demo-app"}}
    purpose = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "PATRQT"}
    to_app = {"type": "permit", "purpose": [purpose], "actor": family.named(app)}
    await _post(services, patient, family.consent(cast["patient"], "app-share", to_app))


async def _documents(services: Services, cast: Cast) -> None:
    for name, body in documents():
        author = "medecin_traitant" if name.startswith("synthese") else "biologist"
        await _send(services, actors(cast)[author], ("$import-document",), body, "application/xml")


def documents() -> Sequence[tuple[str, bytes]]:
    """The CDA documents of the demonstration, by file name."""
    folder = files("fhir_server.demo") / "documents"
    return [(each.name, each.read_bytes()) for each in sorted(folder.iterdir(), key=lambda each: each.name)]


async def _post(services: Services, actor: Actor, resource: dict[str, Any]) -> str:
    location = await _send(services, actor, (resource["resourceType"],), orjson.dumps(resource))
    return location.partition("/_history")[0]


async def _send(
    services: Services, actor: Actor, path: tuple[str, ...], body: bytes, content_type: str = "application/fhir+json"
) -> str:
    ctx = Context(services, actor, Trace(request_id="demo"))
    given = await answer(ctx, Request("POST", path, body=body, content_type=content_type, prefer="minimal"))
    return given.location
