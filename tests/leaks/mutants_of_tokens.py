"""An authorization server that is wrong: faults as those of `mutants`, in who gets a token and what it is good for."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any
from unittest.mock import ANY
from urllib.parse import parse_qs

import pytest
from lxml import etree

from fhir_server.api import door, smart
from fhir_server.api.negotiate import Head
from fhir_server.api.threshold import Threshold
from fhir_server.auth import authorize, backend, grants, scopes, tokens
from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client, find
from fhir_server.auth.proof import Prover
from fhir_server.auth.refusals import Refused
from fhir_server.consent import rules
from fhir_server.consent.grounds import Ground, Grounds
from fhir_server.consent.narrow import Narrow
from fhir_server.fhir import xml
from fhir_server.fhir.xml import read as xml_read
from fhir_server.search.predicate import TRUE
from fhir_server.storage.interface import Ledger

# Codes, addresses, refresh tokens (A09 to A14, L67)


def code_kept(patch: pytest.MonkeyPatch) -> None:
    """A code is good until it ends."""
    sound = grants.exchange_code

    async def exchange(ledger: Ledger, client: Client, code: str, **asked: Any) -> Any:
        name = grants._name(code)
        kept = await ledger.get("code", name, now=asked["now"])
        try:
            return await sound(ledger, client, code, **asked)
        finally:
            if kept:
                await ledger.put("code", name, kept, expires=asked["now"] + 60_000_000)

    patch.setattr(grants, "exchange_code", exchange)


def families_live_on(patch: pytest.MonkeyPatch) -> None:
    """What is used twice, or shared no more, is refused, and what came of it stays good."""

    async def end(*_: Any, **__: Any) -> None:
        return None

    patch.setattr(grants, "end_session", end)


def verifier_passed_over(patch: pytest.MonkeyPatch) -> None:
    """Whatever the verifier is, it is the one."""
    patch.setattr(grants, "compare_digest", lambda *_: True)


def challenge_as_verifier(patch: pytest.MonkeyPatch) -> None:
    """A verifier may be plain at the end."""
    sound = grants._s256
    patch.setattr(grants, "_s256", lambda verifier: verifier if len(verifier) == 43 else sound(verifier))


def plain_challenges(patch: pytest.MonkeyPatch) -> None:
    """A challenge may be of any method."""
    sound = authorize._judged
    patch.setattr(
        authorize,
        "_judged",
        lambda blank, client, given, audience: sound(
            blank, client, {**given, "code_challenge_method": "S256"}, audience
        ),
    )


class _Beginnings(tuple[str, ...]):
    def __contains__(self, uri: object) -> bool:
        return isinstance(uri, str) and any(uri.startswith(each) for each in self)


class _Lowered(tuple[str, ...]):
    def __contains__(self, uri: object) -> bool:
        return isinstance(uri, str) and any(uri.lower() == each.lower() for each in self)


def _registered_as(patch: pytest.MonkeyPatch, addresses: type[tuple[str, ...]]) -> None:
    async def known(ledger: Ledger, id: str) -> Client | None:
        client = await find(ledger, id)
        return client and replace(client, redirect_uris=addresses(client.redirect_uris))

    patch.setattr(authorize, "find", known)


def redirects_by_their_beginning(patch: pytest.MonkeyPatch) -> None:
    """An address that begins with a registered one is registered."""
    _registered_as(patch, _Beginnings)


def redirects_in_any_case(patch: pytest.MonkeyPatch) -> None:
    """Capitals do not matter in an address."""
    _registered_as(patch, _Lowered)


def redirect_passed_over_at_the_end(patch: pytest.MonkeyPatch) -> None:
    """A code is good with another address than it was sent to."""
    sound = grants.exchange_code
    patch.setattr(grants, "exchange_code", lambda *given, **more: sound(*given, **{**more, "redirect_uri": ANY}))


def errors_without_issuer(patch: pytest.MonkeyPatch) -> None:
    """Who sends an error does not say so."""
    sound = authorize._url
    patch.setattr(
        authorize,
        "_url",
        lambda asked, said: sound(asked, said).partition("&iss=")[0] if "error" in said else sound(asked, said),
    )


def codes_without_issuer(patch: pytest.MonkeyPatch) -> None:
    """Who sends a code does not say so."""
    sound = authorize._url
    patch.setattr(
        authorize,
        "_url",
        lambda asked, said: sound(asked, said).partition("&iss=")[0] if "code" in said else sound(asked, said),
    )


def state_where_there_was_none(patch: pytest.MonkeyPatch) -> None:
    """An empty state is none."""
    sound = authorize._url
    patch.setattr(authorize, "_url", lambda asked, said: sound(replace(asked, state=asked.state or ""), said))


def state_cut(patch: pytest.MonkeyPatch) -> None:
    """A state comes back as far as there is room."""
    sound = authorize._url
    patch.setattr(
        authorize, "_url", lambda asked, said: sound(replace(asked, state=asked.state and asked.state[:64]), said)
    )


def old_refresh_tokens(patch: pytest.MonkeyPatch) -> None:
    """A refresh token is good until its grant ends."""
    sound = grants.exchange_refresh

    async def exchange(ledger: Ledger, client: Client, token: str, **asked: Any) -> Any:
        name = grants._name(token)
        session = await ledger.get("refresh", name, now=asked["now"])
        grant = await grants._grant(ledger, session.decode(), asked["now"]) if session else None
        if grant:
            await ledger.put("grant", grant.session, grants._bytes(replace(grant, refresh=name)), expires=grant.until)
        return await sound(ledger, client, token, **asked)

    patch.setattr(grants, "exchange_refresh", exchange)


def refresh_widens(patch: pytest.MonkeyPatch) -> None:
    """A refresh gives what it is asked for."""
    patch.setattr(grants, "lies_within", lambda *_: True)


# Who is asking (A15 to A18, A20, L41, L66, L68)


def unknown_clients_told(patch: pytest.MonkeyPatch) -> None:
    """A client that is not registered is told so."""
    sound = Prover._by_secret

    async def by_secret(self: Prover, id: str, *more: Any) -> Any:
        if await find(self.ledger, id) is None:
            raise Refused("invalid_client", "This client is not registered.", status=401)
        return await sound(self, id, *more)

    patch.setattr(Prover, "_by_secret", by_secret)


def name_as_proof(patch: pytest.MonkeyPatch) -> None:
    """Who has a secret need not give it."""
    patch.setattr(Client, "confidential", property(lambda self: False))


def first_proof_of_several(patch: pytest.MonkeyPatch) -> None:
    """Who proves to be itself twice is believed once."""
    sound = Prover.prove

    async def prove(self: Prover, form: Any, authorization: str, **asked: Any) -> Any:
        own = {name: value for name, value in form.items() if not (authorization and name == "client_secret")}
        return await sound(self, own, authorization, **asked)

    patch.setattr(Prover, "prove", prove)


def _authorized_by(patch: pytest.MonkeyPatch, read: Any) -> None:
    sound = Head.get

    def get(self: Head, name: bytes) -> str:
        found = sound(self, name)
        token = read(self) if name == b"authorization" and not found else ""
        return f"Bearer {token}" if token else found

    patch.setattr(Head, "get", get)


def token_in_the_url(patch: pytest.MonkeyPatch) -> None:
    """A token may be a parameter, which is then none of the interaction's, where any but its own are refused too."""

    def read(head: Head) -> str:
        found = parse_qs(head.query.decode()).get("access_token", [""])[0]
        head.query = b"" if found else head.query
        return found

    _authorized_by(patch, read)


