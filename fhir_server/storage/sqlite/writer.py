"""The one thread that writes: it takes all commits that wait, and makes them durable together.

A group costs one fsync and about fifteen statements however many commits it holds. While it is being written the next
group gathers, so that groups grow with the load.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeAlias

from fhir_server.errors import FhirServerError, Unavailable
from fhir_server.storage.interface import Commit
from fhir_server.storage.sqlite import ledger
from fhir_server.storage.sqlite.decide import Group
from fhir_server.storage.sqlite.flush import Flush
from fhir_server.storage.sqlite.names import Head, Interner

Job: TypeAlias = Commit | ledger.Put | ledger.Delete

_MOST_JOBS: Final = 512
_MOST_WRITES: Final = 4000
"""A group is closed when it has this many jobs or resource versions, so that none waits long for the others."""

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
    loop: asyncio.AbstractEventLoop


class Writer:
    """Writes jobs in the order they come."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], int]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._clock = clock
        self._interner = Interner()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._closed = False
        # A daemon: an interpreter that exits without `close` does not hang; what was acknowledged is on disk.
        self._thread = Thread(target=self._run, name="fhir-server-writer", daemon=True)
        self._thread.start()

    async def submit(self, job: Job) -> Any:
        """What the job comes to, when it is on disk. Raises Stale, Taken, Unavailable or Unwritable."""
        if self._closed:
            raise Unavailable
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.put(_Waiting(job, future, loop))
        return await future

    async def close(self) -> None:
        """Write what waits, then stop."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _run(self) -> None:
        open = True
        while open:
            waiting, open = self._next()
            if waiting:
                _answer(waiting, self._outcomes([each.job for each in waiting]))

    def _next(self) -> tuple[list[_Waiting], bool]:
        """All that wait, at least one; False when nothing comes after them."""
        taken: list[_Waiting] = []
        writes = 0
        each = self._queue.get()
        while each is not None:
            taken.append(each)
            writes += len(each.job.writes) if isinstance(each.job, Commit) else 1
            if len(taken) >= _MOST_JOBS or writes >= _MOST_WRITES:
                return taken, True
            try:
                each = self._queue.get_nowait()
            except Empty:
                return taken, True
        return taken, False

    def _outcomes(self, jobs: Sequence[Job]) -> list[Any]:
        """For each job its result or its exception. One that cannot be written does not stop the others."""
        try:
            return self._transact(jobs)
        except Exception as error:
            # What was given an integer in the transaction rolled back has none now.
            self._interner = Interner()
            if len(jobs) > 1 and not isinstance(error, sqlite3.OperationalError):
                return [outcome for job in jobs for outcome in self._outcomes([job])]
            # The kind of error only: its text may hold values.
            kind = getattr(error, "sqlite_errorname", type(error).__name__)
            _log.error("a group of %d could not be written: %s", len(jobs), kind)
            return [Unavailable() if isinstance(error, sqlite3.Error) else Unwritable(kind) for _ in jobs]

    def _transact(self, jobs: Sequence[Job]) -> list[Any]:
        self._cursor.execute("BEGIN IMMEDIATE")
        try:
            outcomes = self._write(jobs)
            self._cursor.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
            raise
        return outcomes

    def _write(self, jobs: Sequence[Job]) -> list[Any]:
        # Another process may have written since: nothing about the end of the file is remembered.
        head = Head(*self._cursor.execute(_HEAD).fetchone())
        now = self._clock()
        head.time = max(now // _MILLISECOND * _MILLISECOND, head.time + _MILLISECOND)
        group = Group(head, head.time)
        group.load(self._cursor, (job for job in jobs if isinstance(job, Commit)))
        outcomes = [self._do(job, group, now) for job in jobs]
        Flush(self._cursor, self._interner, head, group).write()
        if any(not isinstance(job, Commit) for job in jobs):
            ledger.sweep(self._cursor, now)
        row = (head.time, head.rid, head.vid, head.sid, head.pid, head.seq, head.hash)
        self._cursor.execute(_NEW_HEAD, row)
        return outcomes

    def _do(self, job: Job, group: Group, now: int) -> Any:
        if not isinstance(job, Commit):
            return ledger.apply(self._cursor, job, now)
        try:
            return group.decide(job)
        except FhirServerError as refusal:
            return refusal


def _answer(waiting: Iterable[_Waiting], outcomes: Iterable[Any]) -> None:
    """Wake those who wait, each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for each, outcome in zip(waiting, outcomes, strict=True):
        by_loop.setdefault(each.loop, []).append((each.future, outcome))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:
            _log.warning("%d commits were written for an event loop that has closed", len(answers))


def _resolve(answers: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
