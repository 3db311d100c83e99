"""The door itself: limits, headers, health, and what leaves when something is wrong."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Caller, House
from tests.live import running


def test_no_answer_is_kept_by_what_lies_between(house: House) -> None:
    """no-store and nosniff on everything, no banner, a request id."""
    for answer in (
        house.patient.get(house.cast["patient"]),
        house.nobody.get("Patient/x"),
        house.nobody.get("metadata"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers["x-request-id"]) == 32
        assert "server" not in answer.headers


def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """413, by the announced length and by what really comes."""
    with (
        running(tmp_path, open=True, max_body_bytes=1000) as settings,
        httpx.Client(base_url=settings.fhir_base) as http,
    ):
        kind = {"Content-Type": "application/fhir+json"}
        assert http.post("/Patient", content=b"x" * 1001, headers=kind).status_code == 413

        def chunks() -> object:
            yield from (b"x" * 400 for _ in range(4))

        assert http.post("/Patient", content=chunks(), headers=kind).status_code == 413  # type: ignore[arg-type]


def test_depth_and_entries_are_limited(tmp_path: Path) -> None:
    """400 for a body too deep, 413 for a Bundle too long."""
    with running(tmp_path, open=True, max_depth=10, max_entries=2) as settings, httpx.Client() as http:
        kind = {"Content-Type": "application/fhir+json"}
        deep = b'{"resourceType":"Patient","x":' + b"[" * 20 + b"]" * 20 + b"}"
        assert http.post(settings.fhir_base + "/Patient", content=deep, headers=kind).status_code == 400
        entry = {"request": {"method": "GET", "url": "Patient/1"}}
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry] * 3}
        answer = http.post(settings.fhir_base, json=bundle, headers=kind)
        assert answer.status_code == 413
        assert answer.json()["issue"][0]["expression"] == ["Bundle.entry"]


def test_health_answers_without_a_token(house: House) -> None:
    """For whoever watches the process."""
    root = house.base.removesuffix("/fhir")
    assert httpx.get(root + "/health/live").status_code == 204
    assert httpx.get(root + "/health/ready").status_code == 204


def test_the_statement_is_read_and_nothing_else(house: House, open_server: Caller) -> None:
    """405 with Allow for every other method, without a token as with one."""
    for caller in (house.nobody, house.patient, open_server):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = caller.request(method, "metadata")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD"), method


def test_other_paths_are_not_found(house: House) -> None:
    """404 outside of /fhir, with an outcome."""
    root = house.base.removesuffix("/fhir")
    for path in ("/fhirx", "/health/other"):
        answer = httpx.get(root + path)
        assert answer.status_code == 404
        assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", "Basic dXNlcjpwdw==", "Bearer " + "A" * 43, "bearer " + "B" * 42, "Bearer " + "é" * 43],
)
def test_a_token_that_is_none_is_refused_alike(house: House, header: str) -> None:
    """401, the same bytes whatever was wrong with it."""
    answer = httpx.get(f"{house.base}/{house.cast['patient']}", headers={"Authorization": header.encode()})
    reference = httpx.get(f"{house.base}/{house.cast['patient']}")
    assert answer.status_code == 401
    assert answer.content == reference.content


def test_a_token_in_the_url_opens_nothing(house: House) -> None:
    """A16."""
    answer = httpx.get(f"{house.base}/{house.cast['patient']}?access_token={house.patient.token}")
    assert answer.status_code == 401


def test_headers_that_claim_an_identity_are_ignored(house: House) -> None:
    """L66."""
    claims = {"X-Patient-Id": "x", "X-Forwarded-User": "admin", "X-Consent-Scope": "*", "X-WorkSituation": "mt"}
    assert house.other_doctor.get(house.cast["patient"], **claims).status_code == 404


def test_links_are_not_made_from_the_host_header(open_server: Caller) -> None:
    """A forged Host does not reach a link."""
    answer = open_server.get("Patient?_count=1", Host="evil.example")
    assert "evil.example" not in answer.text


def test_a_request_that_breaks_off_leaves_the_server_well(open_server: Caller) -> None:
    """Half a body, then silence: nothing is written, the next request is answered."""
    parts = urlsplit(str(open_server.http.base_url))
    before = open_server.get("Patient?_summary=count").json()["total"]
    with socket.create_connection((parts.hostname, parts.port)) as raw:
        raw.sendall(
            b"POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\n"
            b'Content-Length: 100\r\n\r\n{"resourceType":'
        )
    assert open_server.get("Patient?_summary=count").json()["total"] == before
