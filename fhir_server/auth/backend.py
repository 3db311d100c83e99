"""Software that asks in its own name, or for a professional whom it names: SMART Backend Services.

Alone an LGC reads nothing; what it reads and writes it does as the professional of its context (spec access §1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client
from fhir_server.auth.contexts import Emergency, gateway, professional
from fhir_server.auth.grants import ACCESS, belong
from fhir_server.auth.proof import Proven
from fhir_server.auth.refusals import Refused
from fhir_server.auth.scopes import MOST, are_scopes, granted, resource_scopes
from fhir_server.auth.tokens import issue
from fhir_server.storage.interface import Ledger


@dataclass(frozen=True, slots=True)
class Issued:
    """A token given to software, and whom it stands for."""

    access: str
    actor: Actor


def caller(proven: Proven) -> tuple[Actor, Emergency | None]:
    """Whom the token will stand for, and the emergency that is to be declared before it is given out.

    Raises Refused where the client may not ask, or its context is none.
    """
    client, claims = proven.client, proven.claims
    if client.kind not in ("lgc", "ncp") or client.method != "private_key_jwt":
        raise Refused("unauthorized_client", "This client does not ask in its own name.")
    if client.kind == "ncp":
        return gateway(client, claims.get("eu_context")), None
    if "eu_context" in claims:
        raise Refused("access_denied", "Only the gateway of a country has an eu_context.", status=403)
    if "pro_context" in claims:
        return professional(client, claims["pro_context"])
    return _alone(client), None


async def credentials(ledger: Ledger, actor: Actor, client: Client, form: Mapping[str, str], *, now: int) -> Issued:
    """A token for that caller, of ten minutes. Raises Refused (invalid_scope)."""
    scopes = own_scopes(form.get("scope", "").split(), client)
    own = replace(actor, scopes=scopes, session=uuid4().hex)
    await belong(ledger, own, until=now + ACCESS)
    return Issued(await issue(ledger, own, ttl=ACCESS, now=now), own)


def _alone(client: Client) -> Actor:
    software: dict[str, Any] = {"client": client.id, "software": client.software or client.name}
    return Actor(
        role="lgc",
        reference=f"Device/{client.id}",
        name=client.name,
        jti="",
        keys=frozenset({f"client:{client.id}"}),
        **software,
    )


def own_scopes(asked: list[str], client: Client) -> tuple[str, ...]:
    """What software gets of the scopes it asks for: those on resources, as far as it is registered for them.

    Raises Refused (invalid_scope) where that is nothing: a token without scopes would not be bound by any.
    """
    if not are_scopes(asked):
        raise Refused("invalid_scope", f"A scope is missing, or not one of this server, or there are more than {MOST}.")
    found = granted((each for each in asked if resource_scopes([each])), client.scopes)
    if not found:
        raise Refused("invalid_scope", "This client is registered for none of these scopes.")
    return found
