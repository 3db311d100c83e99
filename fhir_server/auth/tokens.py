"""Access tokens: 256 random bits that mean nothing by themselves; the store keeps their SHA-256 and who they stand for.

Spec access §1. A token is taken from the Authorization header and nowhere else. Whatever is wrong with one, the answer
is the same.

A token belongs to a session: one login, one grant to an application; a token given without one is its own. What ends or
changes a session does so to every token of it, at once and on every process: the row of a token is all that a request
looks at. Beside the tokens lies an index of them by session, and the row of the session itself, which outlives them
where there is something to refresh (`auth.grants`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import fields, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

import orjson

from fhir_server.auth.actor import ROLES, Actor
from fhir_server.errors import Unauthenticated
from fhir_server.storage.interface import Ledger

ACCOUNT: Final = "account:"
"""Begins what the sessions of an account depend on, its login following: ended when the account or password is."""

_KIND: Final = "token"
_SESSION: Final = "session"
_OF_SESSION: Final = "token-of-session"
_DEPENDENT: Final = "session-of-session"
_BEARER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9_-]{43})", re.ASCII)
_SETS: Final = frozenset({"keys"})
_TUPLES: Final = frozenset({"patients", "scopes", "openings", "asserted"})
_FIELDS: Final = {each.name: each.type for each in fields(Actor)}


async def issue(ledger: Ledger, actor: Actor, *, ttl: int, now: int) -> str:
    """A new token for that caller, good for `ttl` microseconds. What is returned is the only copy.

    Raises ValueError for a role that no token may have.
    """
    if actor.role not in ROLES or actor.role == "open":
        raise ValueError("no token is given for that role")
    token, jti = secrets.token_urlsafe(32), actor.jti or uuid4().hex
    holder = replace(actor, jti=jti, session=actor.session or jti, expires=now + ttl)
    name, until = _name(token), holder.expires
    # The index first: a token that it does not name could not be ended.
    await ledger.put(_OF_SESSION, f"{holder.session} {name}", b"", expires=until)
    await ledger.put(_KIND, name, actor_bytes(holder), expires=until)
    return token


async def authenticate(ledger: Ledger, header: str | None, *, now: int) -> Actor:
    """The caller whose token the Authorization header bears; raises Unauthenticated for anything else."""
    found = _BEARER.fullmatch(header or "")
    kept = await ledger.get(_KIND, _name(found[1]), now=now) if found else None
    if kept is None:
        raise Unauthenticated
    try:
        actor = actor_of(kept)
    except ValueError as error:
        raise Unauthenticated from error
    if actor.expires <= now:
        raise Unauthenticated
    return actor


async def revoke(ledger: Ledger, token: str) -> bool:
    """End a token now, for every process; whether it was known."""
    return await ledger.delete(_KIND, _name(token))


async def holder(ledger: Ledger, token: str, *, now: int) -> Actor | None:
    """Whom a token stands for, None when it is not alive: for those who ask about a token, not with it."""
    try:
        return await authenticate(ledger, f"Bearer {token}", now=now)
    except Unauthenticated:
        return None


async def amend(ledger: Ledger, session: str, change: Callable[[Actor], Actor], now: int) -> None:
    """Put a changed caller in the place of the session's, in every live token and in what a refresh will give.

    `change` must not depend on which token it is given; it may be called more than once for one.
    """
    await _swap(ledger, _SESSION, session, change, now)
    for name in await _names(ledger, session, now):
        await _swap(ledger, _KIND, name, change, now)


async def end_session(ledger: Ledger, session: str, *, now: int) -> None:
    """End every token of a session, and what would give new ones. What depends on it (`depend`) ends with it."""
    # The session itself first: whoever is making a token of it looks again when the token is there (`alive`).
    await ledger.delete(_SESSION, session)
    for name in await _names(ledger, session, now):
        await ledger.delete(_KIND, name)
        await ledger.delete(_OF_SESSION, f"{session} {name}")
    for key in await ledger.keys(_DEPENDENT, prefix=f"{session} ", now=now):
        await ledger.delete(_DEPENDENT, key)
        await end_session(ledger, key.partition(" ")[2], now=now)


async def begin(ledger: Ledger, actor: Actor, *, until: int) -> None:
    """Keep whom the tokens of `actor.session` are to stand for, till that time."""
    await ledger.put(_SESSION, actor.session, actor_bytes(replace(actor, jti="", expires=until)), expires=until)


async def alive(ledger: Ledger, session: str, *, now: int) -> Actor | None:
    """Whom the next token of a session that was begun stands for; None when it has ended."""
    kept = await ledger.get(_SESSION, session, now=now)
    return actor_of(kept) if kept else None


async def renew(
    ledger: Ledger, session: str, narrow: Callable[[Actor], Actor], *, ttl: int, now: int
) -> tuple[str, Actor] | None:
    """A new token of a session that was begun, and whom it stands for: `narrow` of whom the session stands for. None
    when it has ended. The token does not outlive the session."""
    while (known := await alive(ledger, session, now=now)) is not None:
        actor = narrow(known)
        token = await issue(ledger, actor, ttl=min(ttl, known.expires - now), now=now)
        # Whoever ended or changed the session meanwhile may not have seen this token: it is not given out then.
        if await alive(ledger, session, now=now) == known:
            return token, actor
        await revoke(ledger, token)
    return None


async def depend(ledger: Ledger, session: str, on: str, *, until: int) -> None:
    """Have a session end with another one: what is granted for as long as somebody is logged in."""
    await ledger.put(_DEPENDENT, f"{on} {session}", b"", expires=until)


async def _names(ledger: Ledger, session: str, now: int) -> list[str]:
    return [key.rpartition(" ")[2] for key in await ledger.keys(_OF_SESSION, prefix=f"{session} ", now=now)]


async def _swap(ledger: Ledger, kind: str, key: str, change: Callable[[Actor], Actor], now: int) -> None:
    """Change one row, unless it is ended meanwhile; what another changed meanwhile is kept."""
    while (old := await ledger.get(kind, key, now=now)) is not None:
        before = actor_of(old)
        if await ledger.swap(kind, key, old, actor_bytes(change(before)), expires=before.expires):
            return


def actor_bytes(actor: Actor) -> bytes:
    """The caller as JSON, the same for equal callers."""
    values = {name: getattr(actor, name) for name in _FIELDS}
    values["keys"] = sorted(actor.keys)
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS)


@lru_cache(maxsize=4096)
def actor_of(data: bytes) -> Actor:
    """The caller of `actor_bytes`; raises ValueError for anything else, an unknown role or field included.

    What was read once is remembered; whether a token still stands for these bytes the ledger is asked each time.
    """
    values = orjson.loads(data)
    if not isinstance(values, dict) or not values.keys() <= _FIELDS.keys():
        raise ValueError("not a caller")
    read = {name: _read(name, value) for name, value in values.items()}
    try:
        actor = Actor(**read)
    except TypeError as error:
        raise ValueError("not a caller") from error
    if actor.role not in ROLES or actor.role == "open":
        raise ValueError("not a caller")
    return actor


def _read(name: str, value: Any) -> Any:
    if name in _SETS or name in _TUPLES:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError("not a caller")
        return frozenset(value) if name in _SETS else tuple(value)
    wanted = {"str": str, "int": int, "bool": bool}[str(_FIELDS[name])]
    if type(value) is not wanted:
        raise ValueError("not a caller")
    return value


def _name(token: str) -> str:
    return sha256(token.encode()).hexdigest()
