"""What leaves the door: status, headers, bytes."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from typing import Final, NamedTuple

from fhir_server.context import Answer
from fhir_server.errors import FhirServerError, MethodNotAllowed, TooManyRequests, Unauthenticated, Unavailable
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.interactions.status import status_of

_JSON: Final = b"application/fhir+json; charset=utf-8"
# Health data is never kept by what lies between (access §5), nor taken for anything but what it is.
_ALWAYS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Reply(NamedTuple):
    """An HTTP response; header names in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def reply(base: str, answer: Answer) -> Reply:
    """The response of an interaction that succeeded."""
    headers = [*_ALWAYS]
    if answer.body:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if answer.version:
        headers.append((b"etag", b'W/"%d"' % answer.version.version))
        headers.append((b"last-modified", formatdate(answer.version.time // 1_000_000, usegmt=True).encode()))
    if answer.location:
        headers.append((b"location", f"{base}/{answer.location}".encode()))
    headers.extend(_encoded(answer.headers))
    return Reply(answer.status, headers, answer.body)


def failure(error: FhirServerError, status: int | None = None) -> Reply:
    """The response of one that failed: the OperationOutcome, the same bytes for the same error."""
    code = status or status_of(error)
    body = operation_outcome_bytes(error.issues)
    headers = [*_ALWAYS, (b"content-type", _JSON), (b"content-length", b"%d" % len(body))]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="fhir"'))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, (Unavailable, TooManyRequests)):
        headers.append((b"retry-after", b"1"))
    return Reply(code, headers, body)


def _encoded(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[bytes, bytes]]:
    return ((name.lower().encode(), value.encode("latin-1")) for name, value in headers)
