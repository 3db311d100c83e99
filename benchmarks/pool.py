"""The search pool: thirty shapes of question, with values taken from what the store holds at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

Resource: TypeAlias = dict[str, Any]
Pairs: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One result of the store and the patient it is about."""

    observation: Resource
    patient: Resource

    @property
    def about(self) -> tuple[str, str]:
        """The parameter that names the patient."""
        return "patient", f"Patient/{self.patient['id']}"

    @property
    def code(self) -> str:
        """Of the analysis, as a token."""
        coding = self.observation["code"]["coding"][0]
        return f"{coding['system']}|{coding['code']}"

    @property
    def day(self) -> str:
        """Of the result."""
        return str(self.observation["effectiveDateTime"][:10])

    @property
    def amount(self) -> tuple[float, str, str]:
        """Value, system and code of its quantity."""
        quantity = self.observation["valueQuantity"]
        return quantity["value"], quantity["system"], quantity["code"]

    @property
    def identifier(self) -> str:
        """Of the result, as a token."""
        return _token(self.observation["identifier"][0])

    @property
    def ins(self) -> str:
        """Of the patient, as a token."""
        return _token(self.patient["identifier"][0])

    @property
    def family(self) -> str:
        """Of the patient, as a person types it."""
        return str(self.patient["name"][0]["family"]).title()


def _token(identifier: Resource) -> str:
    return f"{identifier['system']}|{identifier['value']}"


def _near(sample: Sample, prefix: str, factor: float = 1.0, code: str = "") -> str:
    value, system, own = sample.amount
    return f"{prefix}{value * factor:g}|{system}|{code or own}"


Shape: TypeAlias = Callable[[Sample], Pairs]
_LABORATORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"

# name → resource type and the parameters asked for.
SHAPES: Final[Mapping[str, tuple[str, Shape]]] = {
    "patient": ("Observation", lambda s: [s.about]),
    "patient, code": ("Observation", lambda s: [s.about, ("code", s.code)]),
    "patient, bare code": ("Observation", lambda s: [s.about, ("code", s.code.partition("|")[2])]),
    "patient, several codes": (
        "Observation",
        lambda s: [s.about, ("code", f"{s.code},http://loinc.org|2823-3,http://loinc.org|2951-2")],
    ),
    "patient, code not": ("Observation", lambda s: [s.about, ("code:not", s.code)]),
    "patient, category, newest": (
        "Observation",
        lambda s: [s.about, ("category", _LABORATORY), ("_sort", "-date"), ("_count", "10")],
    ),
    "patient, day": ("Observation", lambda s: [s.about, ("date", s.day)]),
    "patient, range of days": (
        "Observation",
        lambda s: [s.about, ("date", f"ge{s.day[:4]}-01-01"), ("date", f"lt{s.day[:4]}-12-31")],
    ),
    "patient, month": ("Observation", lambda s: [s.about, ("date", s.day[:7])]),
    "patient, since, by date": ("Observation", lambda s: [s.about, ("date", f"ge{s.day}"), ("_sort", "date")]),
    "patient, quantity": ("Observation", lambda s: [s.about, ("value-quantity", _near(s, ""))]),
    "patient, quantity above": (
        "Observation",
        lambda s: [s.about, ("code", s.code), ("value-quantity", _near(s, "gt"))],
    ),
    "patient, quantity in another unit": (
        "Observation",
        lambda s: [
            s.about,
            ("code", "http://loinc.org|14682-9"),
            ("value-quantity", "lt0.1|http://unitsofmeasure.org|mmol/L"),
        ],
    ),
    "patient, composite": (
        "Observation",
        lambda s: [s.about, ("code-value-quantity", f"{s.code}${_near(s, 'ge', 0.9)}")],
    ),
    "patient, combo-code": ("Observation", lambda s: [s.about, ("combo-code", s.code)]),
    "identifier": ("Observation", lambda s: [s.about, ("identifier", s.identifier)]),
    "subject and status": (
        "Observation",
        lambda s: [("subject", s.about[1]), ("status", "final"), ("_total", "accurate")],
    ),
    "chain to the patient": ("Observation", lambda s: [s.about, ("patient.identifier", s.ins), ("code", s.code)]),
    "chain by family name": (
        "Observation",
        lambda s: [s.about, ("subject:Patient.family", s.family), ("code", s.code)],
    ),
    "include patient": (
        "Observation",
        lambda s: [s.about, ("code", s.code), ("_include", "Observation:patient"), ("_count", "10")],
    ),
    "include patient and performer": (
        "Observation",
        lambda s: [
            s.about,
            ("code", s.code),
            ("_include", "Observation:patient"),
            ("_include", "Observation:performer"),
            ("_count", "10"),
        ],
    ),
    "revinclude": ("Patient", lambda s: [("_id", s.patient["id"]), ("_revinclude", "Observation:patient")]),
    "has": ("Patient", lambda s: [("_id", s.patient["id"]), ("_has:Observation:patient:code", s.code)]),
    "text": ("Observation", lambda s: [s.about, ("_text", s.observation["code"]["text"].split()[0].lower())]),
    "count only": ("Observation", lambda s: [s.about, ("_summary", "count")]),
    "elements": ("Observation", lambda s: [s.about, ("_elements", "code,valueQuantity"), ("_count", "20")]),
    "last changed": ("Observation", lambda s: [s.about, ("_sort", "-_lastUpdated"), ("_count", "5")]),
    "two sort keys": ("Observation", lambda s: [s.about, ("_sort", "code,-date"), ("_count", "20")]),
    "missing": ("Observation", lambda s: [s.about, ("encounter:missing", "true")]),
    "patient by INS": ("Patient", lambda s: [("identifier", s.ins), ("birthdate", s.patient["birthDate"])]),
}
assert len(SHAPES) == 30


def urls(shape: str, samples: Iterable[Sample]) -> list[str]:
    """The urls, relative to the FHIR base, that ask the question of that shape of each sample."""
    type_, make = SHAPES[shape]
    return [f"{type_}?{urlencode(make(sample))}" for sample in samples]


def drawn(samples: list[Sample], random: Random, count: int) -> list[Sample]:
    """That many of them, some perhaps twice."""
    return [random.choice(samples) for _ in range(count)]
