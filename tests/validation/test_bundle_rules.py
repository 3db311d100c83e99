"""The invariants of Bundle: https://hl7.org/fhir/R4/bundle.html#invs."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.validation.validator import Validator

COMPOSITION = {
    "resourceType": "Composition",
    "status": "final",
    "type": {"text": "x"},
    "date": "2024",
    "author": [{"reference": "Practitioner/1"}],
    "title": "x",
}
MESSAGE = {"resourceType": "MessageHeader", "eventUri": "urn:x", "source": {"endpoint": "http://example.org"}}
PATIENT: dict[str, Any] = {"resourceType": "Patient", "active": True}
REQUEST = {"method": "GET", "url": "Patient/1"}
RESPONSE = {"status": "200"}
URL = "http://example.org/Patient/1"


def bundle(kind: str, *entries: dict[str, Any], **elements: Any) -> dict[str, Any]:
    """A Bundle."""
    more = {"entry": list(entries)} if entries else {}
    return {"resourceType": "Bundle", "type": kind, **more, **elements}


def version(number: str) -> dict[str, Any]:
    """An entry with that version of one Patient."""
    return {"fullUrl": URL, "resource": PATIENT | {"meta": {"versionId": number}}}


def exchanged(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry as a history has it."""
    return entry | {"request": REQUEST, "response": RESPONSE}


DOCUMENT = bundle(
    "document",
    {"fullUrl": "urn:uuid:0b5903af-a008-4780-8179-52c268784af8", "resource": COMPOSITION},
    identifier={"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"},
    timestamp="2024-01-01T00:00:00Z",
)

RIGHT = [
    DOCUMENT,
    bundle("collection"),
    bundle("message", {"resource": MESSAGE}),
    bundle("searchset", {"resource": PATIENT, "search": {"mode": "match"}}, total=1),
    bundle("history", exchanged(version("1")), exchanged(version("1")), total=2),
    bundle("batch", {"request": REQUEST}),
    bundle("transaction-response", {"response": RESPONSE}),
    bundle("collection", version("1"), version("2"), {"resource": PATIENT}, {"resource": PATIENT}),
]
WRONG = [
    ("bdl-1", bundle("collection", total=1), "Bundle.total"),
    ("bdl-2", bundle("collection", {"resource": PATIENT, "search": {"mode": "match"}}), "Bundle.entry[0].search"),
    ("bdl-3", bundle("transaction", {"resource": PATIENT}), "Bundle.entry[0].request"),
    ("bdl-3", bundle("collection", {"resource": PATIENT, "request": REQUEST}), "Bundle.entry[0].request"),
    ("bdl-4", bundle("batch-response", {"resource": PATIENT}), "Bundle.entry[0].response"),
    ("bdl-4", bundle("searchset", {"resource": PATIENT, "response": RESPONSE}), "Bundle.entry[0].response"),
    ("bdl-5", bundle("collection", {"fullUrl": URL}), "Bundle.entry[0]"),
    ("bdl-7", bundle("collection", version("1"), version("1")), "Bundle.entry[1].fullUrl"),
    ("bdl-8", bundle("collection", {"fullUrl": URL + "/_history/1", "resource": PATIENT}), "Bundle.entry[0].fullUrl"),
    ("bdl-9", {k: v for k, v in DOCUMENT.items() if k != "identifier"}, "Bundle.identifier"),
    ("bdl-9", DOCUMENT | {"identifier": {"value": "x"}}, "Bundle.identifier"),
    ("bdl-10", {k: v for k, v in DOCUMENT.items() if k != "timestamp"}, "Bundle.timestamp"),
    ("bdl-11", DOCUMENT | {"entry": [{"resource": PATIENT}]}, "Bundle.entry[0].resource"),
    ("bdl-12", bundle("message", {"resource": PATIENT}), "Bundle.entry[0].resource"),
    ("bdl-12", bundle("message"), "Bundle.entry[0].resource"),
]


@pytest.mark.parametrize("resource", RIGHT, ids=lambda r: r["type"])
def test_a_bundle_as_its_type_asks_is_accepted(validator: Validator, resource: dict[str, Any]) -> None:
    """Each type of Bundle, whole."""
    assert validator.validate(resource) == []


@pytest.mark.parametrize(("rule", "resource", "expression"), WRONG, ids=[row[0] for row in WRONG])
def test_a_bundle_against_a_rule_is_refused(
    validator: Validator, rule: str, resource: dict[str, Any], expression: str
) -> None:
    """One issue, which names the rule and the place."""
    (issue,) = validator.validate(resource)
    assert (issue.code, issue.expression) == ("invariant", expression)
    assert f"({rule})" in issue.text


@pytest.mark.parametrize(
    "elements",
    [
        {"entry": "x"},
        {"entry": [1, None, {"resource": "x", "fullUrl": {}}]},
        {"entry": [{"resource": {"resourceType": "Patient", "meta": "x"}, "fullUrl": 1}]},
        {"identifier": "x"},
        {"type": None},
    ],
)
def test_a_bundle_of_another_shape_is_judged_by_its_structure(validator: Validator, elements: dict[str, Any]) -> None:
    """The rules pass over what has the wrong JSON type; the structure does not."""
    issues = validator.validate(DOCUMENT | elements)
    assert "structure" in {issue.code for issue in issues}
