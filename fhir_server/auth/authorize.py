"""A person is asked to let a program in: the request is judged, kept while they log in and decide, and answered once.

Authorization code flow of SMART App Launch 2.2 with PKCE S256 (RFC 7636), `iss` in every answer (RFC 9207) and OpenID
Connect's `prompt`, `max_age` and `nonce`. Who may not be sent back is told on the spot: an address that is not
registered, letter by letter, is never redirected to.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client, find
from fhir_server.auth.grants import give_code
from fhir_server.auth.launches import Launch, taken_launch
from fhir_server.auth.refusals import Refused
from fhir_server.auth.scopes import MOST, are_scopes, granted, lies_within, resource_scopes
from fhir_server.storage.interface import Ledger

_KIND: Final = "authorization"
_TUPLES: Final = ("scopes", "prompt")
_PATIENCE: Final = 600_000_000
_LONGEST: Final = 8_192
"""Characters of all parameters: as many as a url may well have (RFC 9110 §4.1), and state comes back in one."""
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a program asks of a person, as far as it may ask.

    `scopes`: those asked for that the client may have. `prompt`: `none` forbids every page (answer with
    `deny(error="login_required")` or `"consent_required"` when one is needed), `login` wants the person to log in
    again, `consent` to decide again. `max_age`: seconds since they last logged in, -1 for any. `user`, `patient`,
    `banner`: of an EHR launch: who launched it ("Practitioner/…"), for whom, and whether the app shows who that is.
    """

    client: str
    client_name: str
    first_party: bool
    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    challenge: str
    nonce: str
    issuer: str
    prompt: tuple[str, ...] = ()
    max_age: int = -1
    login_hint: str = ""
    user: str = ""
    patient: str = ""
    banner: bool = True

    @property
    def needs_patient(self) -> bool:
        """Whether somebody has to be chosen: asked for by `launch/patient` or a `patient/` scope, and not launched."""
        levels = {each.level for each in resource_scopes(self.scopes)}
        return not self.patient and ("launch/patient" in self.scopes or "patient" in levels)


class SentBack(Exception):
    """The request is refused, and the program is told so at its own address."""

    def __init__(self, url: str) -> None:
        super().__init__("sent back")
        self.url = url


async def ask(ledger: Ledger, given: Mapping[str, str], *, issuer: str, audience: str, now: int) -> str:
    """Keep a request for ten minutes; its id. `given`: its parameters, each once; `audience`: the FHIR base.

    Raises Refused where the program or its address is not known, SentBack for any other fault.
    """
    client = await find(ledger, given.get("client_id", ""))
    if client is None or given.get("redirect_uri") not in client.redirect_uris:
        raise Refused("invalid_request", "The application or its address is not registered here.")
    blank = _blank(client, given, issuer)
    try:
        request = _judged(blank, client, given, audience)
        if "launch" in request.scopes:
            request = _launched(request, await taken_launch(ledger, given.get("launch", ""), client.id, now=now))
    except Refused as refusal:
        raise SentBack(_url(blank, {"error": refusal.code, "error_description": refusal.text})) from refusal
    id = secrets.token_urlsafe(32)
    await ledger.put(_KIND, id, orjson.dumps(asdict(request)), expires=now + _PATIENCE)
    return id


async def pending(ledger: Ledger, id: str, *, now: int) -> AuthorizationRequest | None:
    """The request of that id, if it still waits for its answer."""
    kept = await ledger.get(_KIND, id, now=now)
    return _read(kept) if kept else None


async def approve(
    ledger: Ledger,
    id: str,
    actor: Actor,
    *,
    patient: str,
    scopes: tuple[str, ...],
    auth_time: int,
    now: int,
    account: str = "",
) -> str:
    """The person lets the program in; the url to send them to, with a code good for one use within 60 s.

    `actor`: the person as logged in (their session too: `online_access` ends with it). `patient`: the id of the chosen
    record, "" where none is needed. `scopes`: what the person grants of those asked for. `auth_time`: when they logged
    in, microseconds; `account`: the login of the account by which they did, "" for none. A person whom an EHR launch is
    not for is sent back with access_denied.
    Raises Refused when the request is not waiting any more, or the registration has changed so that it would not be
    taken now; ValueError for scopes not asked for, or a patient missing or not theirs.
    """
    request = await _taken(ledger, id)
    client = await find(ledger, request.client)
    if client is None or not _as_registered(request, client):
        raise Refused("invalid_request", "The application is not registered any more, or not as it was.")
    if request.user and request.user != actor.reference:
        return _url(request, {"error": "access_denied", "error_description": "Launched by somebody else."})
    chosen = request.patient or patient
    if not scopes or not lies_within(scopes, request.scopes):
        raise ValueError("scopes that were not asked for")
    if replace(request, scopes=scopes).needs_patient and not chosen:
        raise ValueError("no patient chosen")
    if chosen and actor.role in ("patient", "rep") and chosen not in actor.patients:
        raise ValueError("not a record of this person")
    code = await give_code(
        ledger,
        client,
        actor,
        patient=chosen,
        scopes=scopes,
        banner=request.banner,
        nonce=request.nonce,
        redirect_uri=request.redirect_uri,
        challenge=request.challenge,
        auth_time=auth_time,
        account=account,
        now=now,
    )
    return _url(request, {"code": code})


