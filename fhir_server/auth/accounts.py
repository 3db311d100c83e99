"""Local accounts: who may log in with a password, or with an identity that an enrolment code has bound to them.

Spec access §1. An account says as whom its person acts: a patient in the own record, a representative in that of each
child, an administrator. It is kept in the ledger, the password as argon2id only.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.auth.lockout import attempt
from fhir_server.auth.passwords import LONGEST, Passwords
from fhir_server.auth.tokens import ACCOUNT, actor_bytes, actor_of, end_session
from fhir_server.errors import Conflict, Invalid, NotFound, Unauthenticated
from fhir_server.storage.interface import Ledger

SHORTEST: Final = 12
"""Characters of a password; no other rule, as ANSSI and NIST SP 800-63B have it for passwords with a lockout."""

HOUR: Final = 3_600_000_000

_KIND: Final = "account"
_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,99}", re.ASCII)
# Without the letters and digits that are taken for one another.
_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_CODE_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class Account:
    """`id`: of this account alone, whoever had its login before; `actors`: as whom this person may act, one is chosen
    at a time; `stamp`: changes with the password, and ends the login sessions that were begun with the one before;
    `hash`: "" when the account has no password."""

    login: str
    actors: tuple[Actor, ...]
    hash: str = ""
    stamp: str = ""
    id: str = ""

    @property
    def name(self) -> bytes:
        """What a code or an identity that is bound to the account says: no other that gets the same login later."""
        return f"{self.login} {self.id}".encode()


class Accounts:
    """The accounts of one store."""

    def __init__(self, ledger: Ledger, passwords: Passwords) -> None:
        """`passwords`: what makes and checks their hashes."""
        self._ledger = ledger
        self._passwords = passwords

    async def add(self, login: str, actors: tuple[Actor, ...], password: str = "") -> Account:
        """A new account; without a password it is entered by a bound identity. Raises Conflict, or Invalid."""
        name = normal_login(login)
        if not _LOGIN.fullmatch(name):
            raise Invalid("A login has 2 to 100 letters, digits or . _ @ + - and begins with a letter or digit.")
        hash = await self._hash(password) if password else ""
        account = Account(name, actors, hash, stamp=secrets.token_hex(8), id=secrets.token_hex(8))
        if not await self._ledger.put(_KIND, name, account_bytes(account), expires=None, only_new=True):
            raise Conflict("There is an account of that name.")
        return account

    async def get(self, login: str, *, now: int) -> Account:
        """Raises NotFound."""
        kept = await self._ledger.get(_KIND, normal_login(login), now=now)
        if kept is None:
            raise NotFound("There is no account of that name.")
        return account_of(kept)

    async def set_password(self, login: str, password: str, *, now: int) -> None:
        """From now on it is this one; login sessions of the account end, and what was granted in them. Raises NotFound
        or Invalid."""
        account = await self.get(login, now=now)
        changed = replace(account, hash=await self._hash(password), stamp=secrets.token_hex(8))
        await self._ledger.put(_KIND, account.login, account_bytes(changed), expires=None)
        await end_session(self._ledger, f"{ACCOUNT}{account.login}", now=now)

    async def remove(self, login: str, *, now: int) -> bool:
        """Whether there was one; its login sessions end with it, and what was granted in them."""
        name = normal_login(login)
        known = await self._ledger.delete(_KIND, name)
        await end_session(self._ledger, f"{ACCOUNT}{name}", now=now)
        return known

    async def log_in(self, login: str, password: str, *, now: int) -> Account:
        """The account whose password this is. Raises Unauthenticated for all that is wrong with either, Delayed after
        too many failures under that name."""
        name = normal_login(login)[:200]
        async with attempt(self._ledger, name, now=now) as tried:
            kept = await self._ledger.get(_KIND, name, now=now)
            account = account_of(kept) if kept else Account(name, ())
            tried.succeeded = await self._passwords.verify(account.hash, password)
            if tried.succeeded:
                return account
        raise Unauthenticated("This login and password are not known.")

    async def stands(self, login: str, stamp: str, *, now: int) -> bool:
        """Whether the account is still there, with the password of that stamp."""
        kept = await self._ledger.get(_KIND, login, now=now)
        return kept is not None and account_of(kept).stamp == stamp

    async def enrolment_code(self, login: str, *, now: int, ttl: int = 24 * HOUR) -> str:
        """A code, good once, by which the next outside identity that gives it is bound to the account."""
        account = await self.get(login, now=now)
        code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
        await self._ledger.put("enrolment", _digest(code), account.name, expires=now + ttl)
        return "-".join(code[place : place + 4] for place in range(0, _CODE_LENGTH, 4))

    async def bind(self, issuer: str, subject: str, code: str, *, now: int) -> Account:
        """Bind an outside identity to the account that the code was made for, and use the code up.

        Never by identity traits. Raises Unauthenticated when the code is not good, Delayed after too many failures.
        """
        identity = _digest(issuer, subject)
        async with attempt(self._ledger, identity, now=now) as tried:
            spelt = _digest("".join(each for each in code.upper() if each.isalnum()))
            account = await self._named(await self._ledger.take("enrolment", spelt), now)
            tried.succeeded = account is not None
            if account is not None:
                await self._ledger.put("identity", identity, account.name, expires=None)
                return account
        raise Unauthenticated("This code is not known, or no longer good.")

    async def bound(self, issuer: str, subject: str, *, now: int) -> Account | None:
        """The account that an outside identity is bound to."""
        return await self._named(await self._ledger.get("identity", _digest(issuer, subject), now=now), now)

    async def _named(self, name: bytes | None, now: int) -> Account | None:
        """The account of `Account.name`, if it is there and the same."""
        kept = await self._ledger.get(_KIND, name.decode().partition(" ")[0], now=now) if name else None
        account = account_of(kept) if kept else None
        return account if account and account.name == name else None

    async def _hash(self, password: str) -> str:
        if len(password) < SHORTEST:
            raise Invalid(f"A password has at least {SHORTEST} characters.")
        if len(password) > LONGEST:
            raise Invalid(f"A password has at most {LONGEST} characters.")
        return await self._passwords.hash(password)


def normal_login(text: str) -> str:
    """A login as it is compared: without surrounding blanks, in small letters."""
    return text.strip().lower()


def account_bytes(account: Account) -> bytes:
    """The account as JSON."""
    kept = {"login": account.login, "hash": account.hash, "stamp": account.stamp, "id": account.id}
    return orjson.dumps(kept | {"actors": [orjson.Fragment(actor_bytes(each)) for each in account.actors]})


def account_of(data: bytes) -> Account:
    """The account of `account_bytes`."""
    kept = orjson.loads(data)
    return Account(kept["login"], actors_of(kept["actors"]), kept["hash"], kept["stamp"], kept["id"])


def actors_of(kept: list[dict[str, Any]]) -> tuple[Actor, ...]:
    """Actors out of JSON; raises ValueError for what is none."""
    return tuple(actor_of(orjson.dumps(each, option=orjson.OPT_SORT_KEYS)) for each in kept)


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()
