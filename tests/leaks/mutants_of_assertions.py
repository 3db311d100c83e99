"""Assertions of clients believed too lightly: faults as those of `mutants`, in how a client proves to be itself."""

from __future__ import annotations

import asyncio
import hmac
from base64 import urlsafe_b64decode
from dataclasses import replace
from typing import Any

import orjson
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from fhir_server.auth import assertions, jwks, public_keys
from fhir_server.auth.clients import Client, find
from fhir_server.storage.interface import Ledger


def _proves_too(patch: pytest.MonkeyPatch, holds: Any) -> None:
    """An assertion proves a client if it is sound, or `holds(client, algorithm, what is signed, signature)`."""
    sound = assertions.prove

    async def prove(ledger: Ledger, keys: Any, assertion: str, **asked: Any) -> Any:
        read = jws.extract_compact(assertion.encode())
        said = orjson.loads(read.payload or b"{}")
        client = await find(ledger, str(said.get("iss")))
        signing, _, signature = assertion.encode().rpartition(b".")
        if client and holds(client, str(read.headers()["alg"]), signing, signature):
            return client, said
        return await sound(ledger, keys, assertion, **asked)

    patch.setattr(assertions, "prove", prove)


def none_is_an_algorithm(patch: pytest.MonkeyPatch) -> None:
    """An assertion that says it is not signed needs no signature."""
    _proves_too(patch, lambda client, alg, signing, signature: alg.lower() == "none")


def public_key_as_secret(patch: pytest.MonkeyPatch) -> None:
    """What verifies RS384 verifies HS384."""

    def holds(client: Client, alg: str, signing: bytes, signature: bytes) -> bool:
        if not alg.startswith("HS"):
            return False
        key = RSAKey.import_key(orjson.loads(client.jwks)["keys"][0])
        given = urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
        return hmac.digest(key.as_pem(), signing, "sha" + alg[2:]) == given

    _proves_too(patch, holds)


def any_algorithm_of_the_key(patch: pytest.MonkeyPatch) -> None:
    """RS256 and PS384 are as good as RS384."""
    for alg in ("RS256", "PS384"):
        patch.setitem(public_keys.ALGORITHMS, alg, ("RSA", ""))  # type: ignore[arg-type]


def critical_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    """What has to be understood is not looked at: not here, and not by the library, each of which would be enough."""
    holds, read = assertions._header_holds, jws.deserialize_compact

    def lax(value: Any, key: Any, algorithms: Any) -> Any:
        registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
        registry.check_header = lambda header: None  # type: ignore[method-assign]
        return read(value, key, registry=registry)

    patch.setattr(jws, "deserialize_compact", lax)
    patch.setattr(
        assertions,
        "_header_holds",
        lambda header, client: holds({n: v for n, v in header.items() if n not in ("crit", "b64")}, client),
    )


def jku_passed_over(patch: pytest.MonkeyPatch) -> None:
    """Whatever address of keys the header gives, the registered keys are taken."""
    sound = assertions._header_holds
    patch.setattr(
        assertions,
        "_header_holds",
        lambda header, client: sound({name: value for name, value in header.items() if name != "jku"}, client),
    )


def jku_by_its_beginning(patch: pytest.MonkeyPatch) -> None:
    """An address that begins with the registered one is that one."""
    sound = assertions._header_holds

    def holds(header: Any, client: Client) -> bool:
        near = bool(client.jwks_uri) and str(header.get("jku")).startswith(client.jwks_uri)
        return sound({**header, "jku": client.jwks_uri} if near else header, client)

    patch.setattr(assertions, "_header_holds", holds)


def key_of_the_header(patch: pytest.MonkeyPatch) -> None:
    """A key that comes with the assertion verifies it."""
    sound = assertions._verified

    async def verified(assertion: str, header: Any, client: Client, *more: Any) -> Any:
        own = orjson.dumps({"keys": [header["jwk"] | {"kid": header["kid"]}]}).decode() if "jwk" in header else ""
        return await sound(assertion, header, replace(client, jwks=own) if own else client, *more)

    patch.setattr(assertions, "_verified", verified)


