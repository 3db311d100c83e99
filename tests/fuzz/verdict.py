"""What a response must be like, whatever was asked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import orjson

from fhir_server.errors import FhirServerError
from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.fhir.xml.read import to_json
from tests.fuzz.case import Case
from tests.fuzz.state import Key
from tests.fuzz.wire import Response

# Deliberate: what is not built, and what cannot answer now.
_ALLOWED_5XX: Final = (501, 503)
_SEVERITIES: Final = ("fatal", "error", "warning", "information")
_JSON: Final = "application/fhir+json"
_XML: Final = "application/fhir+xml"
_LEAKS: Final = (b"Traceback", b'File "', b"sqlite", b"site-packages")


def faults(case: Case, response: Response, token: str) -> Iterator[str]:
    """Everything that is wrong with a response."""
    if case.raw:
        if not 400 <= response.status < 500:
            yield f"answered {response.status} to what is no HTTP"
        return
    if response.status >= 500 and response.status not in _ALLOWED_5XX:
        yield f"answered {response.status}"
    if response.status >= 400:
        yield from _outcome_faults(case, response)
    elif response.body and _is_fhir(case, response):
        yield from _answer_faults(answer_of(response))
    if token and token.encode() in response.body:
        yield "the token is in the answer"
    if any(leak in response.body for leak in _LEAKS) and response.status >= 400:
        yield "the answer speaks of the server's inside"
    if response.headers.get("cache-control") != "no-store":
        yield "the answer may be cached"


def answer_of(response: Response) -> Any:
    """The resource of an answer in JSON or XML; None for what is neither."""
    try:
        body = response.body
        if response.headers.get("content-type", "").startswith(_XML):
            body = to_json(body, _definitions())
        return orjson.loads(body)
    except (ValueError, FhirServerError):
        return None


def _is_fhir(case: Case, response: Response) -> bool:
    """Whether the answer is FHIR: the content of a Binary may be called so, and be anything."""
    path = case.target.partition("?")[0]
    return "/Binary/" not in path and response.headers.get("content-type", "").startswith((_JSON, _XML))


def _answer_faults(answer: Any) -> Iterator[str]:
    if not isinstance(answer, dict) or "resourceType" not in answer:
        yield "an answer that cannot be read"
    elif answer.get("type") in ("transaction-response", "batch-response"):
        yield from _entry_faults(answer)
    elif answer.get("type") == "searchset":
        found = [each["fullUrl"] for each in answer.get("entry", ()) if each.get("search", {}).get("mode") != "outcome"]
        if len(set(found)) < len(found):
            yield "a page with one resource twice"


def _outcome_faults(case: Case, response: Response) -> Iterator[str]:
    if not response.headers.get("content-type", "").startswith((_JSON, _XML)):
        yield f"{response.status} with content type {response.headers.get('content-type')!r}"
    if case.method == "HEAD":
        return
    outcome = answer_of(response)
    try:
        issues = outcome["issue"]
        good = outcome["resourceType"] == "OperationOutcome" and issues and all(_is_issue(each) for each in issues)
    except (KeyError, TypeError):
        good = False
    if not good:
        yield f"{response.status} without an OperationOutcome"


def _entry_faults(answer: dict[str, Any]) -> Iterator[str]:
    """The entries of a batch are answers, and judged as such."""
    for entry in answer.get("entry", ()):
        status = int(entry["response"]["status"][:3])
        if status >= 500 and status not in _ALLOWED_5XX:
            yield f"answered {status} in an entry"
        if status >= 400 and not entry["response"].get("outcome", {}).get("issue"):
            yield f"{status} in an entry without an OperationOutcome"


def _is_issue(issue: Any) -> bool:
    return issue["severity"] in _SEVERITIES and bool(issue["code"])


def written(case: Case, response: Response) -> set[Key]:
    """The versions that an answer says were written."""
    if response.status >= 300 or case.method in ("GET", "HEAD"):
        return set()
    if case.method == "DELETE":
        # By criteria that found nothing, nothing was deleted.
        path = case.target.partition("?")[0].removeprefix("/fhir/")
        return {(path, _number(response.headers["etag"]))} if "etag" in response.headers else set()
    location = response.headers.get("location", "")
    if "/_history/" in location and (response.status == 201 or case.method in ("PUT", "PATCH")):
        return {_key(location)}
    answer = answer_of(response) if response.body else None
    if isinstance(answer, dict) and answer.get("type") in ("transaction-response", "batch-response"):
        return {key for entry in answer.get("entry", ()) for key in _entry_keys(entry)}
    return set()


def imported(case: Case, response: Response) -> str:
    """The document that an answer says was imported, "" for none."""
    if response.status != 201 or "$import-document" not in case.target:
        return ""
    return "/".join(response.headers["location"].split("/")[-2:])


def _entry_keys(entry: dict[str, Any]) -> Iterator[Key]:
    answer = entry["response"]
    if answer["status"].startswith("201"):
        yield _key(answer["location"])
    elif answer["status"].startswith("204") and "etag" in answer:
        yield "/".join(entry["fullUrl"].split("/")[-2:]), _number(answer["etag"])
    elif "location" in answer and _number(answer["etag"]) > 1:
        yield _key(answer["location"])


def _key(location: str) -> Key:
    *_, type_, id_, _, number = location.split("/")
    return f"{type_}/{id_}", int(number)


def _number(etag: str) -> int:
    return int(etag.removeprefix("W/").strip('"'))


@cache
def _definitions() -> Definitions:
    return load_definitions()
