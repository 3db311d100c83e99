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
    "special": '_id eq "a"',
}
FHIR = {"Content-Type": "application/fhir+json"}


def _resources(statement: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in statement["rest"][0]["resource"]}


@pytest.fixture(scope="module")
def statement(open_server: Caller) -> dict[str, Any]:
    """That of a server without authorization."""
    told: dict[str, Any] = open_server.get("metadata").json()
    return told


def test_it_is_a_valid_resource_with_and_without_authorization(house: House, open_server: Caller) -> None:
    """By our own validator."""
    validator = Validator(load_definitions())
    for caller in (house.nobody, open_server):
        assert validator.validate(caller.get("metadata").json(), expect_type="CapabilityStatement") == []


def test_every_search_parameter_it_lists_is_answered(open_server: Caller, statement: dict[str, Any]) -> None:
    """Strictly, for every type: 200, and the parameter stands in the self link."""
    components = load_definitions().search_parameters_by_id
    for type_, resource in _resources(statement).items():
        for each in resource["searchParam"]:
            value = "id1" if each["name"] == "_id" else SAMPLES.get(each["type"], "")
            if each["type"] == "composite":
                parts = components[each["definition"].rpartition("/")[2]].components
                value = "$".join(SAMPLES[components[id_].type] for id_, _ in parts)
            answer = open_server.http.get(type_, params={each["name"]: value}, headers={"Prefer": "handling=strict"})
            assert answer.status_code == 200, f"{type_} {each['name']}: {answer.text}"
            assert each["name"] + "=" in answer.json()["link"][0]["url"]


@pytest.mark.parametrize("type_", ["Patient", "Observation", "DocumentReference", "Provenance", "Basic"])
def test_every_include_it_lists_is_followed(open_server: Caller, statement: dict[str, Any], type_: str) -> None:
    """Strictly, each way."""
    resource = _resources(statement)[type_]
    assert len(resource["searchInclude"]) > 1
    for name, values in (
        ("_include", resource["searchInclude"]),
        ("_revinclude", resource.get("searchRevInclude", ())),
    ):
        for value in values:
            answer = open_server.get(f"{type_}?{name}={value}", Prefer="handling=strict")
            assert answer.status_code == 200, f"{name}={value}: {answer.text}"


def test_a_parameter_it_does_not_list_is_refused_when_asked_to_be_strict(open_server: Caller) -> None:
    """400 under handling=strict; otherwise a warning, and absent from the self link."""
    for query in ("nonsense=1", "_query=x", "link.nonsense=x", "_has:Observation:patient:nonsense=1"):
        strict = open_server.get(f"Patient?{query}", Prefer="handling=strict")
        assert strict.status_code == 400
        lenient = open_server.get(f"Patient?{query}").json()
        assert lenient["entry"][-1]["search"]["mode"] == "outcome"
        assert "?" not in lenient["link"][0]["url"]


@pytest.mark.parametrize("type_", ["Patient", "Observation", "DocumentReference", "Binary", "Consent", "CodeSystem"])
def test_every_interaction_it_lists_for_a_type_runs(open_server: Caller, statement: dict[str, Any], type_: str) -> None:
    """None of them answers 405 or 501, by id or by criteria."""
    resource = _resources(statement)[type_]
    codes = {each["code"] for each in resource["interaction"]}
    requests = {
        "read": [("GET", f"{type_}/x")],
        "vread": [("GET", f"{type_}/x/_history/1")],
        "history-instance": [("GET", f"{type_}/x/_history")],
        "history-type": [("GET", f"{type_}/_history")],
        "search-type": [("GET", type_), ("POST", f"{type_}/_search")],
        "delete": [("DELETE", f"{type_}/x")],
        "create": [("POST", type_)],
        "update": [("PUT", f"{type_}/x")],
        "patch": [("PATCH", f"{type_}/x")],
    }
    if resource["conditionalUpdate"]:
        requests["update"].append(("PUT", f"{type_}?_id=never"))
        requests["patch"].append(("PATCH", f"{type_}?_id=never"))
    if resource["conditionalDelete"] != "not-supported":
        requests["delete"].append(("DELETE", f"{type_}?_id=never"))
    assert codes == requests.keys()
    for code in codes:
        for method, url in requests[code]:
            body: dict[str, Any] = {"content": b"{}", "headers": dict(FHIR)} if method in ("PUT", "PATCH") else {}
            if (method, url) == ("POST", type_):
                body = {"content": b"{}", "headers": dict(FHIR)}
            assert open_server.request(method, url, **body).status_code not in (405, 501), (method, url)


