"""What the pages are made with: the accounts, the logins, the identity providers, and the way a failure is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from traceback import extract_tb
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import structlog
from fastapi import Request, Response

from fhir_server.auth.accounts import Accounts
from fhir_server.auth.federation import Federation, TooWeak
from fhir_server.auth.outbound import Outbound
from fhir_server.auth.providers import providers
from fhir_server.auth.refusals import Refused
from fhir_server.auth.sessions import MINUTE, Sessions
from fhir_server.context import Services
from fhir_server.errors import (
    FhirServerError,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from fhir_server.portal.pages import Pages
from fhir_server.portal.visit import BadForm, Visit, refused, visit
from fhir_server.storage.interface import Ledger

log = structlog.get_logger()

Handler: TypeAlias = Callable[[Visit], Awaitable[Response]]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

# What is shown of a failure, the first that fits: status and sentence.
_FAULTS: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (BadForm, 403, "fault_form"),
    (Refused, 400, "fault_expired"),
    (TooWeak, 401, "fault_level"),
    (TooManyRequests, 429, "fault_unavailable"),
    (Unauthenticated, 401, "fault_login"),
    (Forbidden, 403, "fault_refused"),
    (NotFound, 404, "fault_absent"),
    (Unavailable, 503, "fault_unavailable"),
    (FhirServerError, 400, "fault_refused"),
)


class Told(Exception):
    """A failure with a sentence of its own."""

    def __init__(self, sentence: str, status: int = 403) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


class Parts:
    """Shared by all pages of one server."""

    def __init__(self, services: Services) -> None:
        """Raises ValueError when an identity provider is configured in part only."""
        settings = services.settings
        self.services = services
        self.accounts = Accounts(services.store.ledger, services.passwords)
        self.sessions = Sessions(
            services.store.ledger,
            self.accounts,
            idle=settings.session_idle_minutes * MINUTE,
            longest=settings.session_max_minutes * MINUTE,
        )
        outbound = Outbound(settings)
        self.federations = {
            name: Federation(each, services.store.ledger, f"{settings.web_base}/login/{name}/callback", outbound)
            for name, each in providers(settings).items()
        }
        self.pages = Pages(root=urlsplit(settings.web_base).path, demo=settings.demo)
        self._secure = settings.web_base.startswith("https:")

    @property
    def ledger(self) -> Ledger:
        """Where logins and requests are kept."""
        return self.services.store.ledger

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        return self.services.clock()

    def endpoint(self, handler: Handler) -> Endpoint:
        """The route of a page: a visit in, a page out, whatever happens."""

        async def answered(request: Request) -> Response:
            try:
                given = await visit(request, self.sessions, secure=self._secure, now=self.now())
            except Exception as error:
                return self._fault(refused(request), error)
            try:
                return await handler(given)
            except Exception as error:
                return self._fault(given, error)

        return answered

    def _fault(self, visit: Visit, error: Exception) -> Response:
        if isinstance(error, Told):
            status, sentence = error.status, error.sentence
        else:
            fits = (each[1:] for each in _FAULTS if isinstance(error, each[0]))
            status, sentence = next(fits, (500, "fault_server"))
        if status == 500:
            where = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-6:]]
            log.error("fault", kind=type(error).__name__, where=where)
        return self.pages.page(visit, "message", status=status, title="fault_title", text=sentence)
