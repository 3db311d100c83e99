"""Registered programs: what may be registered, what is kept, and what is told (access §1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_server.auth.clients import every, find, origin_of, register, remove
from fhir_server.auth.passwords import Passwords
from fhir_server.auth.registration import check_registration
from fhir_server.errors import Invalid
from fhir_server.storage.interface import Ledger
from tests.ledgers import Time, with_ledger
from tests.oauth import app, ec_key, lgc, public, rsa_key

EC, RSA = ec_key(), rsa_key()
NCP: dict[str, Any] = lgc("de", EC) | {"kind": "ncp", "country": "DE", "structures": []}
ASKER = {
    "client_name": "Asks",
    "kind": "resource-server",
    "token_endpoint_auth_method": "client_secret_basic",
}
P256 = {"kty": "EC", "crv": "P-256", "kid": "k", "x": "A" * 43, "y": "A" * 43}


@pytest.mark.parametrize(
    "given",
    [
        app(),
        app(
            redirect_uris=["http://127.0.0.1:4321/cb", "http://localhost/cb", "http://[::1]:1/", "com.example.app:/cb"]
        ),
        app(token_endpoint_auth_method="client_secret_basic"),
        app(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [public(RSA), public(EC)]}),
        app(
            first_party=True, initiate_login_uri="https://app.example.org/launch", id_token_signed_response_alg="ES256"
        ),
        app(scope="patient/Observation.rs?category=laboratory openid"),
        lgc("l", EC, regulation=True),
        lgc("l", jwks_uri="https://keys.example.org/jwks"),
        NCP,
        ASKER,
    ],
    ids=lambda given: f"{given['kind']} {given['token_endpoint_auth_method']}",
)
def test_a_registration_that_holds(given: dict[str, Any]) -> None:
    """Nothing is wrong with it."""
    check_registration(given)


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ([], {""}),
        ({}, {"client_name", "kind", "token_endpoint_auth_method"}),
        (app(client_uri="x"), {"client_uri"}),
        (app(client_name=1), {"client_name"}),
        (app(client_name=" "), {"client_name"}),
        (app("a b"), {"client_id"}),
        (app(kind="robot"), {"kind", "redirect_uris", "scope"}),
        (app(first_party="yes"), {"first_party"}),
        (app(first_party=True, redirect_uris=["com.example.app:/back"]), {"redirect_uris[0]"}),
        (lgc("l", EC, first_party=True), {"first_party"}),
        (app(token_endpoint_auth_method="secret"), {"token_endpoint_auth_method"}),
        (lgc("l") | {"token_endpoint_auth_method": "none"}, {"token_endpoint_auth_method"}),
        (ASKER | {"token_endpoint_auth_method": "none"}, {"token_endpoint_auth_method"}),
        (ASKER | {"scope": "system/*.r"}, {"scope"}),
        (app(id_token_signed_response_alg="HS256"), {"id_token_signed_response_alg"}),
        (app(redirect_uris=[]), {"redirect_uris"}),
        (app(redirect_uris="https://app.example.org"), {"redirect_uris"}),
        (lgc("l", EC, redirect_uris=["https://app.example.org"]), {"redirect_uris"}),
        (app(scope=""), {"scope"}),
        (app(scope="patient/*.rs nonsense"), {"scope"}),
        (app(scope="system/*.rs"), {"scope"}),
        (lgc("l", EC, scope="patient/*.rs"), {"scope"}),
        (app(jwks={"keys": [public(EC)]}), {"jwks"}),
        (lgc("l"), {"jwks"}),
        (lgc("l", EC, jwks_uri="https://keys.example.org"), {"jwks"}),
        (lgc("l", jwks_uri="http://keys.example.org/"), {"jwks_uri"}),
        (lgc("l") | {"jwks": {"keys": []}}, {"jwks"}),
        (lgc("l") | {"jwks": {"keys": [EC.as_dict(private=True)]}}, {"jwks.keys[0]"}),
        (lgc("l") | {"jwks": {"keys": [public(EC), P256]}}, {"jwks.keys[1]"}),
        (lgc("l") | {"jwks": {"keys": [{**public(RSA), "n": "AQAB"}]}}, {"jwks.keys[0]"}),
        (lgc("l") | {"jwks": {"keys": [{**public(EC), "use": "enc"}]}}, {"jwks.keys[0]"}),
        (lgc("l") | {"jwks": {"keys": [{**public(EC), "key_ops": 5}]}}, {"jwks.keys[0]"}),
        (app(scope=" ".join(f"patient/*.rs?code={number}" for number in range(101))), {"scope"}),
        (lgc("l") | {"jwks": {"keys": [{"kty": "oct", "kid": "k", "k": "AQAB"}]}}, {"jwks.keys[0]"}),
        (lgc("l") | {"jwks": {"keys": [public(EC), public(EC)]}}, {"jwks"}),
        (lgc("l", EC, structures=["990000001"]), {"structures[0]"}),
        (app(structures=["1990000001"]), {"structures"}),
        (app(regulation=True), {"regulation"}),
        (NCP | {"country": "Germany"}, {"country"}),
        (NCP | {"country": ""}, {"country"}),
        (lgc("l", EC, country="DE"), {"country"}),
        (app(initiate_login_uri="http://app.example.org/"), {"initiate_login_uri"}),
    ],
)
def test_every_fault_of_a_registration_is_named(given: Any, places: set[str]) -> None:
    """By the member it is in, all at once."""
    with pytest.raises(Invalid) as refusal:
        check_registration(given)
    assert {issue.expression for issue in refusal.value.issues} == places


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example.org/",
        "https://app.example.org/#x",
        "https://user@app.example.org/",
        "https:///path",
        "https://app.example.org:port/",
        "https://app.example.org/ä",
        "https://app.example.org/ x",
        "javascript:alert(1)",
        "app:/cb",
        "/cb",
        "",
    ],
)
def test_an_address_is_absolute_safe_and_plain(uri: str) -> None:
    """http on this machine only; an app's own scheme is a domain name turned round (RFC 8252)."""
    with pytest.raises(Invalid) as refusal:
        check_registration(app(redirect_uris=["https://app.example.org/", uri]))
    assert {issue.expression for issue in refusal.value.issues} == {"redirect_uris[1]"}


