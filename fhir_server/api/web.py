"""The doors for people, programs and administrators: one FastAPI application beside the FHIR door."""

from __future__ import annotations

from collections.abc import Iterable
from traceback import extract_tb
from typing import Final

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_server import __version__
from fhir_server.api import admin, smart
from fhir_server.api.oauth_forms import refusal
from fhir_server.auth.refusals import Refused
from fhir_server.auth.token_requests import Grants
from fhir_server.context import Services
from fhir_server.errors import FhirServerError, Issue
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.interactions.status import status_of

log = structlog.get_logger()

# A page may say more of itself; none says less.
_ALWAYS: Final = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


def create_web(services: Services, routers: Iterable[APIRouter] = (), *, grants: Grants | None = None) -> FastAPI:
    """The application: OAuth and SMART, administration, and the routers given. `grants`: grant types of the token
    endpoint besides its own, by name."""
    # No redirect to the same path without its slash: it would be made of the Host header, and of http behind a proxy.
    web = FastAPI(
        title="fhir-server",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    web.state.services = services
    web.include_router(smart.router(services, grants or {}))
    web.include_router(admin.router(services))
    for router in routers:
        web.include_router(router)
    web.add_exception_handler(Refused, _refused)
    web.add_exception_handler(FhirServerError, _failed)
    web.add_exception_handler(RequestValidationError, _unreadable)
    web.add_exception_handler(HTTPException, _elsewhere)
    web.add_middleware(Covered)
    return web


class Covered:
    """Puts the headers that every answer has, and turns a fault of ours into a plain 500: its message may quote a
    person's data, so only its place is logged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                known = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *((n, v) for n, v in _ALWAYS.items() if n not in known)]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            where = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-6:]]
            log.error("fault", kind=type(error).__name__, where=where)
            if begun:
                raise ConnectionError from None
            await JSONResponse({"error": "server_error"}, status_code=500)(scope, receive, answer)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(error)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, FhirServerError)
    if request.url.path.startswith("/oauth/"):
        code = "server_error" if status_of(error) < 503 else "temporarily_unavailable"
        return refusal(Refused(code, "Try again later.", status=max(status_of(error), 500)))
    headers = {"WWW-Authenticate": 'Bearer realm="fhir"'} if status_of(error) == 401 else None
    return JSONResponse(operation_outcome(error.issues), status_code=status_of(error), headers=headers)


async def _unreadable(request: Request, error: Exception) -> Response:
    """What was sent is not repeated."""
    return JSONResponse({"error": "invalid_request"}, status_code=422)


async def _elsewhere(request: Request, error: Exception) -> Response:
    """An address or a method that no door has: said as the FHIR door says it, for who mistook its base."""
    assert isinstance(error, HTTPException)
    missing = error.status_code == 404
    text = "The FHIR interface is under /fhir." if missing else "This method is not offered here."
    said = operation_outcome([Issue("not-found" if missing else "not-supported", text)])
    return JSONResponse(said, error.status_code, error.headers, media_type="application/fhir+json")
