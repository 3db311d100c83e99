"""The SMART App Launch 2.2 authorization server: authorize, token, introspect, revoke, keys, what it says of itself.

Each endpoint reads a form, asks `auth` and writes the answer; nothing is decided here.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from fhir_server.api.discovery import openid_configuration, smart_configuration
from fhir_server.api.oauth_forms import answer, described, parameters, public, read_form
from fhir_server.api.tokens import TokenEndpoint
from fhir_server.auth.authorize import SentBack, ask
from fhir_server.auth.grants import revoke_refresh
from fhir_server.auth.identity import introspected
from fhir_server.auth.keys import published
from fhir_server.auth.refusals import Refused, unknown_client
from fhir_server.auth.token_requests import Grants
from fhir_server.auth.tokens import holder, revoke
from fhir_server.context import Services

_AUTHORIZE: Final = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "aud",
    "code_challenge",
    "code_challenge_method",
    "launch",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
)
_CLIENT: Final = ("client_id", "client_secret", "client_assertion_type", "client_assertion")
_TOKEN: Final = ("grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope", *_CLIENT)
_ABOUT: Final = ("token", "token_type_hint", *_CLIENT)
_QUERY: Final = {"parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _AUTHORIZE]}
_NOWHERE: Final = (
    "Cette application n'est pas enregistrée ici, ou pas avec cette adresse de retour (redirect_uri).\n"
    "This application is not registered here, or not with this redirect_uri.\n"
)


def router(services: Services, grants: Grants) -> APIRouter:
    """The endpoints. `grants`: grant types besides the usual ones, by name."""
    made, ledger, settings = APIRouter(tags=["SMART"]), services.store.ledger, services.settings
    tokens = TokenEndpoint(services, grants)

    @made.get("/oauth/authorize", openapi_extra=_QUERY)
    async def authorize(request: Request) -> Response:
        """Begin to let an application in: on to the login."""
        return await _begin(services, list(request.query_params.multi_items()))

    @made.post("/oauth/authorize", openapi_extra=described(*_AUTHORIZE))
    async def authorize_by_form(request: Request) -> Response:
        """The same by a form."""
        return await _begin(services, list((await read_form(request)).items()))

    @made.post("/oauth/token", openapi_extra=described(*_TOKEN))
    async def token(request: Request) -> Response:
        """A token for a grant."""
        form = await read_form(request)
        return answer(await tokens.answer(form, request.headers.get("authorization", "")))

    @made.post("/oauth/introspect", openapi_extra=described(*_ABOUT))
    async def introspect(request: Request) -> Response:
        """What a token stands for: for the client it was given to, and for resource servers (RFC 7662)."""
        form, now = await read_form(request), services.clock()
        client = (await tokens.prover.prove(form, request.headers.get("authorization", ""), now=now)).client
        if not client.confidential:
            raise unknown_client()
        found = await holder(ledger, form.get("token", ""), now=now)
        if found is None or (client.kind != "resource-server" and found.client != client.id):
            return answer({"active": False})
        return answer(introspected(found, issuer=settings.web_base, base=settings.fhir_base))

    @made.post("/oauth/revoke", openapi_extra=described(*_ABOUT))
    async def revocation(request: Request) -> Response:
        """End a token; a refresh token with all that came of its grant (RFC 7009)."""
        form, now = await read_form(request), services.clock()
        client = (await tokens.prover.prove(form, request.headers.get("authorization", ""), now=now)).client
        given = form.get("token", "")
        if not given:
            raise Refused("invalid_request", "Give the token.")
        found = await holder(ledger, given, now=now)
        if found is not None and found.client == client.id:
            await revoke(ledger, given)
        elif found is None:
            await revoke_refresh(ledger, client, given, now=now)
        return answer({})

    @made.get("/oauth/jwks")
    async def jwks() -> Response:
        """The keys that id tokens are signed with."""
        return public(await published(ledger, now=services.clock()))

    @made.get("/fhir/.well-known/smart-configuration")
    async def smart() -> Response:
        """SMART App Launch 2.2."""
        return public(smart_configuration(settings, grants))

    @made.get("/.well-known/openid-configuration")
    async def openid() -> Response:
        """OpenID Connect Discovery 1.0."""
        return public(openid_configuration(settings, grants))

    return made


async def _begin(services: Services, pairs: list[tuple[str, str]]) -> Response:
    """On to the login; back to the application with what is wrong; or, without a registered address, nowhere."""
    settings = services.settings
    try:
        id = await ask(
            services.store.ledger,
            parameters(pairs),
            issuer=settings.web_base,
            audience=settings.fhir_base,
            now=services.clock(),
        )
    except SentBack as back:
        return RedirectResponse(back.url, 303)
    except Refused:
        return PlainTextResponse(_NOWHERE, 400)
    return RedirectResponse(f"{settings.web_base}/login?request={id}", 303)
