"""The HTTP status that an entry of a Bundle, and the door, give for each error."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fhir_server import errors

STATUS: Final[dict[type[errors.FhirServerError], int]] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.StepUp: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.TooManyRequests: 429,
    errors.NotBuilt: 501,
    errors.Unavailable: 503,
}


def status_of(error: errors.FhirServerError) -> int:
    """The status of the nearest known class of an error; 500 for one that the table lacks (a test forbids it)."""
    return next((STATUS[each] for each in type(error).__mro__ if each in STATUS), 500)


def status_line(status: int) -> str:
    """As Bundle.entry.response.status has it: `201 Created`."""
    return f"{status} {HTTPStatus(status).phrase}"
