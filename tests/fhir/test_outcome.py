"""An OperationOutcome says what the issues say and nothing empty: https://hl7.org/fhir/R4/operationoutcome.html."""

from __future__ import annotations

import orjson

from fhir_server.errors import Issue
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.outcome import operation_outcome, operation_outcome_bytes
from fhir_server.validation.validator import Validator

FULL = Issue(
    code="required",
    text="This element is required.",
    expression="Patient.name[0].family",
    severity="warning",
    coding=("http://example.org", "x"),
    diagnostics="line 3",
)


def test_an_issue_is_written_with_all_it_says() -> None:
    """Severity, code, coded and plain details, diagnostics, place."""
    assert operation_outcome([FULL]) == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "warning",
                "code": "required",
                "details": {
                    "coding": [{"system": "http://example.org", "code": "x"}],
                    "text": "This element is required.",
                },
                "diagnostics": "line 3",
                "expression": ["Patient.name[0].family"],
            }
        ],
    }


def test_what_an_issue_does_not_say_is_left_out() -> None:
    """FHIR knows no empty elements."""
    assert operation_outcome([Issue("invalid", "")])["issue"] == [{"severity": "error", "code": "invalid"}]


def test_issues_keep_their_order() -> None:
    """The first is what the reader sees."""
    outcome = operation_outcome(Issue("invalid", text) for text in "abc")
    assert [issue["details"]["text"] for issue in outcome["issue"]] == ["a", "b", "c"]


def test_no_issue_is_said_with_one() -> None:
    """OperationOutcome.issue is 1..*."""
    (issue,) = operation_outcome([])["issue"]
    assert (issue["severity"], issue["code"]) == ("information", "informational")


def test_the_bytes_are_the_same() -> None:
    """As JSON."""
    assert orjson.loads(operation_outcome_bytes([FULL])) == operation_outcome([FULL])


def test_an_outcome_is_valid_r4() -> None:
    """Ours too."""
    validator = Validator(load_definitions())
    assert validator.validate(operation_outcome([FULL, Issue("invalid", "")])) == []
    assert validator.validate(operation_outcome([])) == []
