"""An access token of Pro Santé Connect, exchanged for one of ours (RFC 8693, spec access §1).

Asked at Pro Santé Connect once, when it is exchanged; ours ends no later than it does. For software of professionals
that is registered here, for the structure in which the professional works; who works in several is not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from fhir_server.auth.actor import Actor
from fhir_server.auth.backend import own_scopes
from fhir_server.auth.clients import Client
from fhir_server.auth.federation import Federation
from fhir_server.auth.grants import ACCESS, SECOND, belong
from fhir_server.auth.professionals import professionals
from fhir_server.auth.refusals import Refused
from fhir_server.auth.token_requests import Grants, TokenRequest
from fhir_server.auth.tokens import issue
from fhir_server.context import Services
from fhir_server.errors import Unauthenticated, Unavailable
from fhir_server.fhir.identity import structure_identifiers
from fhir_server.record.directory import placed

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"


def token_exchange(services: Services, federation: Federation) -> Grants:
    """The grant type, for the token endpoint. `federation`: Pro Santé Connect."""

    async def exchanged(asked: TokenRequest) -> Mapping[str, Any]:
        client = asked.client
        if client.kind != "lgc" or not client.confidential:
            raise Refused("unauthorized_client", "Tokens are exchanged for software of professionals.")
        if asked.form.get("subject_token_type") != ACCESS_TOKEN or not asked.form.get("subject_token"):
            raise Refused("invalid_request", "subject_token is an access token of Pro Santé Connect.")
        scopes = own_scopes(asked.form.get("scope", "").split(), client)
        actor, expires = await _professional(federation, asked)
        own = replace(await placed(services, _for(client, actor)), scopes=scopes, session=uuid4().hex)
        life = min(ACCESS, expires - asked.now)
        await belong(asked.ledger, own, until=asked.now + life)
        return {
            "access_token": await issue(asked.ledger, own, ttl=life, now=asked.now),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": life // SECOND,
            "scope": " ".join(scopes),
        }

    return {GRANT: exchanged}


async def _professional(federation: Federation, asked: TokenRequest) -> tuple[Actor, int]:
    """Whose token it is, as the one who acts by it, and when it ends. Raises Refused."""
    try:
        identity = await federation.examine(asked.form["subject_token"], now=asked.now)
    except Unauthenticated as error:
        raise Refused("invalid_grant", "Pro Santé Connect does not stand for this token.") from error
    except Unavailable as error:
        raise Refused("temporarily_unavailable", "Pro Santé Connect does not answer.", status=503) from error
    found = professionals(identity.claims)
    if len(found) != 1:
        raise Refused("invalid_grant", "The token does not say in which one exercice the professional acts.")
    return replace(found[0], acr=identity.acr), identity.expires


def _for(client: Client, actor: Actor) -> Actor:
    """The professional by that software, which has to be registered for where they work (L68). Raises Refused."""
    places = {f"org:{number['value']}" for each in client.structures for number in structure_identifiers(each)[1:]}
    if places.isdisjoint(actor.keys):
        raise Refused("access_denied", "The client is not registered for this structure.", status=403)
    keys = actor.keys | {f"client:{client.id}"}
    return replace(
        actor,
        keys=keys,
        client=client.id,
        software=f"{client.software or client.name} {client.software_version}".strip(),
    )
