"""How much one person, one software, one address may ask, and how many new records a professional may open.

Spec access §9. Requests are counted in memory, at no cost to them; where a limit comes near, what was used is told to
the other processes on the store through the ledger, about once a second. A name in the ledger is a hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Final
from uuid import uuid4

import orjson
import structlog

from fhir_server.auth.actor import Actor
from fhir_server.errors import StepUp, TooManyRequests
from fhir_server.settings import Settings
from fhir_server.storage.interface import Ledger

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_REMEMBERED: Final = 90 * 24 * _HOUR
"""How long a record that a professional has opened is not new to them."""

_NEAR: Final = 0.75
"""A bucket with less than this share left is told to the other processes."""

_TOLD_FOR: Final = 5 * _SECOND
_MOST: Final = 100_000

log = structlog.get_logger()


class Throttled(TooManyRequests):
    """Too many requests; wait and retry."""

    def __init__(self, seconds: int, *, first: bool) -> None:
        """`first`: the first to be refused since one was let through; only that one is written to the access log."""
        super().__init__(seconds=seconds)
        self.first = first


@dataclass(slots=True)
class _Bucket:
    """What is left, when that was, how much was taken since it was made, what of it the others know; whether the last
    who came was refused."""

    left: float
    at: int
    taken: int = 0
    told: int = 0
    refused: bool = False
    key: str = ""

    def key_of(self, name: str) -> str:
        """The hash of its name."""
        self.key = self.key or _hash(name)
        return self.key


@dataclass(slots=True)
class Rate:
    """So many a minute for each name, which may come at once; 0: as many as they like. `others`: what other processes
    have used up, by the hash of the name."""

    most: int
    buckets: dict[str, _Bucket] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)

    def take(self, name: str, now: int) -> None:
        """One more under that name. Raises Throttled when none is left."""
        most = self.most
        if not most or not name:
            return
        bucket = self.buckets.get(name)
        if bucket is None:
            used = self.others.get(_hash(name), 0) if self.others else 0
            bucket = self.buckets[name] = _Bucket(most - used, now)
        left = bucket.left + (now - bucket.at) * most / _MINUTE
        bucket.at = now
        if left < 1:
            bucket.left, first, bucket.refused = left, not bucket.refused, True
            raise Throttled(-int((left - 1) * 60 // most), first=first)
        bucket.left = (most if left > most else left) - 1
        bucket.taken += 1
        bucket.refused = False

    def forget(self, now: int) -> None:
        """Let go of those who have not asked for long."""
        for name in [name for name, each in self.buckets.items() if self.left(each, now) >= self.most]:
            del self.buckets[name]

    def left(self, bucket: _Bucket, now: int) -> float:
        """How many it has, were it not to be more than there can be."""
        return bucket.left + (now - bucket.at) * self.most / _MINUTE

    def used_up(self, now: int) -> dict[str, tuple[int, int, float]]:
        """What others are to know: how much was taken of each that is nearly used up, how much of that since they were
        told, and how much it lacks."""
        told = {}
        for name, each in self.buckets.items():
            left = self.left(each, now)
            if each.taken > each.told and left < self.most * _NEAR:
                told[each.key_of(name)] = (each.taken, each.taken - each.told, self.most - left)
            each.told = each.taken
        return told

    def take_over(self, told: Mapping[str, tuple[int, int, float]], seen: dict[str, int]) -> None:
        """Count what another process has let through. `seen`: how much of it was counted before."""
        for name, bucket in self.buckets.items() if told else ():
            key = bucket.key_of(name)
            taken, lately, _ = told.get(key, (0, 0, 0))
            if taken:
                used = taken - seen[key] if seen.get(key, taken + 1) <= taken else lately
                bucket.left = max(bucket.left - used, -self.most)
                seen[key] = taken
        self.others |= {key: lacking for key, (_, _, lacking) in told.items()}


class Limits:
    """The limits of one process, in step with those of the others on the same store."""

    def __init__(self, settings: Settings, ledger: Ledger, clock: Callable[[], int]) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._process = uuid4().hex
        self._rates = {
            "subject": Rate(settings.rate_subject),
            "client": Rate(settings.rate_client),
            "address": Rate(settings.rate_address),
            "lookup": Rate(settings.rate_lookup),
        }
        self._subjects, self._clients = self._rates["subject"], self._rates["client"]
        self._seen: dict[str, dict[str, dict[str, int]]] = {}
        self._opened: dict[tuple[str, str], None] = {}
        self._proxies = frozenset(settings.trusted_proxies.split())

    def address(self, peer: str, forwarded: str) -> None:
        """A request from that peer; `forwarded`: its X-Forwarded-For, believed from a configured proxy only. Raises
        Throttled."""
        if self._proxies and peer in self._proxies:
            named = [each.strip() for each in forwarded.split(",")]
            peer = next((each for each in reversed(named) if each and each not in self._proxies), peer)
        self._rates["address"].take(_network(peer) if ":" in peer else peer, self._clock())

    def caller(self, actor: Actor) -> None:
        """A request of that caller. Raises Throttled."""
        now = self._clock()
        self._subjects.take(_who(actor) or actor.jti, now)
        if actor.client:
            self._clients.take(actor.client, now)

    def lookup(self, actor: Actor) -> None:
        """A search for a patient by identity. Raises Throttled."""
        self._rates["lookup"].take(_who(actor), self._clock())

    async def opened(self, actor: Actor, patient: str) -> None:
        """A professional comes to the record of that patient. Raises TooManyRequests, or StepUp where a stronger login
        would let them, when too many records are new to them in one hour."""
        most, who = self._settings.new_patients, _who(actor)
        if not most or (who, patient) in self._opened:
            return
        now, key = self._clock(), _hash(f"{who} {patient}")
        if await self._ledger.get("opened", key, now=now) is None:
            await self._new(actor, who, most, now)
            await self._ledger.put("opened", key, b"", expires=now + _REMEMBERED)
        if len(self._opened) > _MOST:
            self._opened.clear()
        self._opened[who, patient] = None

    async def _new(self, actor: Actor, who: str, most: int, now: int) -> None:
        """Take one of the places of this hour, each of which is free again after an hour."""
        wanted = self._settings.step_up_acr
        if wanted and actor.acr == wanted:
            most *= 2
        for place in range(most):
            key = f"{_hash(who)} {place}"
            if await self._ledger.get("new-patient", key, now=now) is None and await self._ledger.put(
                "new-patient", key, b"", expires=now + _HOUR, only_new=True
            ):
                return
        log.warning("anti-snooping: too many new records in an hour", caller=actor.reference, client=actor.client)
        if wanted and actor.acr != wanted:
            raise StepUp(wanted)
        raise TooManyRequests("Too many records that are new to this caller; wait and retry.", seconds=600)

    async def reconcile(self) -> None:
        """Tell the other processes what is nearly used up here, and count what they have let through."""
        now = self._clock()
        told = {kind: rate.used_up(now) for kind, rate in self._rates.items()}
        if any(told.values()):
            await self._ledger.put("rate", self._process, orjson.dumps(told), expires=now + _TOLD_FOR)
        others = [each for each in await self._ledger.keys("rate", now=now) if each != self._process]
        self._seen = {each: self._seen.get(each, {kind: {} for kind in self._rates}) for each in others}
        heard = {each: orjson.loads(await self._ledger.get("rate", each, now=now) or b"{}") for each in others}
        for kind, rate in self._rates.items():
            rate.forget(now)
            rate.others.clear()
            for other, said in heard.items():
                rate.take_over(said.get(kind, {}), self._seen[other][kind])


def _who(actor: Actor) -> str:
    """The professional, whatever token and structure they come with."""
    return next((key for key in actor.keys if key.startswith("rpps:")), actor.reference)


def _network(address: str) -> str:
    """Of IPv6, what one subscriber has."""
    try:
        version = ip_address(address).version
        return str(ip_network(f"{address}/64", strict=False)) if version == 6 else address
    except ValueError:
        return address


def _hash(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:32]