def test_every_interaction_and_operation_it_lists_for_the_system_runs(open_server: Caller, house: House) -> None:
    """transaction, batch, search, history; what a level above the types offers, and the operations of Patient."""
    for caller in (open_server, house.patient):
        rest = caller.get("metadata").json()["rest"][0]
        codes = [each["code"] for each in rest["interaction"]]
        assert codes == ["transaction", "batch", "search-system", "history-system"]
        assert caller.get("?_count=1").status_code == 200
        assert caller.get("_history?_count=1").status_code == 200
        for kind in ("transaction", "batch"):
            assert caller.post("", {"resourceType": "Bundle", "type": kind}).status_code == 200
        for each in rest["operation"]:
            assert caller.post(f"${each['name']}", b"").status_code not in (404, 405, 501)
    operations = _resources(open_server.get("metadata").json())["Patient"]["operation"]
    everything = {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}
    assert everything in operations
    assert open_server.get("Patient/x/$everything").status_code == 404


def test_every_compartment_it_lists_is_searched(open_server: Caller, statement: dict[str, Any]) -> None:
    """By type and by the star; other types are no compartments."""
    names = {each.rpartition("/")[2] for each in statement["rest"][0]["compartment"]}
    assert names == {"patient", "encounter", "practitioner", "device", "relatedperson"}
    for type_ in statement["rest"][0]["resource"]:
        expected = 200 if type_["type"].lower() in names else 404
        for path in ("Observation", "*"):
            assert open_server.get(f"{type_['type']}/x/{path}").status_code == expected


@pytest.mark.parametrize("kind", ["format", "patchFormat"])
def test_every_format_it_lists_is_spoken(open_server: Caller, statement: dict[str, Any], kind: str) -> None:
    """As an answer, or as a patch; another is not."""
    for media in statement[kind]:
        if kind == "format":
            assert open_server.http.get("Basic", params={"_format": media}).status_code == 200
        else:
            refused = open_server.request("PATCH", "Basic/x", content=b"x", headers={"Content-Type": media})
            assert refused.status_code in (400, 404), (media, refused.text)
    other = {"Content-Type": "text/plain"}
    assert open_server.get("Basic?_format=text/plain").status_code == 406
    assert open_server.request("PATCH", "Basic/x", content=b"x", headers=other).status_code in (404, 415)


def test_with_authorization_it_lists_what_the_rules_leave(house: House) -> None:
    """The log is read, searched, and fed by registered systems; a directive is not deleted; the import is offered."""
    statement = house.nobody.get("metadata").json()
    resources = _resources(statement)
    assert {each["code"] for each in resources["AuditEvent"]["interaction"]} == {"read", "search-type", "create"}
    assert "delete" not in {each["code"] for each in resources["Consent"]["interaction"]}
    assert resources["Consent"]["conditionalDelete"] == "not-supported"
    assert "import-document" in {each["name"] for each in statement["rest"][0]["operation"]}
    # Nobody may write a Subscription, and none is there to be read.
    assert "Subscription" not in resources
    subscription = {"resourceType": "Subscription", "status": "requested", "reason": "x", "criteria": "Observation?"}
    channel = {"channel": {"type": "rest-hook", "endpoint": "https://example.org/"}}
    for caller in house.callers.values():
        assert caller.post("Subscription", {**subscription, **channel}).status_code in (401, 403)
    for each in resources["AuditEvent"]["searchParam"]:
        value = {"date": "ge2020", "patient": house.cast["patient"]}.get(each["name"], "x")
        also = "" if each["name"] == "patient" else f"&patient={house.cast['patient']}"
        assert house.patient.get(f"AuditEvent?{each['name']}={value}{also}").status_code == 200
    whole, part = (
        house.patient.get(url).json()
        for url in (
            f"AuditEvent?patient={house.cast['patient']}&_count=2",
            f"{house.cast['patient']}/AuditEvent?_count=2",
        )
    )
    assert len(whole["entry"]) == len(part["entry"]) == 2
