"""A store with a doctor and his patients in it, filled through the same interactions as by every client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.records import Records, organization, practitioner
from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import issue
from fhir_server.context import Answer, Context, Request, Services, Trace
from fhir_server.interactions.router import answer
from fhir_server.settings import Settings

# The first analysis: no other record of the run holds it, so a search for it finds what was put here.
SEARCHED: Final = "4548-4"
HITS: Final = 20
_OTHERS: Final = 60
# Resources of one patient.
EACH: Final = 1 + HITS + _OTHERS
KEPT: Final = 5_000
_BUNDLE: Final = 150
_DAY: Final = 86_400_000_000
_ADMIN: Final = Actor(role="admin", reference="Device/benchmark", name="Benchmark", jti="benchmark")


@dataclass(frozen=True, slots=True)
class Seeded:
    """What is in the store: the doctor's token and reference, patients and observations as "Type/id", not more than
    `KEPT` of each; `large`: the patient with a long history, not among `patients`; "" if there is none."""

    token: str
    doctor: str
    practice: str
    patients: tuple[str, ...]
    observations: tuple[str, ...]
    large: str = ""


async def fill(store: Path, records: Records, patients: int, progress: Callable[[], None], *, large: int = 0) -> Seeded:
    """Each patient gets 20 observations of one analysis and 60 of others; `progress` is called after each patient.

    `large`: entries of the one patient with a long history.
    """
    async with services(Settings(store=f"sqlite:{store}")) as parts:
        practice = await _create(parts, _ADMIN, organization())
        person = await _create(parts, _ADMIN, practitioner())
        actor = _doctor(person, practice)
        references, observations = [], []
        for _ in range(patients):
            patient = await _create(parts, _ADMIN, records.patient(person))
            references.append(patient)
            observations += await _results(parts, actor, records, patient, person)
            progress()
        long = await _long(parts, actor, records, person, large) if large else ""
        token = await _token(parts, actor)
    return Seeded(token, person, practice, _thinned(references), _thinned(observations), long)


async def admitted(store: Path, seeded: Seeded) -> Seeded:
    """The same with a token of today: that of a file which is kept has run out."""
    async with services(Settings(store=f"sqlite:{store}")) as parts:
        return replace(seeded, token=await _token(parts, _doctor(seeded.doctor, seeded.practice)))


async def _token(parts: Services, actor: Actor) -> str:
    return await issue(parts.store.ledger, actor, ttl=_DAY, now=parts.clock())


async def _long(parts: Services, actor: Actor, records: Records, person: str, entries: int) -> str:
    patient = await _create(parts, _ADMIN, records.patient(person))
    for left in range(entries, 0, -_BUNDLE):
        await _send(parts, actor, (), records.bundle(patient, person, min(left, _BUNDLE)))
    return patient


def _thinned(references: list[str]) -> tuple[str, ...]:
    """Evenly spread over the store."""
    return tuple(references[:: max(1, len(references) // KEPT)])


def _doctor(person: str, practice: str) -> Actor:
    """The médecin traitant of every patient: the caller for whom most rules are weighed."""
    return Actor(
        role="ps",
        reference=person,
        name="Docteur Benchmark",
        jti="",
        keys=frozenset({"rpps:99900000001", "org:990000001", person, practice}),
        profession="10",
        specialty="SM54",
        structure="990000001",
        structure_name="Cabinet médical 1",
        sector="SA07",
    )


async def _results(parts: Services, actor: Actor, records: Records, patient: str, person: str) -> list[str]:
    codes = [0] * HITS + [1 + number % 7 for number in range(_OTHERS)]
    entries = [
        {
            "resource": records.observation(patient, person, code),
            "request": {"method": "POST", "url": "Observation"},
        }
        for code in codes
    ]
    given = await _send(parts, actor, (), {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    locations = [each["response"]["location"] for each in orjson.loads(given.body)["entry"]]
    return ["/".join(each.partition("/_history")[0].split("/")[-2:]) for each in locations]


async def _create(parts: Services, actor: Actor, resource: dict[str, Any]) -> str:
    given = await _send(parts, actor, (resource["resourceType"],), resource)
    return given.location.partition("/_history")[0]


async def _send(parts: Services, actor: Actor, path: tuple[str, ...], resource: dict[str, Any]) -> Answer:
    ctx = Context(parts, actor, Trace(request_id="benchmark"))
    return await answer(ctx, Request("POST", path, body=orjson.dumps(resource), prefer="minimal"))
