"""Programs that an administrator has registered: what each may ask for, and how it proves to be itself.

The registration is written in the names of RFC 7591, and what this server adds: `kind`, `first_party`, `structures`
(the IdNat_Struct that an LGC may speak for), `regulation` (an LGC of a Centre 15) and `country` (of an EU gateway).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from fhir_server.auth.passwords import Passwords
from fhir_server.auth.registration import check_registration
from fhir_server.errors import Invalid, Issue
from fhir_server.storage.interface import Ledger

_KIND: Final = "client"
_TUPLES: Final = ("redirect_uris", "scopes", "structures")


@dataclass(frozen=True, slots=True)
class Client:
    """One program.

    `kind`: app, lgc (software of professionals), ncp (EU gateway), resource-server (asks about tokens).
    `method`: none (public), client_secret_basic, private_key_jwt. `jwks`: its public keys as JSON, or `jwks_uri` where
    they are. `first_party`: acts as the person themselves, with no consent asked. `regulation`: an LGC that answers
    emergency calls (Centre 15). `launch_uri`: where an EHR launch begins. `signing`: the algorithm of its id tokens.
    `secret`: argon2id hash.
    """

    id: str
    name: str
    kind: str
    method: str
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    jwks: str = ""
    jwks_uri: str = ""
    first_party: bool = False
    structures: tuple[str, ...] = ()
    regulation: bool = False
    country: str = ""
    software: str = ""
    software_version: str = ""
    launch_uri: str = ""
    signing: str = "RS256"
    secret: str = ""

    @property
    def confidential(self) -> bool:
        """Whether it can keep a secret, and so prove to be itself."""
        return self.method != "none"

    @property
    def origins(self) -> frozenset[str]:
        """The origins (scheme://host:port) whose scripts may talk to the token endpoint for it."""
        return frozenset(origin_of(each) for each in self.redirect_uris if each.startswith(("https://", "http://")))

    def told(self) -> dict[str, Any]:
        """The registration as an administrator reads it; never a secret."""
        said = {
            "client_id": self.id,
            "client_name": self.name,
            "kind": self.kind,
            "token_endpoint_auth_method": self.method,
            "redirect_uris": list(self.redirect_uris),
            "scope": " ".join(self.scopes),
            "jwks": orjson.loads(self.jwks) if self.jwks else None,
            "jwks_uri": self.jwks_uri,
            "first_party": self.first_party,
            "structures": list(self.structures),
            "regulation": self.regulation,
            "country": self.country,
            "software_id": self.software,
            "software_version": self.software_version,
            "initiate_login_uri": self.launch_uri,
            "id_token_signed_response_alg": self.signing,
        }
        return {name: value for name, value in said.items() if value}


async def register(
    ledger: Ledger, passwords: Passwords, given: Mapping[str, Any], *, new: bool = True
) -> tuple[Client, str]:
    """Keep a registration, given as JSON; the client, and its secret when one was made: the only copy.

    `new`: refuse an id that is there; otherwise replace it, keeping its secret unless it had none.
    Raises Invalid naming every member that is wrong.
    """
    check_registration(given)
    client, secret = _client(given), ""
    known = await find(ledger, client.id)
    if new and known:
        raise Invalid(issues=[Issue("duplicate", "This client_id is registered already.", "client_id")])
    if client.method == "client_secret_basic":
        kept = known.secret if known else ""
        secret = "" if kept else secrets.token_urlsafe(32)
        client = replace(client, secret=kept or await passwords.hash(secret))
    value = orjson.dumps(asdict(client))
    if not await ledger.put(_KIND, client.id, value, expires=None, only_new=new):
        raise Invalid(issues=[Issue("duplicate", "This client_id is registered already.", "client_id")])
    return client, secret


async def find(ledger: Ledger, id: str) -> Client | None:
    """The client of that id."""
    kept = await ledger.get(_KIND, id, now=0)
    if kept is None:
        return None
    values: dict[str, Any] = orjson.loads(kept)
    return Client(**values | {name: tuple(values[name]) for name in _TUPLES})


async def every(ledger: Ledger) -> list[Client]:
    """All clients, by id."""
    found = [await find(ledger, id) for id in await ledger.keys(_KIND, now=0)]
    return [each for each in found if each]


async def remove(ledger: Ledger, id: str) -> bool:
    """Forget a client; whether it was known. Its grants are ended by `grants.end_client`."""
    return await ledger.delete(_KIND, id)


def origin_of(url: str) -> str:
    """scheme://host:port, as a browser writes it in Origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _client(given: Mapping[str, Any]) -> Client:
    names: dict[str, Any] = {
        "id": given.get("client_id") or uuid4().hex,
        "name": given["client_name"],
        "kind": given["kind"],
        "method": given["token_endpoint_auth_method"],
        "redirect_uris": tuple(given.get("redirect_uris", ())),
        "scopes": tuple(given.get("scope", "").split()),
        "jwks": orjson.dumps(given["jwks"]).decode() if given.get("jwks") else "",
        "jwks_uri": given.get("jwks_uri", ""),
        "first_party": given.get("first_party", False),
        "structures": tuple(given.get("structures", ())),
        "regulation": given.get("regulation", False),
        "country": given.get("country", ""),
        "software": given.get("software_id", ""),
        "software_version": given.get("software_version", ""),
        "launch_uri": given.get("initiate_login_uri", ""),
        "signing": given.get("id_token_signed_response_alg", "RS256"),
    }
    assert names.keys() <= {each.name for each in fields(Client)}
    return Client(**names)
