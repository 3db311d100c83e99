"""A document takes the place of another: which one, told by whom, and only where it is surely that one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import House
from tests.leaks.test_review_findings import made
from tests.record.test_import_document import document_reference, numbered, send


@pytest.fixture(scope="module")
def stored(house: House) -> dict[str, Any]:
    """A current document of the laboratory."""
    return document_reference(house, send(house.lgc, numbered(701)))


def successor(stored: dict[str, Any], number: int, *targets: dict[str, Any]) -> dict[str, Any]:
    """A document of that number that says it replaces those."""
    kept = {name: value for name, value in stored.items() if name not in ("id", "meta", "identifier", "extension")}
    identifier = {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.25.{number}"}
    said = [{"code": "replaces", "target": each} for each in targets]
    content = [{"attachment": {"contentType": "text/plain", "data": "Qm9uam91cg=="}}]
    return kept | {"masterIdentifier": identifier, "relatesTo": said, "content": content}


def refused(house: House, document: dict[str, Any]) -> tuple[int, str]:
    """Status and code of the refusal."""
    answer = house.lgc.post("DocumentReference", document)
    return answer.status_code, answer.json()["issue"][0]["code"]


def test_a_document_replaces_one_document(house: House, stored: dict[str, Any]) -> None:
    """Of two it cannot be the next version."""
    one, other = {"reference": f"DocumentReference/{stored['id']}"}, {"identifier": {"value": "x"}}
    assert refused(house, successor(stored, 711, one, other))[0] == 422


@pytest.mark.parametrize("reference", ["DocumentReference/nosuch", "http://x.example/DocumentReference/1"])
def test_what_is_replaced_is_here(house: House, stored: dict[str, Any], reference: str) -> None:
    """A link that leads nowhere, or to another server, is no predecessor."""
    assert refused(house, successor(stored, 712, {"reference": reference})) == (422, "not-found")


def test_an_identifier_that_is_not_known_names_what_is_not_here(house: House, stored: dict[str, Any]) -> None:
    """Then nothing is ended, and the document is the first of its line."""
    target = {"identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.999999"}}
    without = {"identifier": {"system": "urn:ietf:rfc:3986"}}
    for number, each in enumerate((target, without), 713):
        first = made(house.lgc.post("DocumentReference", successor(stored, number, each)))
        assert house.patient.get(first).json()["status"] == "current"
    assert house.patient.get(f"DocumentReference/{stored['id']}").json()["status"] == "current"


def test_who_is_replaced_is_over_and_is_not_replaced_again(house: House) -> None:
    """By reference, and by the identifier of its own."""
    first = document_reference(house, send(house.lgc, numbered(702)))
    link = {"reference": f"DocumentReference/{first['id']}"}
    assert house.lgc.post("DocumentReference", successor(first, 715, link)).status_code == 201
    assert house.patient.get(f"DocumentReference/{first['id']}").json()["status"] == "superseded"
    again = successor(first, 716, {"identifier": first["masterIdentifier"]})
    assert refused(house, again) == (422, "business-rule")
