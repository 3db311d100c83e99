"""The writer: it takes all commits that wait, and makes them durable together.

A small group is written on the event loop that asked for it; only its COMMIT, which waits for the disk without the
interpreter lock, goes to a thread. Two threads that take turns at a dozen short statements hand that lock to each other
at every one of them, which costs more than the statements. What is large, what meets another process's lock and what
fails goes to the thread whole, so that the loop never waits.

A group is what one turn of the loop has brought, and while it is on its way to the disk the next gathers: groups grow
with the load.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from fhir_server.errors import FhirServerError, Unavailable
from fhir_server.storage.cipher import STORE, Cipher
from fhir_server.storage.interface import Commit
from fhir_server.storage.sqlite import audit, erase, ledger, reindex
from fhir_server.storage.sqlite.decide import Group
from fhir_server.storage.sqlite.erase import Erase, Settle
from fhir_server.storage.sqlite.flush import Flush
from fhir_server.storage.sqlite.names import HEAD, Head, Interner
from fhir_server.storage.sqlite.reindex import Reindex

Upkeep: TypeAlias = Reindex | Erase | Settle
_UPKEEP: Final = (Reindex, Erase, Settle)
Job: TypeAlias = Commit | Upkeep | audit.Prune | ledger.Change
Loop: TypeAlias = asyncio.AbstractEventLoop

_MOST_JOBS: Final = 512
_MOST_WRITES: Final = 4000
"""A group is closed when it has this many jobs or resource versions, so that none waits long for the others."""

_MOST_ON_LOOP: Final = 32
"""So many resource versions are written without leaving the event loop, which they hold for about 3 ms."""

_OF_ONE: Final = 8_192
"""Bytes of a resource, beyond which it counts as several."""

_MILLISECOND: Final = 1000
_NEW_HEAD: Final = "UPDATE head SET time = ?, rid = ?, vid = ?, sid = ?, pid = ?, seq = ?, hash = ?"

log: Final = structlog.get_logger()


class Unwritable(RuntimeError):
    """A commit holds something that the store has no form for."""


class _Waiting(NamedTuple):
    """A job and who waits for it."""

    job: Job
    future: asyncio.Future[Any]
    loop: Loop


_Work: TypeAlias = "tuple[list[_Waiting], list[Any] | None]"
"""A group, and its outcomes if all that is left to do is COMMIT."""


class Writer:
    """Writes jobs in the order they come."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], int], cipher: Cipher | None = None) -> None:
        self._connection = connection
        self._cipher = cipher
        self._cursor = connection.cursor()
        self._clock = clock
        self._interner = Interner(self._cursor)
        self._queue: deque[_Waiting] = deque()
        self._loops: set[Loop] = set()
        # Those that begin a group as soon as this turn of theirs is over.
        self._called: set[Loop] = set()
        self._closed = False
        # Whoever holds it has the connection and the front of the queue: an event loop, then the thread.
        self._turn = Lock()
        (self._patience,) = self._cursor.execute("PRAGMA busy_timeout").fetchone()
        self._wait_for_lock(0)
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        # A daemon: an interpreter that exits without `close` does not hang; what was acknowledged is on disk.
        self._thread = Thread(target=self._run, name="fhir-server-writer", daemon=True)
        self._thread.start()

    async def submit(self, job: Job) -> Any:
        """What the job comes to, when it is on disk. Raises Stale, Taken, Unavailable or Unwritable."""
        if self._closed:
            raise Unavailable
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append(_Waiting(job, future, loop))
        self._loops.add(loop)
        self._call(loop)
        return await future

    async def close(self) -> None:
        """Write what waits, then stop."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._end)

    # On an event loop.

    def _call(self, loop: Loop) -> None:
        """See to it that a group begins after this turn of the loop, unless one is on its way and will call again."""
        if loop not in self._called and not self._turn.locked():
            self._called.add(loop)
            loop.call_soon(self._gather, loop)

    def _gather(self, loop: Loop) -> None:
        """Begin a group with all that this turn of the loop has brought."""
        self._called.discard(loop)
        if self._queue and self._turn.acquire(blocking=False):
            self._begin()

    def _begin(self) -> None:
        """Write a small group here, all but its COMMIT; leave to the thread what is large or does not go through."""
        taken, writes = self._take()
        outcomes = None
        if writes <= _MOST_ON_LOOP:
            try:
                if self._has_keys(taken):
                    outcomes = self._written([each.job for each in taken])
            except Exception:
                self._undo()
        self._work.put((taken, outcomes))

    def _resume(self, loop: Loop, answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
        """Wake those who wait, and go on with what has gathered meanwhile."""
        for future, outcome in answers:
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        if self._queue:
            self._call(loop)

    def _has_keys(self, waiting: Sequence[_Waiting]) -> bool:
        """Whether the data keys are there that these jobs need: to make one waits for the disk."""
        cipher = self._cipher
        return cipher is None or all(
            cipher.has(write.facts.patient or STORE)
            for each in waiting
            if isinstance(each.job, Commit)
            for write in each.job.writes
        )

    # In the thread.

    def _run(self) -> None:
        while work := self._work.get():
            waiting, outcomes = work
            jobs = [each.job for each in waiting]
            outcomes = self._patiently(jobs) if outcomes is None else self._committed(jobs, outcomes)
            self._turn.release()
            self._answer(waiting, outcomes)

    def _committed(self, jobs: Sequence[Job], outcomes: list[Any]) -> list[Any]:
        """The outcomes of jobs that are written, when they are durable."""
        try:
            self._cursor.execute("COMMIT")
        except Exception as error:
            self._undo()
            return self._apart(jobs, error)
        return outcomes

    def _patiently(self, jobs: Sequence[Job]) -> list[Any]:
        """The outcomes of jobs of which nothing is written, waiting for another process that writes."""
        self._wait_for_lock(self._patience)
        outcomes = self._outcomes(jobs)
        self._wait_for_lock(0)
        return outcomes

    def _answer(self, waiting: Sequence[_Waiting], outcomes: Sequence[Any]) -> None:
        """Wake each event loop once; those too that have nothing in this group may have jobs for the next."""
        answers: dict[Loop, list[tuple[asyncio.Future[Any], Any]]] = {loop: [] for loop in tuple(self._loops)}
        for each, outcome in zip(waiting, outcomes, strict=True):
            answers.setdefault(each.loop, []).append((each.future, outcome))
        for loop, answered in answers.items():
            try:
                loop.call_soon_threadsafe(self._resume, loop, answered)
            except RuntimeError:
                self._loops.discard(loop)
                self._called.discard(loop)
                log.warning("commits were written for an event loop that has closed", commits=len(answered))

    def _end(self) -> None:
        with self._turn:
            while self._queue:
                waiting, _ = self._take()
                self._answer(waiting, self._patiently([each.job for each in waiting]))
            self._work.put(None)
            self._thread.join()
            self._connection.close()

    # Where the turn is.

    def _take(self) -> tuple[list[_Waiting], int]:
        """The front of the queue, and how many resource versions it has."""
        taken: list[_Waiting] = []
        writes = 0
        while self._queue and len(taken) < _MOST_JOBS and writes < _MOST_WRITES:
            taken.append(self._queue.popleft())
            writes += _weight(taken[-1].job)
        return taken, writes

    def _outcomes(self, jobs: Sequence[Job]) -> list[Any]:
        """For each job its result or its exception. One that cannot be written does not stop the others."""
        try:
            outcomes = self._written(jobs)
            self._cursor.execute("COMMIT")
        except Exception as error:
            self._undo()
            return self._apart(jobs, error)
        return outcomes

    def _apart(self, jobs: Sequence[Job], error: Exception) -> list[Any]:
        """The outcomes of jobs that cannot be written together: each alone, unless the store itself is at fault."""
        if len(jobs) > 1 and not isinstance(error, sqlite3.OperationalError):
            return [outcome for job in jobs for outcome in self._outcomes([job])]
        # The kind of error only: its text may hold values.
        kind = getattr(error, "sqlite_errorname", type(error).__name__)
        log.error("a group could not be written", jobs=len(jobs), kind=kind)
        return [Unavailable() if isinstance(error, sqlite3.Error | Unavailable) else Unwritable(kind) for _ in jobs]

    def _undo(self) -> None:
        # What was given an integer in the transaction rolled back has none now.
        self._interner = Interner(self._cursor)
        # A transaction that cannot be ended lets no other begin: all that follow are refused.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")

    def _wait_for_lock(self, milliseconds: int) -> None:
        self._cursor.execute(f"PRAGMA busy_timeout = {milliseconds}").fetchone()

    def _written(self, jobs: Sequence[Job]) -> list[Any]:
        """What each job comes to, in a transaction that is left open."""
        self._cursor.execute("BEGIN IMMEDIATE")
        # Another process may have written since: nothing about the end of the file is remembered.
        head = Head(*self._cursor.execute(HEAD).fetchone())
        now = self._clock()
        head.time = max(now // _MILLISECOND * _MILLISECOND, head.time + _MILLISECOND)
        group = Group(head, head.time)
        self._interner.begin(head)
        # Before anything is read that a commit is decided on, or compared with.
        kept = {id(job): _keep(self._cursor, self._interner, job) for job in jobs if isinstance(job, _UPKEEP)}
        group.load(self._cursor, (job for job in jobs if isinstance(job, Commit)))
        outcomes = [kept[id(job)] if isinstance(job, _UPKEEP) else self._do(job, group, now) for job in jobs]
        Flush(self._cursor, self._interner, head, group, self._cipher).write()
        if any(not isinstance(job, Commit) for job in jobs):
            ledger.sweep(self._cursor, now)
        row = (head.time, head.rid, head.vid, head.sid, head.pid, head.seq, head.hash)
        self._cursor.execute(_NEW_HEAD, row)
        return outcomes

    def _do(self, job: Commit | audit.Prune | ledger.Change, group: Group, now: int) -> Any:
        if isinstance(job, audit.Prune):
            return audit.prune(self._cursor, job, now)
        if not isinstance(job, Commit):
            return ledger.apply(self._cursor, job, now)
        try:
            return group.decide(job)
        except FhirServerError as refusal:
            return refusal


def _keep(cursor: sqlite3.Cursor, interner: Interner, job: Upkeep) -> int:
    match job:
        case Reindex():
            return reindex.apply(cursor, job, interner)
        case Erase():
            return erase.apply(cursor, job, interner)
        case Settle():
            return erase.settle(cursor)


def _weight(job: Job) -> int:
    """How many resource versions it writes, or as much work: a large one counts by its length, and a line of the access
    log is a sixteenth of one."""
    if isinstance(job, Commit):
        return sum([1 + len(write.body) // _OF_ONE for write in job.writes]) + len(job.audits) // 16
    if isinstance(job, Reindex):
        return len(job.rows)
    return _MOST_WRITES if isinstance(job, Erase | Settle) else 1
