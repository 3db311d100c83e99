"""What leaves the door: status, headers, bytes, in the form that was asked for."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple

from fhir_server.api.negotiate import PATCH_TYPES, PLAIN, Form
from fhir_server.context import Answer
from fhir_server.errors import (
    FhirServerError,
    Malformed,
    MethodNotAllowed,
    NotAcceptable,
    StepUp,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import indented
from fhir_server.fhir.outcome import operation_outcome_bytes
from fhir_server.fhir.xml.write import to_xml
from fhir_server.interactions.status import status_of

JSON: Final = "application/fhir+json; charset=utf-8"
XML: Final = "application/fhir+xml; charset=utf-8"
_PLAIN: Final = (b"content-type", JSON.encode())
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
        plain = answer.content_type == JSON
        headers.append(_PLAIN if plain else (b"content-type", answer.content_type.encode("latin-1")))
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if answer.version:
        headers.append((b"etag", b'W/"%d"' % answer.version.version))
        headers.append((b"last-modified", _http_date(answer.version.time // 1_000_000)))
    if answer.location:
        headers.append((b"location", f"{base}/{answer.location}".encode()))
    if answer.headers:
        headers.extend(_encoded(answer.headers))
    return Reply(answer.status, headers, answer.body)


def failure(error: FhirServerError, status: int | None = None) -> Reply:
    """The response of one that failed: the OperationOutcome, the same bytes for the same error."""
    code = status or status_of(error)
    body = operation_outcome_bytes(error.issues)
    headers = [*_ALWAYS, _PLAIN, (b"content-length", b"%d" % len(body))]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", _challenge(error)))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if isinstance(error, UnsupportedMediaType):
        headers.append((b"accept-patch", ", ".join(PATCH_TYPES).encode()))
    if isinstance(error, (Unavailable, TooManyRequests)):
        seconds = error.seconds if isinstance(error, TooManyRequests) else 1
        headers.append((b"retry-after", b"%d" % seconds))
    return Reply(code, headers, body)


def rendered(result: Reply, form: Form | None, definitions: Definitions) -> Reply:
    """The response in the form that was asked for: written as XML, or indented; in JSON when that form is unknown.

    406 for a resource that XML cannot hold, such as one with the character U+FFFE in a string.
    """
    if form is None or form == PLAIN or not result.body or (form.raw and result.status < 400):
        return result
    if _PLAIN not in result.headers:
        return result
    try:
        body = _written(result.body, form, definitions)
    except Malformed:
        if result.status >= 400:
            return result
        return rendered(failure(NotAcceptable("XML cannot hold this; ask for JSON.")), form, definitions)
    changed = {b"content-type": (XML if form.xml else JSON).encode(), b"content-length": b"%d" % len(body)}
    return Reply(result.status, [(name, changed.get(name, value)) for name, value in result.headers], body)


def in_form(answer: Answer, form: Form, definitions: Definitions) -> Answer:
    """The same for an answer that is asked for often, and kept: the statement of what the server can."""
    answer.body = _written(answer.body, form, definitions)
    answer.content_type = XML if form.xml else JSON
    return answer


def _challenge(error: Unauthenticated) -> bytes:
    """How to come back: with a token, or with one of a stronger login (RFC 9470 §3)."""
    if isinstance(error, StepUp):
        return f'Bearer realm="fhir", error="insufficient_user_authentication", acr_values="{error.acr}"'.encode()
    return b'Bearer realm="fhir"'


@lru_cache(maxsize=4096)
def _http_date(seconds: int) -> bytes:
    """As RFC 9110 §5.6.7 writes it; what was written together is read together."""
    return formatdate(seconds, usegmt=True).encode()


def _written(body: bytes, form: Form, definitions: Definitions) -> bytes:
    if form.xml:
        return to_xml(body, definitions, pretty=form.pretty)
    return indented(body) if form.pretty else body


def _encoded(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[bytes, bytes]]:
    return ((name.lower().encode(), value.encode("latin-1")) for name, value in headers)
