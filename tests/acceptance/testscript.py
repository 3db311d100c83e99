"""A small runner of TestScript resources: operations with literal urls, assertions on status, content type and text.

https://hl7.org/fhir/R4/testscript.html. What a script asks for beyond that is refused, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

# TestScript operation code → the path between [base] and `params`.
PATHS = {"capabilities": "metadata", "read": "{resource}", "search": "{resource}", "history": "{resource}/_history"}
SUBJECTS: dict[str, Callable[[httpx.Response], str]] = {
    "responseCode": lambda answer: str(answer.status_code),
    "contentType": lambda answer: answer.headers.get("content-type", ""),
    "responseBody": lambda answer: answer.text,
}
OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda found, wanted: found == wanted,
    "notEquals": lambda found, wanted: found != wanted,
    "notIn": lambda found, wanted: found not in wanted.split(","),
    "contains": lambda found, wanted: wanted in found,
    "matchesRegex": lambda found, wanted: bool(re.search(wanted, found, re.DOTALL | re.IGNORECASE)),
}


@dataclass(frozen=True)
class Verdict:
    """One assertion: which, whether it holds, and what the server answered."""

    script: str
    label: str
    holds: bool
    answered: str


def run(script: dict[str, Any], http: httpx.Client) -> Iterator[Verdict]:
    """The verdicts on every assertion of a script, against the server whose base the client has."""
    assert script["resourceType"] == "TestScript"
    assert not script.keys() & {"fixture", "setup", "teardown", "variable"}, "not built"
    for test in script["test"]:
        answer: httpx.Response | None = None
        for action in test["action"]:
            if "operation" in action:
                answer = _operate(action["operation"], http)
            else:
                assert answer is not None, "an assertion before any operation"
                yield _judge(script["id"], action["assert"], answer)


def _operate(operation: dict[str, Any], http: httpx.Client) -> httpx.Response:
    path = PATHS[operation["type"]["code"]].format(resource=operation.get("resource"))
    headers = {each["field"]: each["value"] for each in operation.get("requestHeader", ())}
    return http.get(path + operation.get("params", ""), headers=headers)


def _judge(script: str, assertion: dict[str, Any], answer: httpx.Response) -> Verdict:
    (subject,) = assertion.keys() & SUBJECTS.keys()
    holds = OPERATORS[assertion["operator"]](SUBJECTS[subject](answer), assertion[subject])
    return Verdict(script, assertion["label"], holds, f"{answer.status_code} {answer.text[:300]}")
