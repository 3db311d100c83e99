"""Who a token is about, said to programs: the id token (OpenID Connect Core §2, SMART `fhirUser`) and introspection."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client
from fhir_server.auth.grants import ACCESS, SECOND, Grant
from fhir_server.auth.keys import signed
from fhir_server.storage.interface import Ledger

_USERS: Final = ("patient", "rep", "ps")


async def id_token(ledger: Ledger, grant: Grant, client: Client, *, issuer: str, base: str, now: int) -> str:
    """Who logged in, signed; good as long as an access token. `base`: the FHIR base."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": grant.user,
        "aud": client.id,
        "exp": (now + ACCESS) // SECOND,
        "iat": now // SECOND,
        "auth_time": grant.auth_time // SECOND,
    }
    if "fhirUser" in grant.scopes:
        claims["fhirUser"] = f"{base}/{grant.user}"
    claims |= {name: value for name, value in (("nonce", grant.nonce), ("acr", grant.acr)) if value}
    return await signed(ledger, claims, alg=client.signing, now=now)


def introspected(actor: Actor, *, issuer: str, base: str) -> dict[str, Any]:
    """What a live token stands for (RFC 7662, SMART §7): never what is shared, nor who else may see it."""
    user = actor.authoriser_key if actor.role == "app" else actor.reference if actor.role in _USERS else ""
    said: dict[str, Any] = {
        "active": True,
        "scope": " ".join(actor.scopes),
        "client_id": actor.client,
        "exp": actor.expires // SECOND,
        "iss": issuer,
        "sub": user or actor.reference,
    }
    if user and (not actor.scopes or "fhirUser" in actor.scopes):
        said["fhirUser"] = f"{base}/{user}"
    if len(actor.patients) == 1:
        said["patient"] = actor.patients[0]
    return said
