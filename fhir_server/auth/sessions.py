"""Login sessions: what a browser's cookie stands for, until it is idle for too long, too old, or ended.

The cookie is 256 random bits, the ledger keeps its SHA-256 (spec access §1). A session knows all that its person may
act as; for a professional with several exercices exactly one is chosen, once, before anything is done in it.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final
from uuid import uuid4

import orjson

from fhir_server.auth.accounts import Accounts, actors_of
from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import actor_bytes
from fhir_server.errors import Conflict
from fhir_server.storage.interface import Ledger

MINUTE: Final = 60_000_000
COOKIE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

_OFTEN: Final = MINUTE // 2
"""A use is written down when the one before is older than that."""


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `id` names it in tokens and in the audit, and opens nothing. `since`: when the person proved who they
    are, `until`: when it ends at the latest, in microseconds. `provider`: "local" or the name of the identity provider.
    `chosen`: which of `actors` was chosen, -1 for none yet."""

    id: str
    actors: tuple[Actor, ...]
    acr: str
    provider: str
    since: int
    until: int
    account: str = ""
    stamp: str = ""
    chosen: int = -1

    @property
    def actor(self) -> Actor | None:
        """As whom the person acts; None while that is not settled."""
        if len(self.actors) == 1:
            return self.actors[0]
        return self.actors[self.chosen] if self.chosen >= 0 else None

    @property
    def professional(self) -> bool:
        """Whether it is the login of a professional, whose exercice is chosen for the whole of it."""
        return any(each.role == "ps" for each in self.actors)


class Sessions:
    """The login sessions of one store. `idle`, `longest`: microseconds."""

    def __init__(self, ledger: Ledger, accounts: Accounts, *, idle: int, longest: int) -> None:
        """`accounts`: asked at each use whether the one that logged in is still there."""
        self._ledger = ledger
        self._accounts = accounts
        self._idle = idle
        self._longest = longest

    async def begin(
        self,
        actors: tuple[Actor, ...],
        *,
        now: int,
        acr: str = "",
        provider: str = "local",
        account: str = "",
        stamp: str = "",
    ) -> str:
        """A new session; what is returned is for the cookie, and the only copy."""
        cookie = secrets.token_urlsafe(32)
        id_ = uuid4().hex
        named = tuple(replace(each, jti=id_, session=id_, acr=acr) for each in actors)
        session = Session(id_, named, acr, provider, now, now + self._longest, account, stamp)
        await self._used(_name(cookie), now)
        await self._ledger.put("login", _name(cookie), _session_bytes(session), expires=session.until)
        return cookie

    async def current(self, cookie: str, *, now: int) -> Session | None:
        """The live session of a cookie; using it keeps it from being idle."""
        if not COOKIE.fullmatch(cookie):
            return None
        name = _name(cookie)
        kept = await self._ledger.get("login", name, now=now)
        seen = await self._ledger.get("login-use", name, now=now)
        if kept is None or seen is None:
            return None
        session = _session_of(kept)
        if session.account and not await self._accounts.stands(session.account, session.stamp, now=now):
            await self.end(cookie)
            return None
        if now - int(seen) >= _OFTEN:
            await self._used(name, now)
        choice = await self._ledger.get("login-choice", name, now=now)
        return _settled(session, choice) if choice else session

    async def choose(self, cookie: str, place: int, actor: Actor, *, now: int) -> Session:
        """Settle as whom the person acts: as the one at that place, of whom `actor` may know more. The first choice
        holds. Raises Conflict when another was made, ValueError for no such place."""
        session = await self.current(cookie, now=now)
        if session is None or not 0 <= place < len(session.actors):
            raise ValueError("there is nobody at that place")
        kept = orjson.dumps([place, orjson.Fragment(actor_bytes(actor))])
        await self._ledger.put("login-choice", _name(cookie), kept, expires=session.until, only_new=True)
        settled = await self.current(cookie, now=now)
        if settled is None or settled.chosen != place:
            raise Conflict("Another choice has been made for this login.")
        return settled

    async def end(self, cookie: str) -> None:
        """End it now, for every process."""
        await self._ledger.delete("login", _name(cookie))

    async def _used(self, name: str, now: int) -> None:
        """Apart from the session itself, so that a use which comes too late cannot bring back one that has ended."""
        await self._ledger.put("login-use", name, str(now).encode(), expires=now + self._idle)


def _session_bytes(session: Session) -> bytes:
    kept = {name: getattr(session, name) for name in Session.__slots__ if name not in ("actors", "chosen")}
    return orjson.dumps(kept | {"actors": [orjson.Fragment(actor_bytes(each)) for each in session.actors]})


def _session_of(data: bytes) -> Session:
    kept = orjson.loads(data)
    return Session(**kept | {"actors": actors_of(kept["actors"])})


def _settled(session: Session, choice: bytes) -> Session:
    place, actor = orjson.loads(choice)
    chosen = actors_of([actor])
    return replace(session, actors=session.actors[:place] + chosen + session.actors[place + 1 :], chosen=place)


def _name(cookie: str) -> str:
    return sha256(cookie.encode()).hexdigest()
