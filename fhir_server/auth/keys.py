"""Keys that id tokens are signed with: two of each algorithm live, the newer one signs (spec access §1, §9).

They lie in the ledger, so every process on the store signs with the same; they are made when first wanted. What the key
before signed stays good until the next rotation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from fhir_server.storage.interface import Ledger

ALGORITHMS: Final = ("RS256", "ES256")

_KIND: Final = "signing-keys"
_LIVE: Final = 2
_RSA_BITS: Final = 2048


async def signed(ledger: Ledger, claims: Mapping[str, Any], *, alg: str, now: int) -> str:
    """The claims as a JWT, by the newest key of that algorithm."""
    newest = (await _ring(ledger, alg, now))[0]
    key = (RSAKey if alg == "RS256" else ECKey).import_key(newest)
    header = {"alg": alg, "kid": newest["kid"], "typ": "JWT"}
    return jwt.encode(header, dict(claims), key, registry=JWSRegistry(algorithms=[alg]))


async def published(ledger: Ledger, *, now: int) -> dict[str, Any]:
    """The JWKS: the public part of every live key."""
    rings = [(alg, key) for alg in ALGORITHMS for key in await _ring(ledger, alg, now)]
    return {"keys": [_public(key) | {"alg": alg, "use": "sig"} for alg, key in rings]}


async def rotate(ledger: Ledger, *, now: int) -> list[str]:
    """Put a new key before the others of each algorithm, and let go of the oldest; the kids of the new ones."""
    made = []
    for alg in ALGORITHMS:
        while True:
            ring, key = await _ring(ledger, alg, now), await _new(alg)
            after = [key, *ring][:_LIVE]
            if await ledger.swap(_KIND, alg, orjson.dumps(ring), orjson.dumps(after), expires=None):
                made.append(str(key["kid"]))
                break
    return made


async def _ring(ledger: Ledger, alg: str, now: int) -> list[dict[str, Any]]:
    """The live keys of an algorithm, newest first; of processes that make the first one, one does."""
    while (kept := await ledger.get(_KIND, alg, now=now)) is None:
        await ledger.put(_KIND, alg, orjson.dumps([await _new(alg)]), expires=None, only_new=True)
    ring: list[dict[str, Any]] = orjson.loads(kept)
    return ring


async def _new(alg: str) -> dict[str, Any]:
    return await asyncio.to_thread(_made, alg)


def _made(alg: str) -> dict[str, Any]:
    """A private JWK, named by its thumbprint (RFC 7638)."""
    key = RSAKey.generate_key(_RSA_BITS) if alg == "RS256" else ECKey.generate_key("P-256")
    return {**key.as_dict(private=True), "kid": key.thumbprint()}


def _public(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("kty", "kid", "n", "e", "crv", "x", "y") if name in key}
