"""Every way a request can fail, in words of the domain; `interactions/status.py` holds the one table to HTTP.

The docstring of an exception is the message a caller reads when nothing more precise is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Issue:
    """One line of an OperationOutcome (https://hl7.org/fhir/R4/operationoutcome.html).

    `code` is of http://hl7.org/fhir/issue-type; `expression` a FHIRPath, or the name of a parameter or header;
    `coding` an optional (system, code) for `details`. None of them ever holds health data.
    """

    code: str
    text: str
    expression: str = ""
    severity: str = "error"
    coding: tuple[str, str] | None = None
    diagnostics: str = ""


class FhirServerError(Exception):
    """The request failed."""

    code: ClassVar[str] = "processing"

    def __init__(self, text: str = "", *, expression: str = "", issues: Iterable[Issue] = ()) -> None:
        message = text or (type(self).__doc__ or "").strip()
        self.issues = tuple(issues) or (Issue(self.code, message, expression),)
        super().__init__(message)


class Malformed(FhirServerError):
    """The request cannot be read."""

    code = "structure"


class Unauthenticated(FhirServerError):
    """A valid access token is required."""

    code = "login"


class StepUp(Unauthenticated):
    """A stronger login is required."""

    def __init__(self, acr: str = "") -> None:
        """`acr`: the level of authentication that is asked for (RFC 9470)."""
        super().__init__()
        self.acr = acr


class Forbidden(FhirServerError):
    """This caller may not do that."""

    code = "forbidden"


class NotFound(FhirServerError):
    """No such resource."""

    code = "not-found"


class MethodNotAllowed(FhirServerError):
    """This interaction is not offered here."""

    code = "not-supported"

    def __init__(self, text: str = "", *, allowed: Iterable[str] = ("GET", "HEAD"), **more: Any) -> None:
        """`allowed`: the methods that the target does take."""
        super().__init__(text, **more)
        self.allowed = tuple(allowed)


class NotAcceptable(FhirServerError):
    """None of the accepted formats can be produced."""

    code = "not-supported"


class Conflict(FhirServerError):
    """The request collides with the current state; read again and retry."""

    code = "conflict"


class Gone(FhirServerError):
    """The resource has been deleted."""

    code = "deleted"


class PreconditionFailed(FhirServerError):
    """The version or the criteria named in the request do not hold."""

    code = "conflict"


class TooLarge(FhirServerError):
    """The request exceeds a limit of this server."""

    code = "too-long"


class UnsupportedMediaType(FhirServerError):
    """The format of the body is not supported."""

    code = "not-supported"


class Invalid(FhirServerError):
    """The resource is not valid."""

    code = "invalid"


class TooManyRequests(FhirServerError):
    """Too many requests; wait and retry."""

    code = "throttled"

    def __init__(self, text: str = "", *, seconds: int = 1, **more: Any) -> None:
        """`seconds`: after which it is worth to come again."""
        super().__init__(text, **more)
        self.seconds = max(1, seconds)


class NotBuilt(FhirServerError):
    """This server does not offer that yet."""

    code = "not-supported"


class Unavailable(FhirServerError):
    """The service cannot answer now; retry later."""

    code = "transient"
