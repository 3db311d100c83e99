"""An index made by other code is another index: who changes what an extractor makes has to say so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from hashlib import sha256
from typing import Any

import pytest

from fhir_server.indexing import EDITIONS
from fhir_server.search.entries import Entries
from fhir_server.search.extract import extract
from fhir_server.search.kinds import KINDS
from fhir_server.search.kinds.sink import Sink
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"
UCUM = "http://unitsofmeasure.org"

# Kind of parameter → its edition, and the digest of what it makes of SAMPLES and RESOURCES.
MADE = {
    "composite": (1, "c5313a59e268"),
    "date": (1, "7caf21d30724"),
    "number": (1, "094b4191e47b"),
    "quantity": (1, "e17f6dbf1912"),
    "reference": (1, "f9a0e0e1ff1a"),
    "string": (2, "b399821a6ea2"),
    "token": (1, "a0acc3f25f7b"),
    "uri": (1, "a52a2afa7824"),
}
# Kinds of extractors that serve parameters of another type.
SERVES = {"phonetic": "string", "prose": "string"}

# Values by FHIR type.
SAMPLES: dict[str, list[Any]] = {
    "Address": [{"line": ["3 rue de l'Église"], "city": "Besançon", "postalCode": "25000", "text": "chez elle"}],
    "Age": [{"value": 40, "unit": "an", "system": UCUM, "code": "a"}],
    "Attachment": [{"url": "Binary/b", "contentType": "text/plain"}, {"url": f"{BASE}/Binary/c"}],
    "CodeableConcept": [
        {"coding": [{"system": "http://loinc.org", "code": "1-8", "display": "Œil"}, {"display": "rien"}], "text": "É!"}
    ],
    "Coding": [{"system": "urn:s", "code": "c", "display": "D d"}, {"code": "seul"}],
    "ContactPoint": [{"system": "phone", "value": "+33 1"}, {"system": "email", "value": "A@b.fr"}],
    "Count": [{"value": 3}],
    "Distance": [{"value": 1.5, "system": UCUM, "code": "km"}],
    "Duration": [{"value": 90, "comparator": ">=", "system": UCUM, "code": "min"}],
    "HumanName": [{"family": "d'Été", "given": ["Zoë", "Anne-Lise"], "prefix": ["Dr"], "text": "Zoë d'Été"}],
    "Identifier": [{"system": "urn:oid:1.2", "value": "X9", "type": {"text": "Numéro"}}, {"value": "sans"}],
    "Money": [{"value": 12.5, "currency": "EUR"}],
    "Period": [{"start": "2024-02", "end": "2024-03-31T10:00:00+02:00"}, {"start": "2024"}, {"end": "2023"}],
    "Quantity": [
        {"value": 5.40, "unit": "mg/dl", "system": UCUM, "code": "mg/dL"},
        {"value": 7, "comparator": "<", "unit": "comprimé"},
    ],
    "Range": [{"low": {"value": 1, "system": UCUM, "code": "g"}, "high": {"value": 2, "system": UCUM, "code": "g"}}],
    "Reference": [
        {"reference": "Patient/p"},
        {"reference": f"{BASE}/Patient/p/_history/2", "identifier": {"system": "urn:oid:1", "value": "v"}},
        {"reference": "https://ailleurs.example/fhir/Patient/q"},
        {"reference": "#dedans"},
        {"reference": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"},
    ],
    "Resource": [{"resourceType": "Patient", "id": "p"}],
    "SampledData": [{"origin": {"value": 0}, "period": 10, "dimensions": 1, "data": "1 2"}],
    "Timing": [{"event": ["2024-05-01", "2024-06-01T08:00:00Z"]}, {"repeat": {"boundsPeriod": {"start": "2024-07"}}}],
    "boolean": [True, False],
    "canonical": ["http://example.org/x|1.0", "http://example.org/x#y"],
    "code": ["final", "EN-cours"],
    "date": ["2024", "2024-02", "2024-02-29"],
    "dateTime": ["2024-02-29T10:00:00.5+01:00", "2024-02-29T10:00"],
    "decimal": [0.8, -3, 1e30],
    "id": ["a-1.B"],
    "instant": ["2024-02-29T10:00:00.123456Z"],
    "integer": [0, -7],
    "markdown": ["# Titre\n\nde *l'œuvre*"],
    "oid": ["urn:oid:1.2.250"],
    "positiveInt": [1],
    "string": ["Ça  va ?", "2024-03", "ﬁn", "l'été"],
    "unsignedInt": [12],
    "uri": ["http://example.org/A/b", "Patient/p"],
    "url": ["https://example.org/?q=é"],
    "uuid": ["urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"],
}
_CODE = {"coding": [{"system": "http://loinc.org", "code": "55284-4", "display": "Tension"}], "text": "Tension"}
RESOURCES: list[dict[str, Any]] = [
    {
        "resourceType": "Observation",
        "meta": {"profile": ["http://example.org/p"], "tag": [{"code": "t"}], "source": "urn:x"},
        "language": "fr",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Tension &eacute;lev&eacute;e</p></div>',
        },
        "status": "final",
        "code": _CODE,
        "subject": {"reference": "Patient/p", "display": "Zoë"},
        "effectivePeriod": {"start": "2024-02-29"},
        "component": [
            {"code": {"coding": [{"code": "sys"}]}, "valueQuantity": {"value": 140, "system": UCUM, "code": "mm[Hg]"}},
            {"code": {"coding": [{"code": "dia"}]}, "valueString": "basse"},
            {"code": {"coding": [{"code": "why"}]}, "dataAbsentReason": {"text": "panne"}},
        ],
        "note": [{"text": "prise *debout*"}],
    },
    {
        "resourceType": "Patient",
        "name": [{"family": "d'Été", "given": ["Zoë"]}],
        "birthDate": "1980-02-29",
        "deceasedDateTime": "2024",
        "address": [{"city": "Besançon"}],
        "telecom": [{"system": "phone", "value": "+33 1"}],
        "generalPractitioner": [{"reference": "Practitioner/d"}],
    },
    {
        "resourceType": "DocumentReference",
        "status": "current",
        "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/old"}}],
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/b", "creation": "2024-01"}}],
        "context": {"period": {"start": "2023-12"}},
    },
    {
        "resourceType": "RiskAssessment",
        "status": "final",
        "subject": {"reference": "Patient/p"},
        "prediction": [{"probabilityDecimal": 0.8}, {"probabilityRange": {"low": {"value": 0.1}}}],
    },
    {
        "resourceType": "ValueSet",
        "url": "http://example.org/vs",
        "status": "active",
        "useContext": [{"code": {"code": "age"}, "valueRange": {"low": {"value": 1}, "high": {"value": 9}}}],
    },
]


def _of_samples() -> Iterator[tuple[str, Any]]:
    """Kind of parameter and what its extractors make of the values."""
    for name, kind in KINDS.items():
        for type_, add in sorted(kind.add.items()):
            sink = Sink(BASE, UTC)
            for value in SAMPLES[type_]:
                add("of", value, sink)
            yield SERVES.get(name, name), (name, type_, _lists(sink.entries()))


def _of_resources(registry: SearchRegistry) -> Iterator[tuple[str, Any]]:
    """Kind of parameter and one entry of a resource that has it."""
    for resource in RESOURCES:
        type_ = resource["resourceType"]
        entries = extract(registry, type_, resource, BASE)
        for name, kind in sorted(_lists(entries).items()):
            for entry in kind:
                parameter = registry.find(type_, entry[0].partition(":")[0])
                assert parameter
                yield parameter.type, (type_, name, entry)


def _lists(entries: Entries) -> dict[str, list[Any]]:
    """Entries as plain values, the empty kinds left out; the same for the same entries, on every machine."""
    kinds = {name: getattr(entries, name) for name in Entries.__dataclass_fields__}
    found = {name: [[_plain(part) for part in each] for each in kind] for name, kind in kinds.items() if kind}
    return {name: sorted(kind, key=repr) for name, kind in found.items()}


def _plain(part: Any) -> Any:
    return _lists(part) if isinstance(part, Entries) else part


@pytest.fixture(scope="module")
def made(registry: SearchRegistry) -> dict[str, str]:
    """Kind of parameter → digest of what it makes."""
    found: dict[str, list[str]] = {kind: [] for kind in EDITIONS}
    for kind, entries in (*_of_samples(), *_of_resources(registry)):
        found[kind].append(repr(entries))
    return {kind: sha256("\n".join(each).encode()).hexdigest()[:12] for kind, each in found.items()}


@pytest.mark.parametrize("kind", sorted(MADE))
def test_who_changes_what_an_extractor_makes_raises_its_edition(made: dict[str, str], kind: str) -> None:
    """By the edition a server knows that its index was made by other code, and `fhir-server reindex` what to make
    again."""
    edition, digest = MADE[kind]
    assert (EDITIONS[kind], made[kind]) == (edition, digest), (
        f"{kind} parameters have other entries than those of edition {edition}. Raise EDITIONS[{kind!r}] in"
        f" fhir_server/indexing.py to {edition + 1}, so that stores are indexed again, and write here"
        f" ({edition + 1}, {made[kind]!r}). Only if the samples of this test were changed does the edition stay."
    )


def test_every_kind_of_parameter_has_an_edition_and_every_extractor_a_sample() -> None:
    """What is not sampled could change unseen."""
    # Parameters of type special have no entries.
    assert MADE.keys() == EDITIONS.keys() - {"special"}
    assert {type_ for kind in KINDS.values() for type_ in kind.add} == SAMPLES.keys()