def test_a_client_is_kept_as_it_was_registered(tmp_path: Path) -> None:
    """Its secret only as an argon2id hash, and told once; an id is registered once; all are listed, by id."""

    async def story(ledger: Ledger, time: Time) -> None:
        passwords = Passwords()
        one, secret = await register(ledger, passwords, app("b", token_endpoint_auth_method="client_secret_basic"))
        assert len(secret) == 43
        assert one.secret.startswith("$argon2id$")
        assert await passwords.verify(one.secret, secret)
        assert secret not in str(one.told())
        assert one.secret not in str(one.told())
        other, none = await register(ledger, passwords, lgc("a", EC))
        assert none == ""
        assert await find(ledger, "a") == other
        assert await every(ledger) == [other, one]
        with pytest.raises(Invalid):
            await register(ledger, passwords, app("a"))
        made, _ = await register(ledger, passwords, _without_id())
        assert made.id
        assert await remove(ledger, "a")
        assert not await remove(ledger, "a")
        assert await find(ledger, "a") is None

    with_ledger(tmp_path, story)


def _without_id() -> dict[str, Any]:
    return {name: value for name, value in app().items() if name != "client_id"}


def test_a_changed_registration_keeps_its_secret(tmp_path: Path) -> None:
    """And one that had none gets one."""

    async def story(ledger: Ledger, time: Time) -> None:
        passwords = Passwords()
        await register(ledger, passwords, app())
        symmetric = app(token_endpoint_auth_method="client_secret_basic")
        first, secret = await register(ledger, passwords, symmetric, new=False)
        again, none = await register(ledger, passwords, symmetric | {"client_name": "New"}, new=False)
        assert secret
        assert none == ""
        assert again.secret == first.secret
        assert again.name == "New"

    with_ledger(tmp_path, story)


def test_what_is_told_of_a_client_registers_it_again(tmp_path: Path) -> None:
    """The names of RFC 7591, both ways."""

    async def story(ledger: Ledger, time: Time) -> None:
        for given in (app("a", first_party=True), lgc("l", EC), NCP):
            made, _ = await register(ledger, Passwords(), given)
            again, _ = await register(ledger, Passwords(), made.told(), new=False)
            assert again == made

    with_ledger(tmp_path, story)


def test_an_origin_is_written_as_browsers_write_it() -> None:
    """scheme://host:port in small letters."""
    assert origin_of("https://App.Example.org:8443/back?x=1") == "https://app.example.org:8443"
