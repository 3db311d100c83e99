"""Which commits of a group stand: what they depend on is read at once, then each is decided in memory, in turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fhir_server.fhir.dates import format_instant
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.storage.interface import AuditRow, Commit, Guard, PolicyGuard, Stale, Taken, Version, Write
from fhir_server.storage.sqlite.names import Head
from fhir_server.storage.sqlite.rows import unpack_facts
from fhir_server.storage.sqlite.statements import select_in

STAMP_LENGTH = len("2026-11-22T01:26:02.123Z")


@dataclass(frozen=True, slots=True)
class Standing:
    """A resource as it stands. `facts`: for a deleted one, those of its last live version."""

    rid: int
    version: int
    deleted: bool
    facts: Facts


@dataclass(frozen=True, slots=True)
class Step:
    """One accepted write: `key` is "Type/id"."""

    key: str
    made: Version
    entries: Entries


def check(commit: Commit) -> None:
    """Refuse what no store can keep: facts of another resource, a public row in a record, a stamp outside the body.

    Raises ValueError."""
    for write in commit.writes:
        if (write.facts.rtype, write.facts.id) != (write.type, write.id):
            raise ValueError("the facts of a write are those of another resource")
        if write.facts.kind == "public" and write.facts.patient is not None:
            raise ValueError("what is public is in nobody's record")
        if write.stamp is not None and not 0 <= write.stamp <= len(write.body) - STAMP_LENGTH:
            raise ValueError("the stamp of a write lies outside its body")


class Group:
    """The commits of one transaction, which share one time. Each is decided in sight of those before it."""

    def __init__(self, head: Head, time: int) -> None:
        self._head = head
        self._time = time
        self._instant = format_instant(time).encode()
        self.before: dict[str, Standing] = {}
        self.now: dict[str, Standing] = {}
        self.packed: dict[str, bytes] = {}
        """By key: the index rows of the current version, as found in the file."""
        self.held_before: dict[str, str] = {}
        self.held: dict[str, str] = {}
        """Unique keys and the resources that hold them."""
        self._holders: set[str] = set()
        self.policies: dict[str, int] = {}
        self.bumped: set[str] = set()
        self.steps: list[Step] = []
        self.audits: list[AuditRow] = []

    def load(self, cursor: sqlite3.Cursor, commits: Iterable[Commit]) -> None:
        """Read what the commits depend on."""
        keys: set[str] = set()
        patients: set[str] = set()
        unique: set[str] = set()
        for commit in commits:
            if _only_logs(commit):
                continue
            patients |= commit.bump
            patients.update(guard.patient for guard in commit.guards if isinstance(guard, PolicyGuard))
            keys.update(_key(guard) for guard in commit.guards if isinstance(guard, Guard))
            keys.update(map(_key, commit.writes))
            unique.update(key for write in commit.writes for key in write.keys)
        self._load_resources(cursor, sorted(keys))
        self._load_policies(cursor, sorted(patients))
        self._load_held(cursor, sorted(unique))

    def decide(self, commit: Commit) -> list[Version]:
        """The new versions. Raises Stale or Taken, and is then as it was."""
        if _only_logs(commit):
            self.audits += commit.audits
            return []
        if not all(map(self._stands, commit.guards)):
            raise Stale
        self._check_bases(commit.writes)
        self._exchange_keys(commit.writes)
        made = [self._accept(write) for write in commit.writes]
        for patient in commit.bump:
            self.policies[patient] = self.policies.get(patient, 0) + 1
        self.bumped |= commit.bump
        self.audits += commit.audits
        return made

    def _load_resources(self, cursor: sqlite3.Cursor, keys: Sequence[str]) -> None:
        select = (
            "SELECT r.key, r.rid, r.version, r.deleted, v.facts, v.entries"
            " FROM resource AS r JOIN version AS v ON v.vid = r.vid WHERE r.key"
        )
        for key, rid, version, deleted, facts, entries in select_in(cursor, select, keys):
            self.before[key] = Standing(rid, version, bool(deleted), unpack_facts(facts))
            self.packed[key] = entries
        self.now.update(self.before)

    def _load_policies(self, cursor: sqlite3.Cursor, patients: Sequence[str]) -> None:
        select = "SELECT s.text, d.policy FROM symbol AS s JOIN record AS d ON d.cid = s.sid WHERE s.text"
        for text, policy in select_in(cursor, select, [f"Patient/{patient}" for patient in patients]):
            self.policies[text.removeprefix("Patient/")] = policy

    def _load_held(self, cursor: sqlite3.Cursor, unique: Sequence[str]) -> None:
        select = "SELECT h.key, r.key FROM held AS h JOIN resource AS r ON r.rid = h.rid WHERE"
        rids = sorted(standing.rid for standing in self.before.values())
        self.held_before.update(select_in(cursor, f"{select} h.key", unique))
        self.held_before.update(select_in(cursor, f"{select} h.rid", rids))
        self.held.update(self.held_before)
        self._holders.update(self.held.values())

    def _stands(self, guard: Guard | PolicyGuard) -> bool:
        if isinstance(guard, Guard):
            return self._reached(_key(guard)) == guard.version
        return self.policies.get(guard.patient, 0) == guard.version

    def _reached(self, key: str) -> int:
        """The current version, 0 for a resource that never was."""
        standing = self.now.get(key)
        return standing.version if standing else 0

    def _check_bases(self, writes: Iterable[Write]) -> None:
        reached: dict[str, int] = {}
        for write in writes:
            key = _key(write)
            if write.version - 1 != reached.get(key, self._reached(key)):
                raise Stale
            reached[key] = write.version

    def _exchange_keys(self, writes: Iterable[Write]) -> None:
        """Each resource written lets its keys go, then takes those of its last write where nobody else has them."""
        last = {_key(write): write for write in writes}
        taken: dict[str, str] = {}
        for taker, write in last.items():
            for key in () if write.deleted else write.keys:
                holder = taken.setdefault(key, taker)
                if holder == taker and self.held.get(key) not in last:
                    holder = self.held.get(key, taker)
                if holder != taker:
                    raise Taken(key, holder)
        if not self._holders.isdisjoint(last):
            self.held = {key: holder for key, holder in self.held.items() if holder not in last}
        self.held.update(taken)
        self._holders.update(taken.values())

    def _accept(self, write: Write) -> Version:
        key = _key(write)
        before = self.now.get(key)
        facts = before.facts if before and write.deleted else write.facts
        standing = Standing(before.rid if before else self._new_rid(), write.version, write.deleted, facts)
        made = Version(
            write.type, write.id, write.version, self._time, write.deleted, self._stamped(write), facts, standing.rid
        )
        self.now[key] = standing
        self.steps.append(Step(key, made, write.entries))
        return made

    def _new_rid(self) -> int:
        self._head.rid += 1
        return self._head.rid

    def _stamped(self, write: Write) -> bytes:
        if write.deleted:
            return b""
        if write.stamp is None:
            return write.body
        return write.body[: write.stamp] + self._instant + write.body[write.stamp + STAMP_LENGTH :]


def _only_logs(commit: Commit) -> bool:
    """Whether it depends on nothing: most do, as each read has its line in the access log."""
    return not (commit.writes or commit.guards or commit.bump)


def _key(named: Write | Guard) -> str:
    return f"{named.type}/{named.id}"
