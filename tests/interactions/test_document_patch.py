"""Conditional PATCH of documents: three languages, three elements, the guides' own writing (DOC-16 to DOC-24)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.conftest import Caller, House, open_house
from tests.interactions.provided import ARCHIVED, coded, nos, provide
from tests.interactions.test_iti_65 import PDF, links, send

JSON, XML, FHIR = "application/json-patch+json", "application/xml-patch+xml", "application/fhir+json"
ARCHIVE_XML = (
    '<diff xmlns:f="http://hl7.org/fhir"><add sel="f:DocumentReference/f:masterIdentifier" pos="before">'
    f'<f:extension url="{ARCHIVED}"><f:valueBoolean value="true"/></f:extension></add></diff>'
)
ARCHIVE_FHIRPATH = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "add"},
                {"name": "path", "valueString": "DocumentReference"},
                {"name": "name", "valueString": "extension"},
                {
                    "name": "value",
                    "part": [{"name": "url", "valueUri": ARCHIVED}, {"name": "value", "valueBoolean": True}],
                },
            ],
        }
    ],
}
PSEUDO = f"/extension[url:'{ARCHIVED}']/valueBoolean"


@pytest.fixture
def stored(house: House) -> dict[str, Any]:
    """A document of the laboratory."""
    link = links(send(house.lgc, provide(house.cast["patient"], PDF)))[1]
    resource: dict[str, Any] = house.patient.get(link).json()
    return resource


def patch(caller: Caller, url: str, change: Any, kind: str = JSON) -> httpx.Response:
    """PATCH."""
    body = change.encode() if isinstance(change, str) else orjson.dumps(change)
    return caller.request("PATCH", url, content=body, headers={"Content-Type": kind})


def by_identifier(document: dict[str, Any]) -> str:
    """The document by its masterIdentifier."""
    master = document["masterIdentifier"]
    return f"DocumentReference?identifier={master['system']}|{master['value']}"


def is_archived(document: dict[str, Any]) -> bool:
    """Whether it says so."""
    return {"url": ARCHIVED, "valueBoolean": True} in document.get("extension", [])


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ([{"op": "add", "path": "/extension", "value": [{"url": ARCHIVED, "valueBoolean": True}]}], JSON),
        (ARCHIVE_XML, XML),
        (ARCHIVE_FHIRPATH, FHIR),
    ],
)
def test_a_document_is_archived_in_three_languages(
    house: House, stored: dict[str, Any], change: Any, kind: str
) -> None:
    """DOC-16, DOC-20: by its identifier; 200, the whole resource, the next ETag; still current."""
    answer = patch(house.lgc, by_identifier(stored), change, kind)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == 'W/"2"'
    assert is_archived(answer.json())
    assert answer.json()["status"] == "current"
    assert answer.json()["content"] == stored["content"]


def test_whose_identifier_is_not_known_is_not_found(house: House) -> None:
    """DOC-20: 404 where nothing matches, and where what matches is not for this caller (DOC-23)."""
    change = [{"op": "replace", "path": "/status", "value": "superseded"}]
    nothing = "DocumentReference?identifier=urn:ietf:rfc:3986|urn:oid:1.2.3.4"
    assert patch(house.lgc, nothing, change).status_code == 404
    of_another = house.patient.get(links(send(house.lgc, provide(house.cast["patient"], PDF)))[1]).json()
    assert patch(house.care_team, by_identifier(of_another), change).status_code == 404
    hidden = links(send(house.lgc, provide(house.cast["patient"], PDF)))[1]
    assert patch(house.other_doctor, hidden, change).status_code == 404


@pytest.mark.parametrize("path", ["/type", "/subject", "/author", "/description", "/content/0/attachment/title", ""])
def test_anything_else_is_not_allowed(house: House, stored: dict[str, Any], path: str) -> None:
    """DOC-20, DOC-21: 405 with what is allowed, nothing stored; the difference decides, not the path."""
    value: Any = {"/type": coded("http://loinc.org", "34133-9"), "/subject": {"reference": house.cast["mother"]}}.get(
        path, "x"
    )
    if path == "/author":
        value = [{"display": "x"}]
    if not path:
        value = stored | {"description": "x"}
    answer = patch(house.lgc, f"DocumentReference/{stored['id']}", [{"op": "add", "path": path, "value": value}])
    assert answer.status_code in ((405, 422) if path == "/subject" else (405,)), answer.text
    if answer.status_code == 405:
        assert {"GET", "PATCH", "DELETE"} <= {each.strip() for each in answer.headers["allow"].split(",")}
    assert house.patient.get(f"DocumentReference/{stored['id']}").json() == stored


def test_a_patch_that_changes_nothing_makes_no_version(house: House, stored: dict[str, Any]) -> None:
    """DOC-20, DOC-21: replacing the whole by its equal is allowed, and no version."""
    url = f"DocumentReference/{stored['id']}"
    for change in (
        [{"op": "replace", "path": "/status", "value": "current"}],
        [{"op": "replace", "path": "", "value": stored}],
    ):
        answer = patch(house.lgc, url, change)
        assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')
    assert len(house.patient.get(f"{url}/_history").json()["entry"]) == 1


def test_who_is_neither_author_nor_patient_is_forbidden(house: House, stored: dict[str, Any]) -> None:
    """DOC-20: who sees the document and did not make it."""
    change = [{"op": "replace", "path": "/status", "value": "superseded"}]
    assert patch(house.care_team, f"DocumentReference/{stored['id']}", change).status_code == 403


@pytest.mark.parametrize("op", ["add", "replace"])
def test_the_guides_own_way_of_writing_is_understood(house: House, stored: dict[str, Any], op: str) -> None:
    """DOC-22: the pseudo-path, "true" for true, blanks around codes; the answer warns."""
    url = f"DocumentReference/{stored['id']}"
    for value, archived in (("true", True), ("false", False), (True, True)):
        answer = patch(house.lgc, url, [{"op": op, "path": PSEUDO, "value": value}])
        assert answer.status_code == 200, answer.text
        assert is_archived(answer.json()) is archived
        assert "RFC 6902" in answer.headers["warning"]
    answer = patch(house.lgc, url, [{"op": "replace", "path": "/status", "value": " superseded "}])
    assert answer.json()["status"] == "superseded"
    removed = patch(house.lgc, url, [{"op": "remove", "path": PSEUDO}])
    assert "extension" not in removed.json() or not is_archived(removed.json())
    plain = patch(house.lgc, url, [{"op": "replace", "path": "/status", "value": "current"}])
    assert "warning" not in plain.headers


@pytest.fixture(scope="module")
def strict_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house without that tolerance."""
    folder: Path = tmp_path_factory.mktemp("strict")
    yield from open_house(folder, patch_tolerant=False)


