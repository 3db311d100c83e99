"""The storage contract. A store keeps bytes and index entries; it never knows what a resource means.

**Reading.** All reading happens in a `Snapshot`: every verb called on one snapshot sees the same committed state,
policy versions included, so a decision and the data it was made for cannot come apart. Every reading verb demands
`visible`, the caller's predicate; there is no overload without it. A row that does not satisfy it is treated as
absent, before limits, counts and order. Stores judge with their own compiled form and assert `search.match.holds` on
every row that leaves; a mismatch raises.

**Deleted resources.** `search`, `count`, `AllRefs` and `AnyRef` see live resources only. `read` and `history` show a
deleted resource as `Version(deleted=True, body=b"")`, judged by the facts of its last live version.

**Versions** number from 1 without gaps. `history` and `read(version=n)` judge a version by the current facts *and* by
the facts it was written with; for a deletion, those of the last live version.

**Writing.** `commit` is atomic: all writes, guards, policy steps and audit rows of one `Commit`, or none. When it has
returned, the data survives a crash of the machine. Times are given by the store: `meta.lastUpdated` (milliseconds)
never runs backwards in commit order, and two commits that a snapshot can tell apart never share one.

**Compartments.** Rows of one patient lie together; `Snapshot.compartment` is the routing question (which record is this
in?), asked only by `consent.narrow` to find the policy that decides.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from fhir_server.errors import Conflict
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate


class Version(NamedTuple):
    """One version of one resource. `time`: meta.lastUpdated, microseconds since 1970 UTC, a whole number of
    milliseconds. `position`: the store's own stable order, grows with creation; unknown to clients. `order`: in the
    answer to a search, the row's value of each sort key of the plan; in `changes`, the one number of its place.

    A named tuple: an answer is made of thousands, at a sixth of what a frozen dataclass costs."""

    type: str
    id: str
    version: int
    time: int
    deleted: bool
    body: bytes
    facts: Facts
    position: int = 0
    order: tuple[str | int | float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """One new version. Its base must be the current version: `version - 1`, or 0 for a resource that never was.

    `body`: the whole resource as JSON, "" for a deletion; `stamp`: the offset in it of the 24 characters that the store
    overwrites with meta.lastUpdated (`2026-11-22T01:26:02.123Z`), None when there is no such place.
    `keys`: strings unique among live resources, held until the resource is deleted or written without them.
    """

    type: str
    id: str
    version: int
    body: bytes
    facts: Facts
    entries: Entries = field(default_factory=Entries)
    deleted: bool = False
    stamp: int | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guard:
    """Holds while that resource's current version is `version` (0: it never was)."""

    type: str
    id: str
    version: int


@dataclass(frozen=True, slots=True)
class PolicyGuard:
    """Holds while the policy version of that patient is `version`."""

    patient: str
    version: int


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the access log. `body`: canonical JSON (RFC 8785) without floats; the store links it into the hash
    chain as it stands. `id`: the AuditEvent's id. `time`: microseconds."""

    id: str
    patient: str | None
    time: int
    body: bytes


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An audit row as kept: `seq` its place in the chain, `hash` = SHA-256(hash of the row before ‖ body)."""

    seq: int
    hash: bytes
    row: AuditRow


@dataclass(frozen=True, slots=True)
class Commit:
    """What is written together. `bump`: patients whose policy version is raised by one."""

    writes: tuple[Write, ...] = ()
    guards: tuple[Guard | PolicyGuard, ...] = ()
    bump: frozenset[str] = frozenset()
    audits: tuple[AuditRow, ...] = ()


class Stale(Conflict):
    """The record changed while the request was being prepared; retry."""


class Taken(Conflict):
    """A live resource already holds that key."""

    def __init__(self, key: str, holder: str) -> None:
        """`holder`: "Type/id" of the live resource; for the server's own use, never for an answer."""
        super().__init__()
        self.key = key
        self.holder = holder


