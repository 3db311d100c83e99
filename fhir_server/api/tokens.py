"""The token endpoint: which grant is asked for, and what it answers (RFC 6749 §5.1, SMART App Launch 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import orjson

from fhir_server.api.acts import note
from fhir_server.api.authenticate import NOBODY
from fhir_server.auth import backend, grants
from fhir_server.auth.actor import ROLES, Actor
from fhir_server.auth.clients import Client
from fhir_server.auth.contexts import Emergency
from fhir_server.auth.grants import ACCESS, SECOND, Given
from fhir_server.auth.identity import id_token
from fhir_server.auth.jwks import ClientKeys
from fhir_server.auth.outbound import Outbound
from fhir_server.auth.proof import Proven, Prover
from fhir_server.auth.refusals import Refused
from fhir_server.auth.token_requests import Grants, TokenRequest
from fhir_server.auth.tokens import end_session, holder
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.errors import FhirServerError, Forbidden, Unauthenticated
from fhir_server.interactions.router import answer
from fhir_server.record.directory import placed

_DECLARE: Final = "$declare-emergency"
# Refusals that may be an attack: whoever is not the client, has a grant that is used up, or says too much of itself.
_SUSPICIOUS: Final[Mapping[str, FhirServerError]] = {
    "invalid_client": Unauthenticated(),
    "invalid_grant": Forbidden(),
    "access_denied": Forbidden(),
    "unauthorized_client": Forbidden(),
}


class TokenEndpoint:
    """Gives tokens. `prover`: tells which client is asking."""

    def __init__(self, services: Services, others: Grants) -> None:
        """`others`: grant types besides those below, by name."""
        self._services = services
        self._ledger = services.store.ledger
        audience = f"{services.settings.web_base}/oauth/token"
        self.prover = Prover(self._ledger, services.passwords, ClientKeys(Outbound(services.settings)), audience)
        own = {"authorization_code": self._code, "refresh_token": self._refresh, "client_credentials": self._backend}
        self._grants: Grants = {**others, **own}

    async def answer(self, form: Mapping[str, str], authorization: str) -> Mapping[str, Any]:
        """The answer to a request for a token, which is in the access log, given or not. Raises Refused.

        The line is in no patient's log: what was granted for a record is there since the person said so."""
        asking = NOBODY
        try:
            proven = await self.prover.prove(form, authorization, now=self._services.clock())
            asking = _software(proven.client)
            given = await self._given(proven, form)
        except Refused as refusal:
            if refusal.code in _SUSPICIOUS:
                await note(self._services, asking, "token", refused=_SUSPICIOUS[refusal.code])
            raise
        whom = await holder(self._ledger, given["access_token"], now=self._services.clock())
        await note(self._services, whom or asking, "token")
        return given

    async def _given(self, proven: Proven, form: Mapping[str, str]) -> Mapping[str, Any]:
        grant = self._grants.get(form.get("grant_type", ""))
        if grant is None:
            code = "unsupported_grant_type" if "grant_type" in form else "invalid_request"
            raise Refused(code, "grant_type is not one of this server.")
        return await grant(TokenRequest(self._ledger, proven, form, self._services.clock()))

    async def _code(self, asked: TokenRequest) -> Mapping[str, Any]:
        for name in ("code", "redirect_uri", "code_verifier"):
            if name not in asked.form:
                raise Refused("invalid_request", f"{name} is missing.")
        given = await grants.exchange_code(
            asked.ledger,
            asked.client,
            asked.form["code"],
            redirect_uri=asked.form["redirect_uri"],
            verifier=asked.form["code_verifier"],
            now=asked.now,
        )
        return await self._told(given, asked.client, asked.now)

    async def _refresh(self, asked: TokenRequest) -> Mapping[str, Any]:
        if "refresh_token" not in asked.form:
            raise Refused("invalid_request", "refresh_token is missing.")
        given = await grants.exchange_refresh(
            asked.ledger,
            asked.client,
            asked.form["refresh_token"],
            scope=asked.form.get("scope", ""),
            now=asked.now,
        )
        return await self._told(given, asked.client, asked.now)

    async def _backend(self, asked: TokenRequest) -> Mapping[str, Any]:
        actor, emergency = backend.caller(asked.proven)
        if actor.role == "ps":
            actor = await placed(self._services, actor)
        issued = await backend.credentials(asked.ledger, actor, asked.client, asked.form, now=asked.now)
        if emergency:
            await self._declare(issued.access, emergency)
        return _bearer(issued.access, issued.actor.scopes, ACCESS)

    async def _told(self, given: Given, client: Client, now: int) -> dict[str, Any]:
        """The tokens, and for whom and by whom the program was let in."""
        grant, settings = given.grant, self._services.settings
        said = _bearer(given.access, given.scopes, min(ACCESS, grant.until - now))
        if given.refresh:
            said["refresh_token"] = given.refresh
        if grant.patient:
            said |= {"patient": grant.patient, "need_patient_banner": grant.banner}
        if "fhirUser" in given.scopes:
            said["fhirUser"] = f"{settings.fhir_base}/{grant.user}"
        if "openid" in given.scopes:
            said["id_token"] = await id_token(
                self._ledger, grant, client, issuer=settings.web_base, base=settings.fhir_base, now=now
            )
        return said

    async def _declare(self, token: str, emergency: Emergency) -> None:
        """What a professional would declare by the operation, declared for them: the same rules, notices and log.

        The token is not given out unless it was. Raises Refused."""
        services = self._services
        operation = ("Patient", emergency.patient.removeprefix("Patient/"), _DECLARE)
        parameter = [
            {"name": "reason", "valueString": emergency.reason},
            {"name": "mode", "valueCode": emergency.regime},
        ]
        body = orjson.dumps({"resourceType": "Parameters", "parameter": parameter})
        actor = await holder(self._ledger, token, now=services.clock())
        assert actor is not None
        try:
            await answer(Context(services, actor, Trace(request_id=uuid4().hex)), Request("POST", operation, body=body))
        except FhirServerError as error:
            await end_session(self._ledger, actor.session, now=services.clock())
            raise Refused("access_denied", "The emergency cannot be declared.", status=403) from error


def _software(client: Client) -> Actor:
    """A program that asks for a token, as the access log names it."""
    kind = client.kind if client.kind in ROLES else "app"
    return Actor(
        kind, f"Device/{client.id}", client.name, "", client=client.id, software=client.software or client.name
    )


def _bearer(access: str, scopes: tuple[str, ...], life: int) -> dict[str, Any]:
    return {
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": life // SECOND,
        "scope": " ".join(scopes),
    }
