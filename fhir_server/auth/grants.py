"""Grants: what a person let a program do, from the code to the last token that comes of it. One grant is one session.

The row of a session (`auth.tokens`) says whom its tokens stand for; the row of a grant beside it says what the program
is told, and which refresh token is the current one. Codes and refresh tokens are good for one use (RFC 6749 §4.1.2,
RFC 9700 §4.14): a second use of either ends the grant, since one of the two who used it stole it.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final
from uuid import uuid4

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client
from fhir_server.auth.refusals import Refused, invalid_grant
from fhir_server.auth.scopes import are_scopes, lies_within
from fhir_server.auth.tokens import ACCOUNT, alive, begin, depend, end_session, renew
from fhir_server.storage.interface import Ledger

SECOND: Final = 1_000_000
ACCESS: Final = 600 * SECOND
CODE: Final = 60 * SECOND
OFFLINE: Final = 180 * 86_400 * SECOND
"""How long a program may come back for a person who is away; after that it asks again."""
ONLINE: Final = 4 * 3_600 * SECOND

_CODE: Final = "code"
_GRANT: Final = "grant"
_REFRESH: Final = "refresh"
_OF_CLIENT: Final = "grant-of-client"


@dataclass(frozen=True, slots=True)
class Grant:
    """`user`: who granted, as a reference. `patient`: the id of the record that it is for, "" for none. `banner`:
    whether the program shows who that is. `auth_time`: when the person logged in, µs. `until`: when it ends, µs.
    `refresh`: the SHA-256 of the current refresh token, "" where none is given."""

    session: str
    client: str
    user: str
    patient: str
    scopes: tuple[str, ...]
    banner: bool
    nonce: str
    auth_time: int
    acr: str
    until: int
    refresh: str = ""

    @property
    def refreshed(self) -> bool:
        """Whether the program may come back for more."""
        return not {"offline_access", "online_access"}.isdisjoint(self.scopes)


@dataclass(frozen=True, slots=True)
class Given:
    """What a program gets for its grant; `refresh` is "" where it is not to come back."""

    grant: Grant
    access: str
    scopes: tuple[str, ...]
    refresh: str


def acting(client: Client, person: Actor, *, patient: str, scopes: tuple[str, ...]) -> Actor:
    """Whom the tokens of a grant stand for (access §1).

    A first-party client is the person. An application of a patient or representative is itself, within what that person
    may see and what they share with it (D09); a professional's is the professional. Raises ValueError for others.
    """
    if person.role not in ("patient", "rep", "ps") and not client.first_party:
        raise ValueError("nobody who lets programs in")
    patients = (patient,) if patient else ()
    session = uuid4().hex
    if client.first_party or person.role not in ("patient", "rep"):
        keys = person.keys if client.first_party else person.keys | {f"client:{client.id}"}
        bound = patients or (person.patients if client.first_party else ())
        fresh = replace(person, keys=keys, patients=bound, client=client.id, scopes=scopes)
        return replace(fresh, software=client.name, session=session, jti="", openings=())
    return Actor(
        role="app",
        reference=f"Device/{client.id}",
        name=client.name,
        jti="",
        keys=frozenset({f"client:{client.id}"}),
        patients=patients or person.patients,
        authoriser=person.role,
        authoriser_key=person.reference,
        client=client.id,
        software=client.software or client.name,
        purpose="PATRQT",
        acr=person.acr,
        scopes=scopes,
        session=session,
    )


async def give_code(
    ledger: Ledger,
    client: Client,
    person: Actor,
    *,
    patient: str,
    scopes: tuple[str, ...],
    banner: bool,
    nonce: str,
    redirect_uri: str,
    challenge: str,
    auth_time: int,
    now: int,
    account: str = "",
) -> str:
    """Begin a grant; the code with which the client gets its tokens, once, within 60 s.

    It ends with the account of the person; with their login too, unless a citizen lets the program come back for them.
    """
    actor = acting(client, person, patient=patient, scopes=scopes)
    # What a professional may do is what was said of them when they logged in: it does not outlast that.
    alone = "offline_access" in scopes and person.role != "ps"
    back = "offline_access" in scopes or "online_access" in scopes
    life = OFFLINE if alone else ONLINE if back else CODE + ACCESS
    grant = Grant(
        session=actor.session,
        client=client.id,
        user=person.reference,
        patient=patient,
        scopes=scopes,
        banner=banner,
        nonce=nonce,
        auth_time=auth_time,
        acr=person.acr,
        until=now + life,
    )
    await begin(ledger, actor, until=grant.until)
    if person.session and not alone:
        await depend(ledger, grant.session, person.session, until=grant.until)
    if account:
        await depend(ledger, grant.session, f"{ACCOUNT}{account}", until=grant.until)
    await belong(ledger, actor, until=grant.until)
    await ledger.put(_GRANT, grant.session, _bytes(grant), expires=grant.until)
    code = secrets.token_urlsafe(32)
    kept = {"session": grant.session, "redirect_uri": redirect_uri, "challenge": challenge, "until": now + CODE}
    await ledger.put(_CODE, _name(code), orjson.dumps(kept), expires=grant.until)
    return code


async def exchange_code(
    ledger: Ledger, client: Client, code: str, *, redirect_uri: str, verifier: str, now: int
) -> Given:
    """The first tokens of a grant. Raises Refused (invalid_grant); a code that was used before ends the grant."""
    kept = await ledger.get(_CODE, _name(code), now=now)
    if kept is None:
        raise invalid_grant()
    said: dict[str, Any] = orjson.loads(kept)
    used = orjson.dumps(said | {"used": True})
    grant = await _grant(ledger, said["session"], now)
    if "used" in said or not await ledger.swap(_CODE, _name(code), kept, used, expires=grant.until if grant else now):
        await end_session(ledger, said["session"], now=now)
        raise invalid_grant()
    # Used up, whatever comes now: who has a code and not what goes with it has no second try.
    proven = compare_digest(_s256(verifier), said["challenge"])
    if grant is None or now >= said["until"] or grant.client != client.id or not proven:
        raise invalid_grant()
    if redirect_uri != said["redirect_uri"]:
        raise invalid_grant()
    return await _give(ledger, grant, grant.scopes, now)


async def exchange_refresh(ledger: Ledger, client: Client, token: str, *, scope: str, now: int) -> Given:
    """The next tokens of a grant, for the current refresh token; the scopes may be fewer for the access token.

    Raises Refused: invalid_scope for more than was granted, else invalid_grant; an old one ends the grant.
    """
    session = await ledger.get(_REFRESH, _name(token), now=now)
    if session is None:
        raise invalid_grant()
    grant = await _grant(ledger, session.decode(), now)
    if grant is None or grant.client != client.id:
        raise invalid_grant()
    if grant.refresh != _name(token):
        await end_session(ledger, grant.session, now=now)
        raise invalid_grant()
    asked = tuple(scope.split()) or grant.scopes
    if not are_scopes(asked) or not lies_within(asked, grant.scopes):
        raise Refused("invalid_scope", "A refresh gives no more than was granted.")
    return await _give(ledger, grant, asked, now)


async def client_of_refresh(ledger: Ledger, token: str, *, now: int) -> str:
    """The id of the client that a refresh token was given to; "" for none."""
    session = await ledger.get(_REFRESH, _name(token), now=now)
    grant = await _grant(ledger, session.decode(), now) if session else None
    return grant.client if grant else ""


async def revoke_refresh(ledger: Ledger, client: Client, token: str, *, now: int) -> bool:
    """End the grant of a refresh token of that client; whether it was one."""
    session = await ledger.get(_REFRESH, _name(token), now=now)
    grant = await _grant(ledger, session.decode(), now) if session else None
    if grant is None or grant.client != client.id:
        return False
    await end_session(ledger, grant.session, now=now)
    return True


async def belong(ledger: Ledger, actor: Actor, *, until: int) -> None:
    """Have the session of a program's tokens found by program and record, to be ended with either."""
    for record in actor.patients or ("",):
        await ledger.put(_OF_CLIENT, f"{actor.client} {record} {actor.session}", b"", expires=until)


