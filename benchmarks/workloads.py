"""What is measured, as requests ready to be sent."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from benchmarks.measure import get, post, put
from benchmarks.pool import SHAPES, Sample, drawn, urls
from benchmarks.records import LOINC, Records
from benchmarks.seed import HITS, SEARCHED, Seeded

# Operation -> the calibration request it is held against.
HOT: Final = {"read": "raw GET", "search 20": "raw GET", "create": "raw POST"}
MIXED: Final = {"read mix": "raw GET", "search pool": "raw GET", "update": "raw POST"}
_CREATED_BODIES: Final = 200
_SAMPLES: Final = 100
# Of the read mix: how many of each in a hundred.
_MIX: Final = {"read": 60, "search": 20, "vread": 8, "patient": 6, "history": 4, "metadata": 2}


def raw_requests(records: Records) -> dict[str, list[bytes]]:
    """GET, and POST of 2.5 KB."""
    resource = records.observation("Patient/x", "Practitioner/x")
    resource["note"] = [{"text": "x" * (2_500 - len(orjson.dumps({**resource, "note": [{"text": ""}]})))}]
    return {"raw GET": [get("/", {})], "raw POST": [post("/", {}, orjson.dumps(resource))]}


def hot_requests(seeded: Seeded, records: Records, random: Random, *, open: bool) -> dict[str, list[bytes]]:
    """Reads over all observations, a search that finds 20 of one patient, creates of 1 to 2.5 KB over all patients."""
    headers = {"Accept": "application/fhir+json"} | ({} if open else _token(seeded))
    reads = random.sample(seeded.observations, min(2_000, len(seeded.observations)))
    patients = [random.choice(seeded.patients) for _ in range(_CREATED_BODIES)]
    return {
        "read": [get(f"/fhir/{each}", headers) for each in reads],
        "search 20": [
            get(f"/fhir/Observation?patient={each}&code={LOINC}|{SEARCHED}&_count={HITS}", headers)
            for each in seeded.patients
        ],
        "create": [
            post(
                "/fhir/Observation",
                {**headers, "Prefer": "return=minimal"},
                orjson.dumps(records.observation(each, seeded.doctor)),
            )
            for each in patients
        ],
    }


def mixed_requests(seeded: Seeded, samples: list[Sample], random: Random, *, open: bool) -> dict[str, list[bytes]]:
    """A mix of reading interactions; all shapes of the search pool in turn; a new content for results in turn."""
    headers = {"Accept": "application/fhir+json"} | ({} if open else _token(seeded))
    kinds = random.choices(list(_MIX), list(_MIX.values()), k=1_000)
    shapes = [url for turn in range(20) for name in SHAPES for url in urls(name, drawn(samples, random, 1))]
    return {
        "read mix": [get(_mixed(kind, random, seeded), headers) for kind in kinds],
        "search pool": [get(f"/fhir/{url}", headers) for url in shapes],
        "update": [_update(each.observation, headers) for each in samples],
    }


def pool_requests(seeded: Seeded, samples: list[Sample], random: Random, count: int) -> dict[str, list[bytes]]:
    """Each shape of the pool by itself."""
    headers = {"Accept": "application/fhir+json", **_token(seeded)}
    return {
        name: [get(f"/fhir/{url}", headers) for url in urls(name, drawn(samples, random, count))] for name in SHAPES
    }


def everything_requests(seeded: Seeded, count: int) -> list[bytes]:
    """The whole record of the patient with the long history."""
    headers = {"Accept": "application/fhir+json", **_token(seeded)}
    return [get(f"/fhir/{seeded.large}/$everything", headers)] * count


def sample(seeded: Seeded, random: Random, read: Callable[[bytes], Any]) -> list[Sample]:
    """Results of the store with their patients, read from it."""
    headers = {"Accept": "application/fhir+json", **_token(seeded)}
    found = [read(get(f"/fhir/{each}", headers)) for each in random.sample(seeded.observations, _SAMPLES)]
    return [Sample(each, read(get(f"/fhir/{each['subject']['reference']}", headers))) for each in found]


def _mixed(kind: str, random: Random, seeded: Seeded) -> str:
    observation, patient = random.choice(seeded.observations), random.choice(seeded.patients)
    return {
        "read": f"/fhir/{observation}",
        "vread": f"/fhir/{observation}/_history/1",
        "history": f"/fhir/{observation}/_history",
        "patient": f"/fhir/{patient}",
        "search": f"/fhir/Observation?patient={patient}&_sort=-date&_count=10",
        "metadata": "/fhir/metadata",
    }[kind]


def _update(observation: dict[str, Any], headers: dict[str, str]) -> bytes:
    changed = {key: value for key, value in observation.items() if key != "meta"} | {"status": "amended"}
    path = f"/fhir/Observation/{observation['id']}"
    return put(path, {**headers, "Prefer": "return=minimal"}, orjson.dumps(changed))


def transactions(seeded: Seeded, records: Records, random: Random, count: int) -> list[bytes]:
    """Bundles of 150 creates, each in one patient's record; none is sent twice (a document is deposited once)."""
    bundles = (records.bundle(random.choice(seeded.patients), seeded.doctor) for _ in range(count))
    return [post("/fhir", _token(seeded), orjson.dumps(each)) for each in bundles]


def synthea(folder: Path, entries: int) -> tuple[list[bytes], list[tuple[bytes, int]]]:
    """The bundles of Synthea: what all patients point to, then (request, entries) of patients until there are
    `entries` of them."""
    shared = sorted(folder.glob("[0-9]-*.json.bz2"))
    first = [post("/fhir", {}, bz2.decompress(each.read_bytes())) for each in shared]
    bundles = []
    for path in sorted(set(folder.glob("*.json.bz2")) - set(shared)):
        if entries <= 0:
            break
        body = bz2.decompress(path.read_bytes())
        size = len(orjson.loads(body)["entry"])
        entries -= size
        bundles.append((post("/fhir", {}, body), size))
    return first, bundles


def generated_import(seeded: Seeded, records: Records, random: Random, count: int) -> list[tuple[bytes, int]]:
    """As many bundles of 150 entries, in place of Synthea's."""
    return [(each, 150) for each in transactions(seeded, records, random, count)]


def wrong(name: str, status: int, body: Any) -> str:
    """What is wrong with an answer, "" if nothing is; a figure of refused requests is worth nothing."""
    if status not in (200, 201):
        return f"{name} answers {status}: {body}"
    if name == "search 20" and len(body.get("entry", ())) != HITS:
        return f"{name} finds {len(body.get('entry', ()))} entries"
    return ""


def _token(seeded: Seeded) -> dict[str, str]:
    return {"Authorization": f"Bearer {seeded.token}"}
