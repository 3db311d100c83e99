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
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, TypeAlias

from fhir_server.errors import FhirServerError, Unavailable
from fhir_server.storage.interface import Commit
from fhir_server.storage.sqlite import ledger, reindex
from fhir_server.storage.sqlite.decide import Group
from fhir_server.storage.sqlite.flush import Flush
from fhir_server.storage.sqlite.names import Head, Interner
from fhir_server.storage.sqlite.reindex import Reindex

Job: TypeAlias = Commit | Reindex | ledger.Put | ledger.Delete
Loop: TypeAlias = asyncio.AbstractEventLoop

_MOST_JOBS: Final = 512
_MOST_WRITES: Final = 4000
"""A group is closed when it has this many jobs or resource versions, so that none waits long for the others."""

_MOST_ON_LOOP: Final = 32
"""So many resource versions are written without leaving the event loop, which they hold for about 3 ms."""

_MILLISECOND: Final = 1000
_HEAD: Final = "SELECT time, rid, vid, sid, pid, seq, hash FROM head"
_NEW_HEAD: Final = "UPDATE head SET time = ?, rid = ?, vid = ?, sid = ?, pid = ?, seq = ?, hash = ?"

_log: Final = logging.getLogger(__name__)


class Unwritable(RuntimeError):
    """A commit holds something that the store has no form for."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A job and who waits for it."""

    job: Job
    future: asyncio.Future[Any]
    loop: Loop


_Work: TypeAlias = "tuple[list[_Waiting], list[Any] | None]"
"""A group, and its outcomes if all that is left to do is COMMIT."""


class Writer:
    """Writes jobs in the order they come."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], int]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._clock = clock
        self._interner = Interner(self._cursor)
        self._queue: deque[_Waiting] = deque()
        self._loops: set[Loop] = set()
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
        if not self._turn.locked():
            loop.call_soon(self._gather)
        return await future

    async def close(self) -> None:
        """Write what waits, then stop."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._end)

    # On an event loop.

    def _gather(self) -> None:
        """Begin a group with all that this turn of the loop has brought."""
        if self._queue and self._turn.acquire(blocking=False):
            self._begin()

    def _begin(self) -> None:
        """Write a small group here, all but its COMMIT; leave to the thread what is large or does not go through."""
        taken, writes = self._take()
        outcomes = None
        if writes <= _MOST_ON_LOOP:
            try:
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
            loop.call_soon(self._gather)

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
                _log.warning("%d commits were written for an event loop that has closed", len(answered))

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
        _log.error("a group of %d could not be written: %s", len(jobs), kind)
        return [Unavailable() if isinstance(error, sqlite3.Error) else Unwritable(kind) for _ in jobs]

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
        head = Head(*self._cursor.execute(_HEAD).fetchone())
        now = self._clock()
        head.time = max(now // _MILLISECOND * _MILLISECOND, head.time + _MILLISECOND)
        group = Group(head, head.time)
        self._interner.begin(head)
        # Before anything is read that a commit is decided on, or compared with.
        reindexed = {
            id(job): reindex.apply(self._cursor, job, self._interner) for job in jobs if isinstance(job, Reindex)
        }
        group.load(self._cursor, (job for job in jobs if isinstance(job, Commit)))
        outcomes = [reindexed[id(job)] if isinstance(job, Reindex) else self._do(job, group, now) for job in jobs]
        Flush(self._cursor, self._interner, head, group).write()
        if any(not isinstance(job, Commit) for job in jobs):
            ledger.sweep(self._cursor, now)
        row = (head.time, head.rid, head.vid, head.sid, head.pid, head.seq, head.hash)
        self._cursor.execute(_NEW_HEAD, row)
        return outcomes

    def _do(self, job: Commit | ledger.Put | ledger.Delete, group: Group, now: int) -> Any:
        if not isinstance(job, Commit):
            return ledger.apply(self._cursor, job, now)
        try:
            return group.decide(job)
        except FhirServerError as refusal:
            return refusal


def _weight(job: Job) -> int:
    """How many resource versions it writes, or as much work; a line of the access log is a sixteenth of one."""
    if isinstance(job, Reindex):
        return len(job.rows)
    return len(job.writes) + len(job.audits) // 16 if isinstance(job, Commit) else 1
