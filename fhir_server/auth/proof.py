"""Which client is calling the token endpoint: by a signed assertion, a secret, or its name alone where it has neither.

Whatever does not hold, the answer and the work are the same: an unknown client's secret is hashed like a known one's.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from fhir_server.auth import assertions
from fhir_server.auth.clients import Client, find
from fhir_server.auth.grants import client_of_refresh
from fhir_server.auth.jwks import ClientKeys
from fhir_server.auth.lockout import attempt, failed
from fhir_server.auth.passwords import Passwords
from fhir_server.auth.refusals import Refused, unknown_client
from fhir_server.errors import TooManyRequests, Unavailable
from fhir_server.storage.interface import Ledger


@dataclass(frozen=True, slots=True)
class Proven:
    """A client, and what it claimed in its assertion, nothing without one."""

    client: Client
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prover:
    """Proves clients. `audience`: the url of the token endpoint."""

    ledger: Ledger
    passwords: Passwords
    keys: ClientKeys
    audience: str

    async def prove(self, form: Mapping[str, str], authorization: str, *, now: int) -> Proven:
        """The client of a request. `authorization`: that header. Raises Refused (invalid_client)."""
        given = [name for name in ("client_secret", "client_assertion") if name in form]
        if authorization:
            given.append("authorization")
        if len(given) > 1:
            raise unknown_client()
        if "client_assertion" in form:
            return await self._by_assertion(form, now)
        if authorization:
            return await self._by_secret(*_basic(authorization), form.get("client_id"), now)
        if "client_secret" in form:
            return await self._by_secret(form.get("client_id", ""), form["client_secret"], None, now)
        client = await find(self.ledger, form.get("client_id") or await self._refreshing(form, now))
        if client is None or client.confidential:
            raise unknown_client()
        return Proven(client)

    async def _refreshing(self, form: Mapping[str, str], now: int) -> str:
        """A public app need not name itself beside its refresh token (RFC 6749 §6, SMART's JavaScript client)."""
        if form.get("grant_type") != "refresh_token" or "refresh_token" not in form:
            return ""
        return await client_of_refresh(self.ledger, form["refresh_token"], now=now)

    async def _by_assertion(self, form: Mapping[str, str], now: int) -> Proven:
        if form.get("client_assertion_type") != assertions.TYPE:
            raise unknown_client()
        client, claims = await assertions.prove(
            self.ledger, self.keys, form["client_assertion"], audience=self.audience, now=now
        )
        if form.get("client_id", client.id) != client.id:
            raise unknown_client()
        return Proven(client, claims)

    async def _by_secret(self, id: str, secret: str, also: str | None, now: int) -> Proven:
        client = await find(self.ledger, id)
        kept = client.secret if client and client.method == "client_secret_basic" else ""
        fits = await self._fits(id, kept, secret, now)
        if not fits or client is None or (also is not None and also != id):
            raise unknown_client()
        return Proven(client)

    async def _fits(self, id: str, kept: str, secret: str, now: int) -> bool:
        """Whether it is the secret. Failures slow down the next try under that name, known or not; those who make none
        do not wait for each other, since a secret of 256 bits is not guessed by many tries at once."""
        name = f"client {id}"
        try:
            fits = await self.passwords.verify(kept, secret)
            if not fits or await failed(self.ledger, name, now=now):
                async with attempt(self.ledger, name, now=now) as tried:
                    tried.succeeded = fits
        except TooManyRequests as error:
            raise Refused("temporarily_unavailable", "Too many failures: wait.", status=429) from error
        except Unavailable as error:
            raise Refused("temporarily_unavailable", "Try again later.", status=503) from error
        return fits


def _basic(authorization: str) -> tuple[str, str]:
    """Name and secret, form-encoded in Basic (RFC 6749 §2.3.1); empty ones where they cannot be read."""
    scheme, _, value = authorization.partition(" ")
    try:
        id, colon, secret = b64decode(value, validate=True).decode().partition(":")
    except (NotBase64, ValueError):
        return "", ""
    return (unquote_plus(id), unquote_plus(secret)) if scheme.lower() == "basic" and colon else ("", "")
