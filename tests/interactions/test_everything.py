"""Patient/[id]/$everything over HTTP."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import Caller, House
from tests.interactions.test_bundle import _bundle, _entry
from tests.leaks.test_review_findings import made

P, E, V, M, D, R = (f"urn:uuid:1111111{n}-1111-4111-8111-111111111111" for n in range(6))


def record(server: Caller) -> dict[str, str]:
    """A patient, with an observation made by a doctor for an organisation before the Patient is."""
    subject = {"subject": {"reference": P}}
    coded = {"status": "final", "code": {"text": "x"}}
    entries = {
        V: {
            "resourceType": "Observation",
            **coded,
            **subject,
            "performer": [{"reference": D}],
            "effectiveDateTime": "2020-05-01",
        },
        P: {"resourceType": "Patient", "managingOrganization": {"reference": R}},
        E: {"resourceType": "Flag", "status": "active", "code": {"text": "x"}, **subject},
        M: {"resourceType": "Observation", **coded, **subject, "effectiveDateTime": "2024-05-01"},
        D: {"resourceType": "Practitioner"},
        R: {"resourceType": "Organization", "name": "x"},
    }
    sent = [_entry("POST", each["resourceType"], each, url) for url, each in entries.items()]
    answer = server.post("", _bundle("transaction", *sent))
    assert answer.status_code == 200, answer.text
    stored = [each["response"]["location"].split("/fhir/")[1] for each in answer.json()["entry"]]
    return dict(zip(entries, (each.partition("/_history")[0] for each in stored), strict=True))


def links(bundle: dict[str, Any]) -> dict[str, str]:
    """relation -> url."""
    return {each["relation"]: each["url"] for each in bundle["link"]}


def found(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    """mode and resource of each entry."""
    return [(each["search"]["mode"], each["fullUrl"].split("/fhir/")[1]) for each in bundle.get("entry", ())]


def test_the_patient_comes_first_then_the_record_then_what_it_points_to(open_server: Caller) -> None:
    """By GET and by POST; nothing of another record."""
    one, other = record(open_server), record(open_server)
    bundle = open_server.get(f"{one[P]}/$everything").json()
    assert bundle["type"] == "searchset"
    assert bundle["total"] == 4
    entries = found(bundle)
    assert entries[:4] == [("match", one[each]) for each in (P, V, E, M)]
    assert sorted(entries[4:]) == sorted(("include", one[each]) for each in (D, R))
    assert {url for _, url in entries}.isdisjoint(other.values())
    assert open_server.request("POST", f"{one[P]}/$everything").json() == bundle


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"start": "2021-01-01"}, (P, E, M, R)),
        ({"end": "2021-01-01"}, (P, V, E, D, R)),
        ({"start": "2020-05", "end": "2020-05-01"}, (P, V, E, D, R)),
        ({"_type": "Observation"}, (V, M)),
        ({"_type": "Patient,Practitioner,Observation"}, (P, V, M, D)),
        ({"_since": "2100-01-01T00:00:00Z"}, ()),
        ({"_since": "2020-01-01T00:00:00Z", "_type": "Patient"}, (P,)),
    ],
)
def test_a_part_of_it_is_chosen(open_server: Caller, asked: dict[str, str], expected: tuple[str, ...]) -> None:
    """`start` and `end` by the time of care, `_since` by the last change, `_type`; in the url or in Parameters."""
    stored = record(open_server)
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    bundle = open_server.get(f"{stored[P]}/$everything?{query}").json()
    assert {url for _, url in found(bundle)} == {stored[each] for each in expected}
    values = {"_type": "valueCode", "_since": "valueInstant"}
    parameter = [
        {"name": name, values.get(name, "valueDate"): each}
        for name, value in asked.items()
        for each in value.split(",")
    ]
    posted = open_server.post(f"{stored[P]}/$everything", {"resourceType": "Parameters", "parameter": parameter})
    assert posted.json() == bundle


@pytest.mark.parametrize("count", [1, 2, 3])
def test_it_comes_in_pages_when_asked(open_server: Caller, count: int) -> None:
    """Every entry of the record once, each page with what it points to."""
    stored = record(open_server)
    url: str | None = f"{stored[P]}/$everything?_count={count}"
    matches, included = [], []
    while url:
        page = open_server.get(url).json()
        matches += [each for mode, each in found(page) if mode == "match"]
        included += [each for mode, each in found(page) if mode == "include"]
        assert len([mode for mode, _ in found(page) if mode == "match"]) <= count
        assert "total" not in page
        url = links(page).get("next")
    assert matches == [stored[each] for each in (P, V, E, M)]
    assert sorted(included) == sorted([stored[R], stored[D]])


@pytest.mark.parametrize(
    "query", ["_count=0", "start=soon", "_since=x", "_type=Nothing", "name=x", "start=2020&start=2021", "_cursor=x"]
)
def test_what_cannot_be_understood_is_refused(open_server: Caller, query: str) -> None:
    """400."""
    assert open_server.get(f"{record(open_server)[P]}/$everything?{query}").status_code == 400


def test_it_is_an_operation_of_patients(open_server: Caller) -> None:
    """404 for no such Patient, 410 for a deleted one, 405 for other methods, 501 for other types."""
    stored = record(open_server)
    assert open_server.get("Patient/never/$everything").status_code == 404
    refused = open_server.delete(f"{stored[P]}/$everything")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert open_server.get(f"{stored[V]}/$everything").status_code == 501
    assert open_server.get("Patient/$everything").status_code == 400
    assert open_server.get("$import-document").status_code == 405


def test_the_log_of_the_patient_says_who_took_everything(house: House) -> None:
    """A line of the record, in their own log; the record of one's token needs no name."""
    patient = house.cast["patient"]
    assert house.medecin_traitant.get(f"{patient}/$everything").status_code == 200
    log = house.patient.get(f"AuditEvent?patient={patient}&_count=1").json()["entry"][0]["resource"]
    assert "$everything" in str(log["subtype"])
    assert log["agent"][0]["who"]["reference"] == house.medecin_traitant.reference
    own, named = (house.patient.get(each).json() for each in ("Patient/$everything", f"{patient}/$everything"))
    assert own == named
    assert house.medecin_traitant.get("Patient/$everything").status_code == 400