async def deny(ledger: Ledger, id: str, *, error: str = "access_denied") -> str:
    """The person, or what `prompt=none` forbids, does not let the program in; the url to send them to.

    Raises Refused when the request is not waiting any more.
    """
    return _url(await _taken(ledger, id), {"error": error})


async def _taken(ledger: Ledger, id: str) -> AuthorizationRequest:
    kept = await ledger.take(_KIND, id)
    if kept is None:
        raise Refused("invalid_request", "This request has been answered already, or has waited too long.")
    return _read(kept)


def _as_registered(request: AuthorizationRequest, client: Client) -> bool:
    """Whether the registration still allows what was asked for under it."""
    trusted = request.first_party == client.first_party
    return trusted and request.redirect_uri in client.redirect_uris and lies_within(request.scopes, client.scopes)


def _read(kept: bytes) -> AuthorizationRequest:
    values: dict[str, Any] = orjson.loads(kept)
    return AuthorizationRequest(**values | {name: tuple(values[name]) for name in _TUPLES})


def _blank(client: Client, given: Mapping[str, str], issuer: str) -> AuthorizationRequest:
    """What is needed to send somebody back."""
    return AuthorizationRequest(
        client=client.id,
        client_name=client.name,
        first_party=client.first_party,
        redirect_uri=given["redirect_uri"],
        state=given.get("state"),
        scopes=(),
        challenge="",
        nonce=given.get("nonce", ""),
        issuer=issuer,
        login_hint=given.get("login_hint", ""),
    )


def _judged(
    blank: AuthorizationRequest, client: Client, given: Mapping[str, str], audience: str
) -> AuthorizationRequest:
    """The request with all that it asks for; raises Refused for what is wrong with it."""
    if sum(map(len, given.values())) > _LONGEST:
        raise Refused("invalid_request", f"The parameters have more than {_LONGEST} characters.")
    if "request" in given or "request_uri" in given:
        raise Refused("request_not_supported", "Parameters are given one by one.")
    if given.get("response_type") != "code":
        raise Refused("unsupported_response_type", "response_type is code.")
    if given.get("response_mode", "query") != "query":
        raise Refused("invalid_request", "response_mode is query.")
    if given.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(given.get("code_challenge", "")):
        raise Refused("invalid_request", "PKCE is needed: code_challenge, with code_challenge_method S256.")
    if given.get("aud", "").rstrip("/") != audience:
        raise Refused("invalid_request", "aud is the FHIR base of this server.")
    return replace(
        blank,
        scopes=_scopes(given.get("scope", "").split(), client),
        challenge=given["code_challenge"],
        prompt=_prompt(given.get("prompt", "").split()),
        max_age=_max_age(given.get("max_age", "")),
    )


def _scopes(asked: list[str], client: Client) -> tuple[str, ...]:
    if not are_scopes(asked):
        raise Refused("invalid_scope", f"A scope is missing, or not one of this server, or there are more than {MOST}.")
    wanted = resource_scopes(asked)
    if any(each.level == "system" for each in wanted):
        raise Refused("invalid_scope", "system/ is for software that asks in its own name.")
    found = granted(asked, client.scopes)
    if not found or (wanted and not resource_scopes(found)):
        raise Refused("invalid_scope", "This application is registered for none of these scopes.")
    return found


def _prompt(asked: list[str]) -> tuple[str, ...]:
    if not _PROMPTS.issuperset(asked) or ("none" in asked and len(asked) > 1):
        raise Refused("invalid_request", "prompt is none, or of login, consent, select_account.")
    return tuple(asked)


def _max_age(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused("invalid_request", "max_age is a number of seconds.")
    return int(text) if text else -1


def _launched(request: AuthorizationRequest, launch: Launch | None) -> AuthorizationRequest:
    if launch is None:
        raise Refused("invalid_request", "launch is not one of this server, or was used before.")
    return replace(request, user=launch.user, patient=launch.patient, banner=launch.banner)


def _url(request: AuthorizationRequest, answer: Mapping[str, str]) -> str:
    """The program's own address with the answer; the state as it came, and who answers (RFC 9207)."""
    state = {} if request.state is None else {"state": request.state}
    query = urlencode({name: value for name, value in answer.items() if value} | state | {"iss": request.issuer})
    return f"{request.redirect_uri}{'&' if '?' in request.redirect_uri else '?'}{query}"