def token_in_a_cookie(patch: pytest.MonkeyPatch) -> None:
    """A token may be in a cookie."""

    def read(head: Head) -> str:
        found = SimpleCookie(head.get(b"cookie")).get("access_token")
        return found.value if found else ""

    _authorized_by(patch, read)


def token_of_any_scheme(patch: pytest.MonkeyPatch) -> None:
    """A token is one, whatever stands before it."""
    patch.setattr(tokens, "_BEARER", re.compile(r"\w+ +([A-Za-z0-9_-]{43})", re.ASCII))


def tokens_told_to_clients(patch: pytest.MonkeyPatch) -> None:
    """Whoever is a client is told what any token stands for."""
    sound = Prover.prove

    async def prove(self: Prover, *given: Any, **asked: Any) -> Any:
        proven = await sound(self, *given, **asked)
        return replace(proven, client=replace(proven.client, kind="resource-server"))

    patch.setattr(Prover, "prove", prove)


def xml_with_doctype(patch: pytest.MonkeyPatch) -> None:
    """Document types are read, and what they define is put in."""
    lax, sound = etree.XMLParser(resolve_entities=True, no_network=True), xml.parse_document

    def parse(body: bytes) -> Any:
        try:
            return etree.fromstring(body, lax)
        except etree.XMLSyntaxError:
            return sound(body)

    patch.setattr(xml_read, "parse_document", parse)


