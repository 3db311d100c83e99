"""The CapabilityStatement says what runs, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.fhir.definitions import load_definitions
from fhir_server.validation.validator import Validator
from tests.conftest import Caller, House

SAMPLES = {
    "token": "a|b",
    "string": "a",
    "date": "ge2020",
    "number": "1",
    "quantity": "1",
    "reference": "Patient/1",
    "uri": "urn:a",
}


def _resources(statement: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in statement["rest"][0]["resource"]}


def test_it_is_a_valid_resource_with_and_without_authorization(house: House, open_server: Caller) -> None:
    """By our own validator."""
    validator = Validator(load_definitions())
    for caller in (house.nobody, open_server):
        assert validator.validate(caller.get("metadata").json(), expect_type="CapabilityStatement") == []


def test_every_search_parameter_it_lists_is_answered(open_server: Caller) -> None:
    """Strictly, for every type: 200, and the parameter stands in the self link."""
    for type_, resource in _resources(open_server.get("metadata").json()).items():
        for each in resource["searchParam"]:
            value = "id1" if each["name"] == "_id" else SAMPLES[each["type"]]
            answer = open_server.http.get(f"{type_}?{each['name']}={value}", headers={"Prefer": "handling=strict"})
            assert answer.status_code == 200, f"{type_} {each['name']}: {answer.text}"
            assert each["name"] + "=" in answer.json()["link"][0]["url"]


def test_a_parameter_it_does_not_list_is_refused_when_asked_to_be_strict(open_server: Caller) -> None:
    """400 under handling=strict; otherwise a warning, and absent from the self link."""
    for query in (
        "nonsense=1",
        "_include=Patient:link",
        "general-practitioner.name=x",
        "_has:Observation:patient:code=1",
    ):
        strict = open_server.get(f"Patient?{query}", Prefer="handling=strict")
        assert strict.status_code == 400
        lenient = open_server.get(f"Patient?{query}").json()
        assert lenient["entry"][-1]["search"]["mode"] == "outcome"
        assert query.partition("=")[0] not in lenient["link"][0]["url"]


@pytest.mark.parametrize("type_", ["Patient", "Observation", "DocumentReference", "Binary", "Consent", "CodeSystem"])
def test_every_interaction_it_lists_for_a_type_runs(open_server: Caller, type_: str) -> None:
    """None of them answers 405 or 501."""
    codes = {each["code"] for each in _resources(open_server.get("metadata").json())[type_]["interaction"]}
    requests = {
        "read": ("GET", f"{type_}/x"),
        "vread": ("GET", f"{type_}/x/_history/1"),
        "history-instance": ("GET", f"{type_}/x/_history"),
        "search-type": ("GET", type_),
        "delete": ("DELETE", f"{type_}/x"),
        "create": ("POST", type_),
        "update": ("PUT", f"{type_}/x"),
    }
    assert codes <= requests.keys()
    for code in codes:
        method, url = requests[code]
        body = (
            {"content": b"{}", "headers": {"Content-Type": "application/fhir+json"}}
            if method in ("POST", "PUT")
            else {}
        )
        assert open_server.request(method, url, **body).status_code not in (405, 501), code


def test_with_authorization_it_lists_what_the_rules_leave(house: House) -> None:
    """The log is read and searched only; a directive is not deleted; the import is offered."""
    statement = house.nobody.get("metadata").json()
    resources = _resources(statement)
    assert {each["code"] for each in resources["AuditEvent"]["interaction"]} == {"read", "search-type"}
    assert "delete" not in {each["code"] for each in resources["Consent"]["interaction"]}
    assert [each["name"] for each in statement["rest"][0]["operation"]] == ["import-document"]
    for each in resources["AuditEvent"]["searchParam"]:
        value = {"date": "ge2020", "patient": house.cast["patient"]}.get(each["name"], "x")
        also = "" if each["name"] == "patient" else f"&patient={house.cast['patient']}"
        assert house.patient.get(f"AuditEvent?{each['name']}={value}{also}").status_code == 200