def test_without_tolerance_it_is_refused(strict_house: House) -> None:
    """DOC-22: `patch_tolerant` false."""
    link = links(send(strict_house.lgc, provide(strict_house.cast["patient"], PDF)))[1]
    change = [{"op": "add", "path": PSEUDO, "value": "true"}]
    assert patch(strict_house.lgc, link, change).status_code == 422


@pytest.mark.parametrize("way", ["DELETE", "PATCH"])
def test_a_deletion_is_logical(house: House, stored: dict[str, Any], way: str) -> None:
    """DOC-17, DOC-18: gone from search, include and content; 410 for who could read it, 404 for everyone else."""
    url, content = f"DocumentReference/{stored['id']}", stored["content"][0]["attachment"]["url"]
    if way == "DELETE":
        assert house.lgc.delete(url).status_code == 204
    else:
        change = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
        assert patch(house.lgc, url, change).status_code == 200
    for who in (house.patient, house.care_team, house.lgc):
        assert who.get(url).status_code == 410
        assert who.get(content).status_code in (404, 410)
    assert house.other_doctor.get(url).status_code == 404
    whose = f"DocumentReference?patient={house.cast['patient']}&_id={stored['id']}"
    assert house.patient.get(whose).json()["total"] == 0


def test_invisible_and_masked_do_not_go_together(house: House, stored: dict[str, Any]) -> None:
    """DOC-24: 422 while the setting is off."""
    labels = [coded(nos("TRE_A07-StatutVisibiliteDocument"), each) for each in ("MASQUE_PS", "INVISIBLE_PATIENT")]
    answer = send(house.lgc, provide(house.cast["patient"], PDF, securityLabel=labels))
    assert answer.status_code == 422