class _Everything(frozenset[str]):
    def __contains__(self, origin: object) -> bool:
        return True


def scripts_of_anywhere(patch: pytest.MonkeyPatch) -> None:
    """Whatever its origin, a script may ask for tokens."""

    async def registered(self: Threshold) -> frozenset[str]:
        return _Everything()

    patch.setattr(Threshold, "_registered", registered)


def scripts_by_the_beginning(patch: pytest.MonkeyPatch) -> None:
    """An origin that begins with a registered one is registered."""
    sound = Threshold._registered

    class Near(frozenset[str]):
        def __contains__(self, origin: object) -> bool:
            return any(str(origin).startswith(each) for each in self)

    async def registered(self: Threshold) -> frozenset[str]:
        return Near(await sound(self))

    patch.setattr(Threshold, "_registered", registered)


def introspection_says_more(patch: pytest.MonkeyPatch) -> None:
    """All that is known of a token is told."""
    sound = smart.introspected
    patch.setattr(smart, "introspected", lambda actor, **at: sound(actor, **at) | {"keys": sorted(actor.keys)})


def headers_believed(patch: pytest.MonkeyPatch) -> None:
    """Who a proxy says is asking is asking."""
    claimed: ContextVar[str] = ContextVar("claimed")
    sound, who = door.FhirDoor._answer, door.caller

    async def answer(self: Any, head: Head, *more: Any) -> Any:
        claimed.set(head.get(b"x-patient-id"))
        return await sound(self, head, *more)

    async def caller(*given: Any) -> Any:
        ctx, id = await who(*given), claimed.get()
        as_claimed = Actor("patient", f"Patient/{id}", "", "", frozenset({f"Patient/{id}"}), (id,))
        return replace(ctx, actor=as_claimed) if id else ctx

    patch.setattr(door.FhirDoor, "_answer", answer)
    patch.setattr(door, "caller", caller)


def any_structure(patch: pytest.MonkeyPatch) -> None:
    """Software speaks for the structure that it names."""
    sound = backend.professional
    patch.setattr(
        backend,
        "professional",
        lambda client, claim: sound(replace(client, structures=(claim["structure"],)), claim),
    )


# Scopes and records (L62 to L65)


def patients_are_holders(patch: pytest.MonkeyPatch) -> None:
    """A patient holds whatever record is asked for: neither the token nor the rules bind them to their own."""
    patch.setattr(rules.Rules, "_holder", lambda self, case: Grounds((Ground("holder", TRUE),)))
    patch.setitem(rules._GROUNDS, "patient", rules.Rules._holder)  # type: ignore[index]
    sound = Narrow.placed

    async def placed(self: Narrow, snapshot: Any, actor: Actor, *asked: Any, **more: Any) -> Any:
        where = await self.whereabouts(snapshot, *asked)
        records = tuple(each.patient for each in where if each.patient)
        return await sound(self, snapshot, replace(actor, patients=records), *asked, **more)

    patch.setattr(Narrow, "placed", placed)


def patient_scopes_without_patient(patch: pytest.MonkeyPatch) -> None:
    """A scope of a patient needs none."""
    patch.setattr(scopes, "_placed", lambda scope, actor: True)


def letters_merged(patch: pytest.MonkeyPatch) -> None:
    """Who reads searches, and who searches reads."""
    sound = scopes.ResourceScope.covers
    patch.setattr(
        scopes.ResourceScope,
        "covers",
        lambda self, type, letter: any(sound(self, type, each) for each in ("rs" if letter in "rs" else letter)),
    )


def reading_is_writing(patch: pytest.MonkeyPatch) -> None:
    """A scope on a type is one for all that can be done with it."""
    patch.setattr(scopes.ResourceScope, "covers", lambda self, type, letter: self.type in ("*", type))


def criteria_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A scope with criteria gives what it gives without."""
    patch.setattr(scopes, "_criteria", lambda scope: TRUE)