class Snapshot(Protocol):
    """One consistent view of the store."""

    async def read(self, type: str, id: str, *, visible: Predicate, version: int | None = None) -> Version | None:
        """The current (or that) version, or None when absent or not visible."""

    async def history(
        self,
        type: str,
        id: str,
        *,
        visible: Predicate,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        before: int | None = None,
        limit: int = 20,
    ) -> list[Version]:
        """Versions of one resource, newest first, those below version `before` if given; `since` and `at` as in
        `changes`."""

    async def changes(
        self,
        types: Sequence[str],
        *,
        visible: Predicate,
        patients: Sequence[str | None] | None = None,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        before: int | None = None,
        limit: int = 20,
    ) -> list[Version]:
        """Versions of all resources of those types, deletions included, the last written first; judged as in `history`.

        `patients`: as in a Plan, and None for what is in nobody's record. `since`: written at that time or later. `at`:
        current at some moment of [low, high).
        `before`: those that come after the one with that `order`.
        """

    async def search(self, plan: Plan, *, visible: Predicate) -> list[Version]:
        """One page: the live rows of `plan.types` that satisfy `plan.where` and `visible`, in the plan's order."""

    async def count(self, plan: Plan, *, visible: Predicate) -> int:
        """How many rows the whole search has, whatever `after` and `limit` say."""

    async def compartment(self, type: str, id: str) -> str | None:
        """The patient whose record holds that resource (deleted ones too), None for other rows and absent ones."""

    async def policy_version(self, patient: str) -> int:
        """0 until the first commit that bumps it."""

    async def audits(
        self,
        patient: str,
        *,
        visible: Predicate,
        since: int | None = None,
        until: int | None = None,
        before: int | None = None,
        limit: int = 20,
    ) -> list[AuditEntry]:
        """The access log of one patient, newest first: time in [since, until), seq below `before`. Nothing unless
        `visible` holds for Facts(rtype="AuditEvent", kind="record", patient=patient)."""

    async def audit(self, id: str, *, visible: Predicate) -> AuditEntry | None:
        """One line by its id, under the same rule."""


class Ledger(Protocol):
    """Small secrets and one-time things outside the record: tokens, keys, replay marks. Values are bytes."""

    async def get(self, kind: str, key: str, *, now: int) -> bytes | None:
        """The live value: not expired at `now` (microseconds)."""

    async def put(self, kind: str, key: str, value: bytes, *, expires: int | None, only_new: bool = False) -> bool:
        """Keep it durably; False (and nothing changed) when `only_new` and the key is there already."""

    async def delete(self, kind: str, key: str) -> bool:
        """Whether it was there."""

    async def take(self, kind: str, key: str) -> bytes | None:
        """The live value, which is gone with that: of many who take it at once, one has it."""

    async def swap(self, kind: str, key: str, old: bytes, new: bytes, *, expires: int | None) -> bool:
        """Put `new` in the place of `old`; False (and nothing changed) when the live value is another or none."""

    async def keys(self, kind: str, *, prefix: str = "", now: int) -> list[str]:
        """The keys of the live values of that kind, those that begin with `prefix`, in the order of their bytes."""


class System(Protocol):
    """The unrestricted view: migrations, audit verification, retention. Nothing that answers a request touches it."""

    def audit_chain(self, first: int = 1) -> AsyncIterator[AuditEntry]:
        """Every row from `first`, by seq."""

    async def audit_head(self) -> tuple[int, bytes]:
        """(seq, hash) of the last row as the store recorded it; (0, genesis) for an empty chain."""

    async def prune_audit(self, until: int, kind: str, key: str, value: bytes) -> int:
        """Let go of the rows up to seq `until`, and keep `value` in the ledger, as one commit; how many rows they were.
        The numbers and hashes of the others stay."""

    async def erase(self, patient: str, audits: Sequence[AuditRow] = ()) -> int:
        """Take the record of a patient out for good: every version of all that is in it, and of the content of its
        documents; how many they were. In a store that is encrypted its data key is destroyed first. The access log of
        the record stays, and `audits` are written to it before anything else is done; so does the policy version, which
        is raised."""

    async def rewrap(self, told: Callable[[int], None] = ...) -> int:
        """In a store that is encrypted, wrap by the present KEK every data key that another still wraps; how many they
        were. Each by itself, so that it can be broken off and begun again. `told` learns how many are looked at."""

    async def counts(self) -> dict[str, int]:
        """Live resources by type."""

    async def live(self, *, after: int = 0, limit: int = 500) -> list[Version]:
        """Live resources of every type in the order of `position`, those beyond `after`: the way of a reindex."""

    async def orphans(self, until: int, *, after: int = 0, limit: int = 500) -> tuple[list[Version], int]:
        """Of the `limit` Binaries beyond position `after`, in that order: those that are live, deposited at `until` or
        before (`Facts.deposited_at`), and among the links of no version that ever was of any resource; without their
        bodies. And the position to go on from, 0 after the last Binary."""

    async def reindex(self, rows: Sequence[tuple[Version, Entries]]) -> int:
        """Put these entries in the place of those that each version has, as one commit; how many it did. A version that
        is not current any more is passed over: what replaced it was indexed when it was written."""


class Store(Protocol):
    """One open store."""

    ledger: Ledger

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """A consistent view for the length of the block."""

    async def commit(self, commit: Commit) -> Sequence[Version]:
        """All or nothing; the new versions, stamped, in the order of `commit.writes`. Raises Stale or Taken."""

    def system(self) -> System:
        """The unrestricted view."""

    async def close(self) -> None:
        """Finish what is being written, then let go of the store."""
