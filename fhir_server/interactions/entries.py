"""One entry of a batch or transaction: the interaction it asks for, and how its answer is written."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

from fhir_server.context import Answer, Context, Interaction, Request
from fhir_server.errors import FhirServerError, Malformed
from fhir_server.fhir.bundle import Entry
from fhir_server.fhir.dates import format_instant
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.interactions.status import status_line, status_of
from fhir_server.storage.interface import Version


def entry_request(ctx: Context, outer: Request, entry: dict[str, Any], body: bytes) -> Request:
    """The interaction that an entry asks for."""
    asked = entry["request"]
    if "url" not in asked or "method" not in asked:
        raise Malformed("An entry's request has a method and a url.", expression="Bundle.entry.request")
    url = asked["url"].removeprefix(f"{ctx.base}/").lstrip("/")
    path, _, query = url.partition("?")
    return Request(
        method=asked["method"],
        path=tuple(unquote(part) for part in path.split("/") if part),
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        body=body,
        accept="application/fhir+json",
        if_match=asked.get("ifMatch", "").removeprefix("W/").strip('"'),
        if_none_match=asked.get("ifNoneMatch", ""),
        if_none_exist=asked.get("ifNoneExist", ""),
        prefer=outer.prefer or "minimal",
        strict=outer.strict,
    )


async def answer_entry(ctx: Context, request: Request, answer: Interaction) -> Entry:
    """The entry of an interaction that stands on its own; its failure is its answer."""
    try:
        given = await answer(ctx.entry(), request)
    except FhirServerError as error:
        return Entry(response={"status": status_line(status_of(error))}, outcome=operation_outcome_bytes(error.issues))
    return _entry(ctx, request, given)


def response_of(ctx: Context, request: Request, status: int, version: Version | None, link: str) -> Entry:
    """The entry of a write in a transaction; `version` None when another entry made the resource `link`."""
    location = f"{link}/_history/{version.version}" if version else link
    body = version.body if version else b""
    return _entry(ctx, request, Answer(status, body, version=version, location=location))


def _entry(ctx: Context, request: Request, given: Answer) -> Entry:
    response = {"status": status_line(given.status)}
    full_url = ""
    if given.location:
        response["location"] = f"{ctx.base}/{given.location}"
    if given.version:
        response["etag"] = f'W/"{given.version.version}"'
        response["lastModified"] = format_instant(given.version.time)
        full_url = f"{ctx.base}/{given.version.type}/{given.version.id}"
    wants = request.method in ("GET", "HEAD") or request.prefer == "representation"
    return Entry(full_url, given.body if wants else b"", response=response)