def first_of_several_keys(patch: pytest.MonkeyPatch) -> None:
    """Of keys with one kid the first is meant."""
    sound = assertions.key_named

    def named(keys: Any, kid: str, alg: str) -> Any:
        return sound([key for key in keys if key.get("kid") == kid][:1], kid, alg)

    patch.setattr(assertions, "key_named", named)


def keys_for_encryption(patch: pytest.MonkeyPatch) -> None:
    """What a key is for is not looked at: not here, and not by the library, each of which would be enough."""
    sound = assertions.key_named

    def named(keys: Any, kid: str, alg: str) -> Any:
        return sound([{name: value for name, value in key.items() if name != "use"} for key in keys], kid, alg)

    patch.setattr(assertions, "key_named", named)


def assertions_forgotten(patch: pytest.MonkeyPatch) -> None:
    """An assertion is good until it ends."""

    async def first_use(*_: Any) -> None:
        return None

    patch.setattr(assertions, "_first_use", first_use)


def assertions_remembered_late(patch: pytest.MonkeyPatch) -> None:
    """Whether an assertion was used is looked up, and then noted."""
    first_use = assertions._first_use

    async def slowly(ledger: Ledger, client: Client, claims: Any) -> None:
        class Late:
            async def put(self, kind: str, key: str, value: bytes, *, expires: int, only_new: bool) -> bool:
                known = await ledger.get(kind, key, now=0)
                await asyncio.sleep(0.02)
                await ledger.put(kind, key, value, expires=expires)
                return known is None

        await first_use(Late(), client, claims)  # type: ignore[arg-type]

    patch.setattr(assertions, "_first_use", slowly)


def assertions_by_their_bytes(patch: pytest.MonkeyPatch) -> None:
    """A `jti` may come again with another end."""
    sound = assertions._first_use
    patch.setattr(
        assertions,
        "_first_use",
        lambda ledger, client, claims: sound(ledger, client, {**claims, "jti": f"{claims['jti']} {claims['exp']}"}),
    )


def assertions_for_long(patch: pytest.MonkeyPatch) -> None:
    """An assertion may last a day."""
    patch.setattr(assertions, "_LONGEST", 86_400)


def assertions_of_tomorrow(patch: pytest.MonkeyPatch) -> None:
    """An assertion may be of a time to come."""
    patch.setattr(assertions, "_LEEWAY", 86_400)


def _judged_as(patch: pytest.MonkeyPatch, change: Any) -> None:
    sound = assertions._judge
    patch.setattr(
        assertions,
        "_judge",
        lambda claims, client, audience, now: sound(
            {**claims, **change(claims, client, audience)}, client, audience, now
        ),
    )


def time_as_any_number(patch: pytest.MonkeyPatch) -> None:
    """An end need not be a whole number."""
    _judged_as(patch, lambda said, *_: {"exp": int(said["exp"])} if isinstance(said.get("exp"), float) else {})


def audience_passed_over(patch: pytest.MonkeyPatch) -> None:
    """An assertion for another server is one for this."""
    _judged_as(patch, lambda said, client, audience: {"aud": audience})


def audience_among_others(patch: pytest.MonkeyPatch) -> None:
    """An assertion for several servers is one for each."""
    _judged_as(
        patch,
        lambda said, client, audience: (
            {"aud": audience} if isinstance(said.get("aud"), list) and audience in said["aud"] else {}
        ),
    )


def subject_passed_over(patch: pytest.MonkeyPatch) -> None:
    """An assertion may be about another client."""
    _judged_as(patch, lambda said, client, audience: {"sub": client.id})


def keys_fetched_each_time(patch: pytest.MonkeyPatch) -> None:
    """A kid that is not there is looked for again."""
    patch.setattr(jwks._Known, "fresh", lambda self, kid, now: False)