async def revoke_app(ledger: Ledger, client: str, patient: str, *, now: int) -> None:
    """End all that a program was granted for that patient: nothing is shared with it any more (D09, access §3.4)."""
    await _end(ledger, f"{client} {patient} ", now)


async def revoke_client(ledger: Ledger, client: str, *, now: int) -> None:
    """End all that a program was granted, when it is not registered any more."""
    await _end(ledger, f"{client} ", now)


async def _end(ledger: Ledger, prefix: str, now: int) -> None:
    for key in await ledger.keys(_OF_CLIENT, prefix=prefix, now=now):
        await end_session(ledger, key.rpartition(" ")[2], now=now)


async def _give(ledger: Ledger, grant: Grant, scopes: tuple[str, ...], now: int) -> Given:
    """Tokens, and a new current refresh token in the place of the one before; of two who ask at once, one gets them."""
    refresh = secrets.token_urlsafe(32) if grant.refreshed else ""
    after = replace(grant, refresh=_name(refresh) if refresh else "")
    if refresh:
        # Known before it is current: a token of which nothing is known could not be told for an old one.
        await ledger.put(_REFRESH, _name(refresh), grant.session.encode(), expires=grant.until)
        if not await ledger.swap(_GRANT, grant.session, _bytes(grant), _bytes(after), expires=grant.until):
            await end_session(ledger, grant.session, now=now)
            raise invalid_grant()
    made = await renew(ledger, grant.session, lambda actor: replace(actor, scopes=scopes), ttl=ACCESS, now=now)
    if made is None:
        raise invalid_grant()
    return Given(after, made[0], scopes, refresh)


async def _grant(ledger: Ledger, session: str, now: int) -> Grant | None:
    """The grant of a session that has not ended."""
    kept = await ledger.get(_GRANT, session, now=now)
    if kept is None or await alive(ledger, session, now=now) is None:
        return None
    values = orjson.loads(kept)
    return Grant(**values | {"scopes": tuple(values["scopes"])})


def _bytes(grant: Grant) -> bytes:
    return orjson.dumps(asdict(grant))


def _s256(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def _name(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
