"""Accounts and programs of the demonstration: their secrets are made at the first start and kept beside the store.

Spec access §1, "Demo run". Every server without the demo setting refuses to start on a store that has them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from fhir_server.auth.accounts import Accounts
from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import find, register
from fhir_server.auth.key_pairs import key_pair
from fhir_server.context import Services
from fhir_server.demo.build import Cast, actors
from fhir_server.errors import NotFound

REDIRECTS: Final = ("http://127.0.0.1:8765/callback", "http://localhost:8765/callback")
_APP_SCOPES: Final = "openid fhirUser launch launch/patient offline_access online_access patient/*.cruds user/*.cruds"

# Login -> the callers of `build.actors` that its person is.
LOGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "demo-patient": ("patient",),
    "demo-mother": ("mother", "representative"),
    "demo-medecin-traitant": ("medecin_traitant",),
    "demo-medecin": ("other_doctor",),
    "demo-infirmiere": ("nurse",),
    "demo-pharmacien": ("pharmacist",),
    "demo-regulateur": ("regulator",),
    "demo-admin": ("admin",),
}


async def people(services: Services, cast: Cast, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Everyone who can log in, and every program: what the credentials file is to hold of them.

    `kept`: what it held before; a secret that is not there any more is made anew.
    """
    return {
        "accounts": await _accounts(services, cast, kept.get("accounts", {})),
        "clients": await _clients(services, kept.get("clients", {})),
    }


async def _accounts(services: Services, cast: Cast, kept: Mapping[str, str]) -> dict[str, str]:
    """Login to password."""
    accounts, everyone = Accounts(services.store.ledger, services.passwords), actors(cast)
    given = {}
    for login, names in LOGINS.items():
        given[login] = kept.get(login) or secrets.token_urlsafe(12)
        who: tuple[Actor, ...] = tuple(everyone[name] for name in names)
        try:
            await accounts.get(login, now=services.clock())
        except NotFound:
            await accounts.add(login, who, given[login])
        else:
            if login not in kept:
                await accounts.set_password(login, given[login], now=services.clock())
    return given


async def _clients(services: Services, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Client id to what it needs to know of itself: its addresses, or its private key."""
    given: dict[str, Any] = {"demo-app": {"redirect_uris": list(REDIRECTS), "scope": _APP_SCOPES}}
    registrations: dict[str, dict[str, Any]] = {
        "demo-app": {
            "client_name": "Carnet de santé (démonstration)",
            "kind": "app",
            "token_endpoint_auth_method": "none",
            **given["demo-app"],
        }
    }
    for name, more in _SOFTWARE.items():
        private = kept.get(name, {}).get("private_key")
        public = None
        if private is None or await find(services.store.ledger, name) is None:
            private, public = key_pair(name)
        given[name] = {"private_key": private, "scope": more["scope"]}
        if public:
            registrations[name] = {**more, "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public]}}
    for name, registration in registrations.items():
        new = await find(services.store.ledger, name) is None
        await register(services.store.ledger, services.passwords, {"client_id": name, **registration}, new=new)
    return given


_SOFTWARE: Final[Mapping[str, Mapping[str, Any]]] = {
    "demo-lgc": {
        "client_name": "Logiciel du laboratoire (démonstration)",
        "kind": "lgc",
        "software_id": "demo-lgc",
        "scope": "system/*.cruds user/*.cruds",
        "structures": ["1990000001", "1990000002", "1990000003", "1990000004"],
    },
    "demo-ncp-de": {
        "client_name": "NCP Deutschland (démonstration)",
        "kind": "ncp",
        "scope": "system/*.rs",
        "country": "DE",
    },
}
