"""What is measured, as requests ready to be sent."""

from __future__ import annotations

import bz2
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from benchmarks.measure import get, post
from benchmarks.records import LOINC, Records
from benchmarks.seed import HITS, SEARCHED, Seeded

# Operation -> the calibration request it is held against.
HOT: Final = {"read": "raw GET", "search 20": "raw GET", "create": "raw POST"}
_CREATED_BODIES: Final = 200


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
