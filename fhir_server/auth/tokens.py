"""Access tokens: 256 random bits that mean nothing by themselves; the store keeps their SHA-256 and who they stand for.

Spec access §1. A token is taken from the Authorization header and nowhere else. Whatever is wrong with one, the answer
is the same.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import fields, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

import orjson

from fhir_server.auth.actor import ROLES, Actor
from fhir_server.errors import Unauthenticated
from fhir_server.storage.interface import Ledger

_KIND: Final = "token"
_BEARER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9_-]{43})", re.ASCII)
_SETS: Final = frozenset({"keys"})
_TUPLES: Final = frozenset({"patients", "scopes"})
_FIELDS: Final = {each.name: each.type for each in fields(Actor)}


async def issue(ledger: Ledger, actor: Actor, *, ttl: int, now: int) -> str:
    """A new token for that caller, good for `ttl` microseconds. What is returned is the only copy.

    Raises ValueError for a role that no token may have.
    """
    if actor.role not in ROLES or actor.role == "open":
        raise ValueError("no token is given for that role")
    token = secrets.token_urlsafe(32)
    holder = replace(actor, jti=actor.jti or uuid4().hex, expires=now + ttl)
    await ledger.put(_KIND, _name(token), actor_bytes(holder), expires=holder.expires)
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
