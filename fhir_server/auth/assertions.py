"""A client proves to be itself by a signed assertion (`private_key_jwt`: RFC 7523, SMART App Launch 2.2).

Nothing of an assertion is believed before its signature is verified with a registered key of the client that it names:
no key and no address out of its header, no algorithm but the two of SMART. Every claim is wanted and judged here, since
the library judges none.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhir_server.auth.clients import Client, find
from fhir_server.auth.jwks import ClientKeys
from fhir_server.auth.public_keys import ALGORITHMS, key_named
from fhir_server.auth.refusals import unknown_client
from fhir_server.storage.interface import Ledger

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_SECOND: Final = 1_000_000
_LONGEST: Final = 300
_LEEWAY: Final = 60
"""Seconds that the clock of a client may be ahead of this one, for `iat` and `nbf`."""
_LARGEST: Final = 16_384


async def prove(
    ledger: Ledger, keys: ClientKeys, assertion: str, *, audience: str, now: int
) -> tuple[Client, Mapping[str, Any]]:
    """The client that an assertion proves, and its claims. `audience`: the url of the token endpoint.

    An assertion is good once. Raises Refused, the same whatever is wrong.
    """
    if len(assertion) > _LARGEST:
        raise unknown_client()
    try:
        unverified = jws.extract_compact(assertion.encode())
        header, said = unverified.headers(), _object(unverified.payload)
    except (JoseError, ValueError) as error:
        raise unknown_client() from error
    client = await find(ledger, said["iss"]) if isinstance(said.get("iss"), str) else None
    if client is None or client.method != "private_key_jwt" or not _header_holds(header, client):
        raise unknown_client()
    claims = await _verified(assertion, header, client, keys, now)
    _judge(claims, client, audience, now)
    await _first_use(ledger, client, claims)
    return client, claims


def _header_holds(header: Mapping[str, Any], client: Client) -> bool:
    """Whether the header says what it has to and nothing that would have to be believed."""
    if header.get("alg") not in ALGORITHMS or header.get("typ") != "JWT" or "crit" in header or "b64" in header:
        return False
    if not isinstance(header.get("kid"), str):
        return False
    return "jku" not in header or (bool(client.jwks_uri) and header["jku"] == client.jwks_uri)


async def _verified(
    assertion: str, header: Mapping[str, Any], client: Client, keys: ClientKeys, now: int
) -> Mapping[str, Any]:
    known = orjson.loads(client.jwks)["keys"] if client.jwks else await keys.at(client.jwks_uri, header["kid"], now=now)
    key = key_named(known, header["kid"], header["alg"])
    if key is None:
        raise unknown_client()
    try:
        public = (RSAKey if key["kty"] == "RSA" else ECKey).import_key(dict(key))
        return _object(jws.deserialize_compact(assertion, public, algorithms=[header["alg"]]).payload)
    except (JoseError, ValueError) as error:
        raise unknown_client() from error


def _judge(claims: Mapping[str, Any], client: Client, audience: str, now: int) -> None:
    """Return if the claims are those of this client to this server now."""
    seconds = now / _SECOND
    expires = claims.get("exp")
    named = claims.get("iss") == claims.get("sub") == client.id
    addressed = claims.get("aud") in (audience, [audience])
    # bool is an int to Python, and not to JSON.
    timely = type(expires) is int and seconds < expires <= seconds + _LONGEST
    begun = all(
        type(claims[name]) is int and claims[name] <= seconds + _LEEWAY for name in ("iat", "nbf") if name in claims
    )
    unique = isinstance(claims.get("jti"), str) and 0 < len(claims["jti"]) <= 256
    if not (named and addressed and timely and begun and unique):
        raise unknown_client()


async def _first_use(ledger: Ledger, client: Client, claims: Mapping[str, Any]) -> None:
    """Of all uses of an assertion, on whatever process, one is the first."""
    name = sha256(f"{client.id} {claims['jti']}".encode()).hexdigest()
    if not await ledger.put("jti", name, b"", expires=(claims["exp"] + 1) * _SECOND, only_new=True):
        raise unknown_client()


def _object(payload: bytes | None) -> dict[str, Any]:
    """Raises ValueError for anything but a JSON object; NaN and its like are no JSON."""
    read = orjson.loads(payload or b"")
    if not isinstance(read, dict):
        raise ValueError("not an object")
    return read