def test_a_document_comes_with_its_content(house: House) -> None:
    """The Binary that a document points to is what it points to."""
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": house.cast["patient"]},
        "content": [{"attachment": {"contentType": "text/plain", "url": ""}}],
    }
    url = made(house.lgc.post("Binary", b"content", **{"Content-Type": "text/plain"}))
    document["content"][0]["attachment"]["url"] = url  # type: ignore[index]
    stored = made(house.lgc.post("DocumentReference", document))
    entries = found(house.patient.get("Patient/$everything").json())
    assert ("match", stored) in entries
    assert ("include", url) in entries


@pytest.mark.shared_data
def test_the_largest_synthea_record_comes_whole(shared_data: Path, open_server: Caller) -> None:
    """Every resource of the bundle, byte for byte as it is read alone."""
    files = sorted((shared_data / "synthea").glob("*.bz2"), key=lambda each: each.stat().st_size)
    for file in [*(each for each in files if each.name.startswith("0-")), files[-1]]:
        answer = open_server.post("", bz2.decompress(file.read_bytes()))
        assert answer.status_code == 200, answer.text[:500]
    stored = [
        each["response"]["location"].split("/fhir/")[1].partition("/_history")[0] for each in answer.json()["entry"]
    ]
    [patient] = [each for each in stored if each.startswith("Patient/")]
    body = open_server.get(f"{patient}/$everything").content
    entries = {each["fullUrl"].split("/fhir/")[1]: each["resource"] for each in orjson.loads(body)["entry"]}
    assert set(stored) <= entries.keys()
    for url in stored[:: len(stored) // 50]:
        assert open_server.get(url).content in body
