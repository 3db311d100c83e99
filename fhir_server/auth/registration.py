"""Is this a registration that the server can hold a client to? Every fault is named, by the member it is in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from fhir_server.auth.public_keys import key_fault
from fhir_server.auth.scopes import MOST, is_scope, parse_scope
from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.identity import structure_identifiers

KINDS: Final = ("app", "lgc", "ncp", "resource-server")
METHODS: Final = ("none", "client_secret_basic", "private_key_jwt")
SIGNING: Final = ("RS256", "ES256")
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_PLAIN: Final = re.compile(r"[!-~]{1,2000}", re.ASCII)
_PRIVATE_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+", re.ASCII)
_TEXTS: Final = (
    "client_id",
    "client_name",
    "kind",
    "token_endpoint_auth_method",
    "scope",
    "jwks_uri",
    "country",
    "software_id",
    "software_version",
    "initiate_login_uri",
    "id_token_signed_response_alg",
)
_LISTS: Final = ("redirect_uris", "structures")
_SWITCHES: Final = ("first_party", "regulation")
_MEMBERS: Final = frozenset({*_TEXTS, *_LISTS, *_SWITCHES, "jwks"})
_MOST_KEYS: Final = 10

Faults = Iterator[tuple[str, str]]


def check_registration(given: object) -> None:
    """Return if it is one; raise Invalid with an issue for each fault otherwise."""
    if not isinstance(given, Mapping):
        raise Invalid("A registration is a JSON object.")
    unknown = [(name, "A registration has no such member.") for name in given if name not in _MEMBERS]
    faults = unknown + (list(_shape(given)) or [fault for judge in _JUDGES for fault in judge(given)])
    if faults:
        raise Invalid(issues=[Issue("business-rule", text, name) for name, text in faults])


def web_address(url: str) -> bool:
    """Whether it is an https address, or http on this machine, without user or fragment."""
    if not _PLAIN.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or "#" in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)


def _shape(given: Mapping[str, Any]) -> Faults:
    for name in _TEXTS:
        if name in given and not isinstance(given[name], str):
            yield name, "This is a text."
    for name in _LISTS:
        value = given.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            yield name, "This is a list of texts."
    for name in _SWITCHES:
        if not isinstance(given.get(name, False), bool):
            yield name, "This is true or false."
    for name in ("client_name", "kind", "token_endpoint_auth_method"):
        if name not in given:
            yield name, "This is mandatory."


def _who(given: Mapping[str, Any]) -> Faults:
    if "client_id" in given and not _ID.fullmatch(given["client_id"]):
        yield "client_id", "An id is 1 to 64 letters, digits, dots and hyphens, as of a resource."
    if not given["client_name"].strip() or len(given["client_name"]) > 200:
        yield "client_name", "A name has 1 to 200 characters."
    if given["kind"] not in KINDS:
        yield "kind", f"One of {', '.join(KINDS)}."
    if given.get("first_party") and given["kind"] != "app":
        yield "first_party", "Only an app acts as the person who uses it."
    if given.get("id_token_signed_response_alg", "RS256") not in SIGNING:
        yield "id_token_signed_response_alg", f"One of {', '.join(SIGNING)}."


def _proof(given: Mapping[str, Any]) -> Faults:
    method, kind = given["token_endpoint_auth_method"], given["kind"]
    if method not in METHODS:
        yield "token_endpoint_auth_method", f"One of {', '.join(METHODS)}."
    if kind in ("lgc", "ncp") and method != "private_key_jwt":
        yield "token_endpoint_auth_method", "Software that asks in its own name proves itself by private_key_jwt."
    if kind == "resource-server" and method == "none":
        yield "token_endpoint_auth_method", "Who asks about tokens proves who they are."
    named = [name for name in ("jwks", "jwks_uri") if given.get(name)]
    if method != "private_key_jwt":
        yield from ((name, "Keys go with private_key_jwt.") for name in named)
    elif len(named) != 1:
        yield "jwks", "Give the keys, or where they are, and not both."
    if given.get("jwks_uri") and not web_address(given["jwks_uri"]):
        yield "jwks_uri", "An https address, or http on this machine."
    if given.get("jwks"):
        yield from _keys(given["jwks"])


def _keys(jwks: object) -> Faults:
    keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(keys, list) or not 0 < len(keys) <= _MOST_KEYS:
        yield "jwks", f"A JWK set of 1 to {_MOST_KEYS} keys."
        return
    for place, key in enumerate(keys):
        fault = key_fault(key)
        if fault:
            yield f"jwks.keys[{place}]", fault
    kids = [key.get("kid") for key in keys if isinstance(key, Mapping)]
    if len(set(map(str, kids))) < len(kids):
        yield "jwks", "Each key has a kid of its own."


def _where(given: Mapping[str, Any]) -> Faults:
    uris = given.get("redirect_uris", [])
    if given["kind"] == "app" and not uris:
        yield "redirect_uris", "An app says where people come back to."
    if given["kind"] != "app" and uris:
        yield "redirect_uris", "Only an app sends people here."
    for place, uri in enumerate(uris):
        if not (web_address(uri) or _of_an_app(uri)):
            yield (
                f"redirect_uris[{place}]",
                "An https address, http on this machine, or an app's own scheme (com.example.app:/…).",
            )
        elif given.get("first_party") and not web_address(uri):
            # Any app on a device may claim a scheme, and nobody is asked before this one gets a code (RFC 8252 §8.6).
            yield f"redirect_uris[{place}]", "An app that nobody is asked about has an https address."
    launch = given.get("initiate_login_uri")
    if launch and not web_address(launch):
        yield "initiate_login_uri", "An https address, or http on this machine."


def _of_an_app(uri: str) -> bool:
    """A private-use scheme is a domain name turned round (RFC 8252 §7.1)."""
    scheme, colon, _ = uri.partition(":")
    return bool(_PLAIN.fullmatch(uri) and colon and "#" not in uri and _PRIVATE_SCHEME.fullmatch(scheme))


def _what(given: Mapping[str, Any]) -> Faults:
    scopes, kind = given.get("scope", "").split(), given["kind"]
    if kind == "resource-server" and scopes:
        yield "scope", "Who asks about tokens asks for none."
    if kind != "resource-server" and not scopes:
        yield "scope", "Say what it may ask for."
    if len(scopes) > MOST:
        yield "scope", f"At most {MOST} scopes."
    levels = ("patient", "user") if kind == "app" else ("system", "user")
    for scope in scopes:
        if not is_scope(scope):
            yield "scope", "There is a scope that this server does not know."
        elif "/" in scope and scope != "launch/patient" and parse_scope(scope).level not in levels:
            yield "scope", f"Here a scope begins with {' or '.join(each + '/' for each in levels)}."


def _for_whom(given: Mapping[str, Any]) -> Faults:
    if given["kind"] != "lgc":
        yield from ((name, "This goes with an LGC.") for name in ("structures", "regulation") if given.get(name))
    for place, structure in enumerate(given.get("structures", [])):
        if len(structure_identifiers(structure)) < 2:
            yield f"structures[{place}]", "An IdNat_Struct: its first digit tells what the rest is."
    country = given.get("country")
    if (given["kind"] == "ncp") != bool(country):
        yield "country", "An EU gateway has a country, and nobody else."
    if country and not _COUNTRY.fullmatch(country):
        yield "country", "Two capital letters of ISO 3166."


_JUDGES: Final[tuple[Callable[[Mapping[str, Any]], Faults], ...]] = (_who, _proof, _where, _what, _for_whom)
