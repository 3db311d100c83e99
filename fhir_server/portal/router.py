"""The pages for people: log in, choose, decide, look back. Works without scripts, on a telephone, in two languages."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fhir_server.api import accounts
from fhir_server.api.exchange import token_exchange
from fhir_server.auth.providers import PRO_SANTE_CONNECT
from fhir_server.auth.token_requests import Grants
from fhir_server.context import Services
from fhir_server.portal.apps import Apps
from fhir_server.portal.consents import Consents
from fhir_server.portal.login import Login
from fhir_server.portal.pages import STYLE
from fhir_server.portal.parts import Parts
from fhir_server.portal.records import Records
from fhir_server.portal.visit import Visit


def portal(services: Services) -> tuple[APIRouter, Grants]:
    """The routes of the pages, and the grant types that come with the identity providers."""
    parts = Parts(services)
    router = APIRouter(include_in_schema=False)
    for each in (Login(parts), Records(parts), Consents(parts), Apps(parts)):
        each.add_to(router)

    async def style(request: Request) -> Response:
        return parts.pages.style()

    async def home(visit: Visit) -> Response:
        return parts.pages.redirect(visit, "/apps")

    router.add_api_route(STYLE, style, methods=["GET"])
    router.add_api_route("/", parts.endpoint(home), methods=["GET"])
    router.include_router(accounts.router(services), include_in_schema=True)
    federation = parts.federations.get(PRO_SANTE_CONNECT)
    return router, token_exchange(services, federation) if federation else {}
