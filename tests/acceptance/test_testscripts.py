"""The public TestScripts for R4 servers, against this one in its open mode."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.acceptance.testscript import Verdict, run
from tests.conftest import Caller

NOT_BUILT = (
    "Optional in R4 (operations.html: a server decides which operations it has and lists them in its"
    " CapabilityStatement; this one does not list it). RFC 9110 §15.6.2: 501 is the answer of a server that does not"
    " have the functionality asked for; it is no crash, and its body is an OperationOutcome."
)
# (script, assertion) that does not hold → why it need not, from the text of R4.
ARGUED = {
    ("fhir-r4-base-silent-ignore", "responseCode is 4xx"): (
        "R4 search.html#errors: servers may ignore unknown parameters unless the client asks for strict handling, and"
        " should say by the self link which ones they used. So it is here: the self link and an OperationOutcome in the"
        " Bundle tell what was left out, and Prefer: handling=strict gives 400 (tests below)."
    ),
    ("fhir-r4-base-expand-valueset", "responseCode not in 5xx range"): NOT_BUILT,
    ("fhir-r4-base-lookup-loinc", "responseCode not in 5xx range"): NOT_BUILT,
    ("fhir-r4-base-bulk-data-export", "responseCode is 202 Accepted"): NOT_BUILT + " $export is no operation of R4.",
}


@pytest.fixture(scope="module")
def verdicts(open_server: Caller, shared_data: Path) -> list[Verdict]:
    """All assertions of all scripts, judged on a store that holds something."""
    patient = {"resourceType": "Patient", "name": [{"family": "Smith"}], "gender": "female", "birthDate": "1950-01-02"}
    created = open_server.post("Patient", patient)
    assert created.status_code == 201
    pressure = {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": f"Patient/{created.json()['id']}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        "component": [
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                "valueQuantity": {"value": 150, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
            }
        ],
    }
    assert open_server.post("Observation", pressure).status_code == 201
    scripts = sorted((shared_data / "testscripts").rglob("*.json"))
    assert scripts
    return [each for path in scripts for each in run(orjson.loads(path.read_bytes()), open_server.http)]


@pytest.mark.shared_data
def test_every_assertion_holds_or_is_argued(verdicts: list[Verdict]) -> None:
    """What fails is in the table, and what is in the table fails: an entry that has become untrue must go."""
    failed = {(each.script, each.label): each.answered for each in verdicts if not each.holds}
    assert failed.keys() == ARGUED.keys(), failed
    assert len(verdicts) > len(ARGUED)


def test_an_unknown_parameter_is_refused_when_asked_for_strictly(open_server: Caller) -> None:
    """Prefer: handling=strict (https://hl7.org/fhir/R4/search.html#errors)."""
    answer = open_server.get("Patient?this-is-not-a-real-param=garbage", Prefer="handling=strict")
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_an_unknown_parameter_is_never_ignored_in_silence(open_server: Caller) -> None:
    """The self link has only what was used."""
    bundle = open_server.get("Patient?this-is-not-a-real-param=garbage&_count=1").json()
    (link,) = [each["url"] for each in bundle["link"] if each["relation"] == "self"]
    assert "this-is-not-a-real-param" not in link
    assert "_count=1" in link


def test_what_is_not_built_answers_with_an_operation_outcome(open_server: Caller) -> None:
    """501 is said in FHIR, and the CapabilityStatement does not claim it."""
    for url in ("ValueSet/$expand?url=http://example.org/x", "CodeSystem/$lookup?system=x&code=y", "Patient/$export"):
        answer = open_server.get(url)
        assert answer.status_code == 501, url
        assert answer.json()["resourceType"] == "OperationOutcome"
    statement = open_server.get("metadata").text
    assert not [name for name in ("expand", "lookup", "export") if f'"name":"{name}"' in statement]
