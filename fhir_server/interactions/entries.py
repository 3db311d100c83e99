"""One entry of a batch or transaction: the interaction it asks for, and how its answer is written."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from fhir_server.context import Answer, Context, Interaction, Request
from fhir_server.errors import FhirServerError, Malformed
from fhir_server.fhir.bundle import Entry
from fhir_server.fhir.dates import format_instant, parse_instant
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.interactions.status import status_line, status_of

_JSON: Final = "application/fhir+json"
_OUTCOME: Final = b'{"resourceType":"OperationOutcome"'


@dataclass(frozen=True, slots=True)
class Asked:
    """An entry as sent: the interaction, the resource parsed, the fullUrl."""

    request: Request
    resource: dict[str, Any] | None
    full_url: str


def entry_asked(ctx: Context, outer: Request, entry: dict[str, Any], body: bytes) -> Asked:
    """What an entry asks for. `body`: its resource as it lies in the Bundle."""
    asked = entry["request"]
    if "url" not in asked or "method" not in asked:
        raise Malformed("An entry's request has a method and a url.", expression="Bundle.entry.request")
    path, _, query = asked["url"].removeprefix(f"{ctx.base}/").lstrip("/").partition("?")
    method, resource = asked["method"], entry.get("resource")
    content_type = _JSON
    if method == "PATCH":
        body, content_type = _patch(resource, body)
    request = Request(
        method=method,
        path=tuple(unquote(part) for part in path.split("/") if part),
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        body=body,
        content_type=content_type,
        accept=_JSON,
        if_match=asked.get("ifMatch", "").removeprefix("W/").strip('"'),
        if_none_match=asked.get("ifNoneMatch", ""),
        if_modified_since=_http_date(asked.get("ifModifiedSince", "")),
        if_none_exist=asked.get("ifNoneExist", ""),
        prefer=outer.prefer or "minimal",
        strict=outer.strict,
    )
    if not request.path and method not in ("GET", "HEAD"):
        raise Malformed("A Bundle is no entry of another.", expression="Bundle.entry.request.url")
    return Asked(request, resource, entry.get("fullUrl", ""))


async def answer_entry(ctx: Context, request: Request, answer: Interaction) -> Entry:
    """The entry of an interaction that stands on its own; its failure is its answer."""
    own = ctx.entry()
    try:
        given = await answer(own, request)
    except FhirServerError as error:
        return refusal(error)
    return entry_of(own, request, given)


def refusal(error: FhirServerError) -> Entry:
    """The entry of what was refused."""
    return Entry(response={"status": status_line(status_of(error))}, outcome=operation_outcome_bytes(error.issues))


def entry_of(ctx: Context, request: Request, given: Answer) -> Entry:
    """The entry of an answer."""
    response = {"status": status_line(given.status)}
    full_url = ""
    if given.location:
        response["location"] = f"{ctx.base}/{given.location}"
    if given.version:
        response["etag"] = f'W/"{given.version.version}"'
        response["lastModified"] = format_instant(given.version.time)
        full_url = f"{ctx.base}/{given.version.type}/{given.version.id}"
    body = given.body if request.method != "HEAD" else b""
    if request.prefer == "OperationOutcome" and body.startswith(_OUTCOME):
        return Entry(full_url, response=response, outcome=body)
    outcome = operation_outcome_bytes(ctx.remarks) if ctx.remarks else b""
    return Entry(full_url, body, response=response, outcome=outcome)


def _patch(resource: Any, body: bytes) -> tuple[bytes, str]:
    """A patch and its kind: the content of a Binary, or a Parameters resource (http.html#transaction)."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "Binary":
        return body, _JSON
    try:
        return b64decode("".join(resource.get("data", "").split()), validate=True), str(resource.get("contentType"))
    except (AttributeError, ValueError):
        raise Malformed("The patch is no base64.", expression="Bundle.entry.resource.data") from None


def _http_date(instant: str) -> str:
    """An instant as If-Modified-Since has it; "" for one that no HTTP date can say, which tells nothing."""
    try:
        return formatdate(parse_instant(instant) // 1_000_000, usegmt=True) if instant else ""
    except (ValueError, OverflowError):
        return ""
