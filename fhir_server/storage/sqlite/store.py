"""The store in one SQLite file: one writing thread, any number of snapshots read inline on the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from fhir_server.search.entries import Entries
from fhir_server.storage.interface import AuditEntry, Commit, Ledger, Version
from fhir_server.storage.sqlite import audit
from fhir_server.storage.sqlite.database import connect, prepare
from fhir_server.storage.sqlite.decide import check
from fhir_server.storage.sqlite.ledger import SqliteLedger
from fhir_server.storage.sqlite.pool import Pool, SnapshotContext
from fhir_server.storage.sqlite.read import COLUMNS, version_of
from fhir_server.storage.sqlite.reindex import Reindex
from fhir_server.storage.sqlite.writer import Writer

_WRITER_CACHE_KIB: Final = 64 << 10
_READER_CACHE_KIB: Final = 8 << 10
_READER_BUSY: Final = 1.0
"""Seconds. Readers meet a lock only while a file is being recovered; they hold up the event loop meanwhile."""

_CHAIN_PAGE: Final = 500
_COUNTS: Final = (
    "SELECT s.text, count(*) FROM resource AS r JOIN symbol AS s ON s.sid = r.type WHERE r.deleted = 0 GROUP BY r.type"
)
_LIVE: Final = (
    f"SELECT v.rid, {COLUMNS} FROM resource AS r JOIN version AS v ON v.vid = r.vid"
    " WHERE r.rid > ? AND r.deleted = 0 ORDER BY r.rid LIMIT ?"
)


class SqliteStore:
    """storage.interface.Store. `busy`: seconds to wait for another process that writes to the same file."""

    def __init__(self, path: str | Path, *, clock: Callable[[], int], busy: float = 5.0) -> None:
        connection = connect(str(path), writes=True, busy=busy, cache_kib=_WRITER_CACHE_KIB)
        try:
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._pool = Pool(partial(connect, str(path), writes=False, busy=_READER_BUSY, cache_kib=_READER_CACHE_KIB))
        self._writer = Writer(connection, clock)
        self.ledger: Ledger = SqliteLedger(self._pool.reader, self._writer.submit)

    def snapshot(self) -> SnapshotContext:
        """A consistent view: what had been committed when its first verb is called."""
        return SnapshotContext(self._pool)

    async def commit(self, commit: Commit) -> Sequence[Version]:
        """Durable when it returns. Raises Stale, Taken, Unavailable; ValueError for a write that contradicts itself."""
        check(commit)
        made: Sequence[Version] = await self._writer.submit(commit)
        return made

    def system(self) -> SqliteSystem:
        """The unrestricted view."""
        return SqliteSystem(self._pool, self._writer)

    async def close(self) -> None:
        """Write what waits, then let go of the file."""
        await self._writer.close()
        self._pool.close()


class SqliteSystem:
    """storage.interface.System."""

    def __init__(self, pool: Pool, writer: Writer) -> None:
        self._pool = pool
        self._writer = writer

    async def audit_chain(self, first: int = 1) -> AsyncIterator[AuditEntry]:
        """Every row from `first`; rows added meanwhile come too."""
        while True:
            with self._pool.reader() as reader:
                entries = [
                    audit.entry(row, reader.names.patient) for row in audit.from_seq(reader.cursor, first, _CHAIN_PAGE)
                ]
            if not entries:
                return
            for each in entries:
                yield each
            first = entries[-1].seq + 1

    async def audit_head(self) -> tuple[int, bytes]:
        """(seq, hash) of the last row as recorded apart from the rows."""
        with self._pool.reader() as reader:
            seq, hash = reader.cursor.execute("SELECT seq, hash FROM head").fetchone()
        return seq, hash

    async def counts(self) -> dict[str, int]:
        """Live resources by type."""
        with self._pool.reader() as reader:
            return dict(reader.cursor.execute(_COUNTS).fetchall())

    async def live(self, *, after: int = 0, limit: int = 500) -> list[Version]:
        """Live resources in the order of creation, those beyond position `after`."""
        with self._pool.reader() as reader:
            rows = reader.cursor.execute(_LIVE, (after, limit)).fetchall()
        return [version_of(row) for row in rows]

    async def reindex(self, rows: Sequence[tuple[Version, Entries]]) -> int:
        """Give these versions other entries, those of them that are still current; how many they were."""
        done: int = await self._writer.submit(Reindex(tuple(rows)))
        return done
