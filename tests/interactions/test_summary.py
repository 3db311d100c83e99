"""`_summary` and `_elements` over HTTP, on searches and on reads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Caller
from tests.leaks.test_review_findings import made

PATIENT = {
    "resourceType": "Patient",
    "active": True,
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "name": [{"family": "Résumé"}],
    "contact": [{"name": {"family": "Autre"}}],
}
ALWAYS = {"resourceType", "id", "meta"}
CUTS = {
    "_summary=true": {*ALWAYS, "active", "name"},
    "_summary=text": {*ALWAYS, "text"},
    "_summary=data": {*ALWAYS, "active", "name", "contact"},
    "_summary=false": {*ALWAYS, "active", "text", "name", "contact"},
    "_elements=name,birthDate": {*ALWAYS, "active", "name"},
    "_elements=contact": {*ALWAYS, "active", "contact"},
}


@pytest.fixture(scope="module")
def patient(open_server: Caller) -> str:
    """A stored Patient."""
    return made(open_server.post("Patient", PATIENT))


def _tagged(resource: dict[str, Any]) -> bool:
    return any(each["code"] == "SUBSETTED" for each in resource["meta"].get("tag", ()))


@pytest.mark.parametrize("asked", CUTS)
def test_a_part_of_a_resource_is_asked_for_and_says_that_it_is_one(
    open_server: Caller, patient: str, asked: str
) -> None:
    """By search, read and vread alike; modifiers stay; the self link repeats what was asked."""
    found = open_server.get(f"Patient?_id={patient.partition('/')[2]}&{asked}").json()
    [entry] = found["entry"]
    assert asked.replace(",", "%2C") in found["link"][0]["url"]
    for resource in (
        entry["resource"],
        open_server.get(f"{patient}?{asked}").json(),
        open_server.get(f"{patient}/_history/1?{asked}").json(),
    ):
        assert set(resource) == CUTS[asked]
        assert _tagged(resource) == (asked != "_summary=false")


def test_a_part_has_the_version_of_the_whole(open_server: Caller, patient: str) -> None:
    """The weak ETag, HEAD, and a conditional read."""
    answer = open_server.get(f"{patient}?_summary=true")
    assert answer.headers["etag"] == 'W/"1"'
    assert open_server.request("HEAD", f"{patient}?_summary=true").headers["content-length"] == str(len(answer.content))
    assert open_server.get(f"{patient}?_summary=true", **{"If-None-Match": 'W/"1"'}).status_code == 304


@pytest.mark.parametrize("asked", ["_summary=count", "_summary=all", "_include=*", "name=x"])
def test_a_read_takes_no_more_than_that(open_server: Caller, patient: str, asked: str) -> None:
    """400."""
    assert open_server.get(f"{patient}?{asked}").status_code == 400


def test_a_count_is_a_total_without_entries(open_server: Caller, patient: str) -> None:
    """`_summary=count`, `_count=0`."""
    for asked in ("_summary=count", "_count=0"):
        found = open_server.get(f"Patient?_id={patient.partition('/')[2]}&{asked}").json()
        assert found["total"] == 1
        assert "entry" not in found


def test_the_content_of_a_binary_is_never_cut(open_server: Caller) -> None:
    """Raw bytes have no parts; the resource has."""
    url = made(open_server.post("Binary", b"content", **{"Content-Type": "text/plain"}))
    assert open_server.get(f"{url}?_summary=true").content == b"content"
    resource = open_server.get(f"{url}?_summary=true", Accept="application/fhir+json").json()
    assert set(resource) == {*ALWAYS, "contentType"}
