"""What tests of the authorization server share: registered programs, a person who says yes, keys and their address."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx
import orjson
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_server.app import system_clock
from fhir_server.auth.actor import Actor
from fhir_server.auth.assertions import TYPE
from fhir_server.auth.authorize import approve
from fhir_server.demo.build import actors
from fhir_server.storage.interface import Ledger
from fhir_server.storage.opening import open_kept
from tests.conftest import House

T = TypeVar("T")

HOME = "https://app.example.org/back"
VERIFIER = "a-verifier-of-the-length-that-it-has-to-have-0"
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
STRUCTURE = "1990000001"
"""IdNat_Struct of the medical office of the demonstration."""


def app(id: str = "app", **more: Any) -> dict[str, Any]:
    """The registration of a public application."""
    return {
        "client_id": id,
        "client_name": "Carnet",
        "kind": "app",
        "token_endpoint_auth_method": "none",
        "redirect_uris": [HOME],
        "scope": "openid fhirUser launch launch/patient offline_access online_access patient/*.cruds user/*.cruds",
        **more,
    }


def lgc(id: str, key: ECKey | RSAKey | None = None, **more: Any) -> dict[str, Any]:
    """The registration of software of the medical office, with a key of its own or `jwks_uri` in `more`."""
    keys = {"jwks": {"keys": [public(key)]}} if key else {}
    return {
        "client_id": id,
        "client_name": "Logiciel",
        "kind": "lgc",
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": "system/*.cruds",
        "structures": [STRUCTURE],
        "software_id": "Logiciel de cabinet",
        "software_version": "7.1",
        **keys,
        **more,
    }


def pro_context(**more: Any) -> dict[str, Any]:
    """The médecin traitant of the demonstration, as the software of their office says."""
    return {
        "id": "899900000011",
        "family_name": "MARTIN",
        "given_name": "Claire",
        "profession": "10",
        "specialties": ["SM54"],
        "structure": STRUCTURE,
        "sector": "SA07",
        "purpose": "normal",
        "secret": False,
        "software": {"name": "Logiciel de cabinet", "version": "7.1", "approval": "A-1"},
        **more,
    }


def eu_context(**more: Any) -> dict[str, Any]:
    """A physician of a German hospital."""
    return {
        "professional": {
            "family_name": "Weber",
            "given_name": "Anna",
            "country_code": "DE",
            "hp_identifier": "DE-1",
            "issuing_authority_name": "Ärztekammer",
            "hp_professional_role": "221",
            "healthcare_provider_identifier": "H-7",
            **more,
        },
        "provider": {
            "healthcare_provider_identifier": "H-7",
            "issuing_authority_name": "Land Berlin",
            "healthcare_provider_name": "Klinikum",
            "healthcare_provider_address": "Berlin",
        },
    }


def ec_key(kid: str = "ec") -> ECKey:
    """A private key for ES384."""
    return ECKey.generate_key("P-384", {"kid": kid})


def rsa_key(kid: str = "rsa") -> RSAKey:
    """A private key for RS384."""
    return RSAKey.generate_key(2048, {"kid": kid})


def public(key: ECKey | RSAKey) -> dict[str, Any]:
    """What may be known of it."""
    return dict(key.as_dict(private=False))


def claims(client: str, audience: str, **more: Any) -> dict[str, Any]:
    """Those of an assertion that holds."""
    return {
        "iss": client,
        "sub": client,
        "aud": audience,
        "exp": int(time.time()) + 200,
        "jti": uuid4().hex,
        **more,
    }


def signed(key: ECKey | RSAKey, said: Mapping[str, Any], **header: Any) -> str:
    """A JWT; the header as SMART wants it, but for what is given."""
    alg = "ES384" if isinstance(key, ECKey) else "RS384"
    return jwt.encode({"alg": alg, "kid": key.kid, "typ": "JWT", **header}, dict(said), key, algorithms=[alg])


@dataclass
class Office:
    """The authorization server of a house, from outside, and the person who says yes at its login."""

    house: House
    http: httpx.Client
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The issuer."""
        return self.house.settings.web_base

    def registers(self, registration: Mapping[str, Any]) -> dict[str, Any]:
        """What the administrator gets for it."""
        answer = self.house.admin.request("POST", f"{self.base}/admin/clients", content=orjson.dumps(registration))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def asks(self, client: str = "app", method: str = "GET", **given: str | None) -> httpx.Response:
        """The answer to a request to be let in; a parameter given as None is left out."""
        usual = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": HOME,
            "scope": "launch/patient patient/*.rs",
            "state": "a state/é",
            "aud": self.house.base,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        asked = {name: value for name, value in (usual | given).items() if value is not None}
        place = {"params": asked} if method == "GET" else {"data": asked}
        return self.http.request(method, "/oauth/authorize", **place)

    def actor(self, name: str) -> Actor:
        """Somebody of the demonstration, logged in."""
        return actors(self.house.cast)[name]

    def approves(self, asked: httpx.Response, person: Actor, scopes: str, *, patient: str = "") -> dict[str, str]:
        """What the application is sent back with when the person says yes."""
        id = dict(parse_qsl(urlsplit(asked.headers["location"]).query))["request"]

        async def yes(ledger: Ledger) -> str:
            now = system_clock()
            return await approve(
                ledger, id, person, patient=patient, scopes=tuple(scopes.split()), auth_time=now, now=now
            )

        return dict(parse_qsl(urlsplit(self.ledger(yes)).query))

    def code(
        self,
        client: str = "app",
        *,
        person: str = "patient",
        scopes: str = "launch/patient patient/*.rs",
        patient: str = "patient",
        **asked: str | None,
    ) -> str:
        """A code for that client, of that person of the demonstration, for that record."""
        request = self.asks(client, scope=scopes, **asked)
        who = self.actor(person)
        record = self.house.cast.id(patient) if patient else ""
        return self.approves(request, who, scopes, patient=record)["code"]

    def token(self, data: Mapping[str, str], **more: Any) -> httpx.Response:
        """The answer of the token endpoint."""
        return self.http.post("/oauth/token", data=dict(data), **more)

    def redeems(self, code: str, client: str = "app", **more: str) -> httpx.Response:
        """The answer to a public client's code."""
        data = {"grant_type": "authorization_code", "code": code, "redirect_uri": HOME, "code_verifier": VERIFIER}
        return self.token({**data, "client_id": client, **more})

    def refreshes(self, token: str, client: str = "app", **more: str) -> httpx.Response:
        """The answer to a public client's refresh token."""
        return self.token({"grant_type": "refresh_token", "refresh_token": token, "client_id": client, **more})

    def asserts(self, assertion: str, scope: str = "system/*.cruds", **more: str) -> httpx.Response:
        """The answer to a backend client."""
        data = {"grant_type": "client_credentials", "scope": scope, "client_assertion_type": TYPE}
        return self.token({**data, "client_assertion": assertion, **more})

    def backend(self, key: ECKey | RSAKey, client: str, scope: str = "system/*.cruds", **said: Any) -> httpx.Response:
        """The answer to an assertion that holds, with those claims besides."""
        return self.asserts(signed(key, claims(client, f"{self.base}/oauth/token", **said)), scope)

    def get(self, url: str, token: str) -> httpx.Response:
        """A read under the FHIR base with that token."""
        return self.http.get(f"{self.house.base}/{url}", headers={"Authorization": f"Bearer {token}"})

    def ledger(self, act: Callable[[Ledger], Coroutine[Any, Any, T]]) -> T:
        """What another process makes of the same store."""

        async def go() -> T:
            store = open_kept(self.house.settings, clock=system_clock)
            try:
                return await act(store.ledger)
            finally:
                await store.close()

        return asyncio.run(go())


@contextmanager
def office(house: House) -> Iterator[Office]:
    """For the length of a block."""
    with httpx.Client(base_url=house.settings.web_base, timeout=30) as http:
        yield Office(house, http)


@dataclass
class KeyServer:
    """An address of keys: what it answers, and how often it was asked."""

    url: str
    keys: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    asked: int = 0


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """A real HTTP server on this machine, for the length of a block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    told = KeyServer(f"http://127.0.0.1:{server.server_port}/jwks")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            body = orjson.dumps({"keys": told.keys})
            self.send_response(told.status)
            for name, value in {**told.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server.RequestHandlerClass = Handler
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
