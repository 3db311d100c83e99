"""OperationOutcome from issues (https://hl7.org/fhir/R4/operationoutcome.html)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from fhir_server.errors import Issue

_NOTHING_FOUND = Issue("informational", "No issue was found.", severity="information")


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """The OperationOutcome of the issues, in their order; of none, one issue that says so (R4 asks for one)."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [_issue(issue) for issue in (tuple(issues) or (_NOTHING_FOUND,))],
    }


def operation_outcome_bytes(issues: Iterable[Issue]) -> bytes:
    """The same as JSON."""
    return orjson.dumps(operation_outcome(issues))


def _issue(issue: Issue) -> dict[str, Any]:
    """One issue; what it does not say is left out, as FHIR knows no empty elements."""
    row: dict[str, Any] = {"severity": issue.severity, "code": issue.code}
    details: dict[str, Any] = {}
    if issue.coding:
        system, code = issue.coding
        details["coding"] = [{"system": system, "code": code}]
    if issue.text:
        details["text"] = issue.text
    if details:
        row["details"] = details
    if issue.diagnostics:
        row["diagnostics"] = issue.diagnostics
    if issue.expression:
        row["expression"] = [issue.expression]
    return row
