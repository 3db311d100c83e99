"""The store in one SQLite file: one writing thread, any number of snapshots read inline on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from fhir_server.search.entries import Entries
from fhir_server.storage.blind import blinded
from fhir_server.storage.cipher import Cipher, Keks
from fhir_server.storage.interface import AuditEntry, AuditRow, Commit, Ledger, Stale, Taken, Version
from fhir_server.storage.sealed_ledger import SealedLedger, sealed_value
from fhir_server.storage.sqlite import audit, ledger, orphans
from fhir_server.storage.sqlite.database import connect, empty_log, prepare
from fhir_server.storage.sqlite.decide import check
from fhir_server.storage.sqlite.encryption import open_cipher
from fhir_server.storage.sqlite.erase import Erase, Settle, catch_up
from fhir_server.storage.sqlite.ledger import SqliteLedger
from fhir_server.storage.sqlite.pool import Pool, SnapshotContext
from fhir_server.storage.sqlite.read import COLUMNS, opened, version_of
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

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], int],
        busy: float = 5.0,
        keks: Keks | None = None,
        key_store: str = "",
    ) -> None:
        """`keks`, `key_store`: as in `encryption.open_cipher`, whose errors it raises."""
        self._path = str(path)
        connection = connect(self._path, writes=True, busy=busy, cache_kib=_WRITER_CACHE_KIB)
        try:
            prepare(connection)
            self._cipher = open_cipher(connection, self._path, keks, key_store)
            if self._cipher:
                catch_up(connection, self._cipher.destroyed())
        except BaseException:
            connection.close()
            raise
        connecting = partial(connect, self._path, writes=False, busy=_READER_BUSY, cache_kib=_READER_CACHE_KIB)
        self._pool = Pool(connecting, self._cipher)
        self._writer = Writer(connection, clock, self._cipher)
        plain = SqliteLedger(self._pool.reader, self._writer.submit)
        self.ledger: Ledger = SealedLedger(plain, self._cipher) if self._cipher else plain

    def snapshot(self) -> SnapshotContext:
        """A consistent view: what had been committed when its first verb is called."""
        return SnapshotContext(self._pool)

    async def commit(self, commit: Commit) -> Sequence[Version]:
        """Durable when it returns. Raises Stale, Taken, Unavailable; ValueError for a write that contradicts itself."""
        check(commit)
        if self._cipher and commit.writes:
            return await self._sealed(self._cipher, commit)
        made: Sequence[Version] = await self._writer.submit(commit)
        return made

    async def _sealed(self, cipher: Cipher, commit: Commit) -> Sequence[Version]:
        """Commit with what is blind made so: numbers in the index, and all that has to be unique."""
        if any(cipher.is_destroyed(write.facts.patient) for write in commit.writes if write.facts.patient):
            # The record was erased while the request was being prepared; it will find none.
            raise Stale
        keys = {cipher.blind(key): key for write in commit.writes for key in write.keys}
        writes = (
            replace(each, entries=blinded(each.entries, cipher.blind), keys=tuple(map(cipher.blind, each.keys)))
            for each in commit.writes
        )
        try:
            made: Sequence[Version] = await self._writer.submit(replace(commit, writes=tuple(writes)))
        except Taken as error:
            raise Taken(keys[error.key], error.holder) from None
        return made

    def system(self) -> SqliteSystem:
        """The unrestricted view."""
        return SqliteSystem(self._pool, self._writer, self._cipher, self._path)

    async def close(self) -> None:
        """Write what waits, then let go of the file."""
        await self._writer.close()
        self._pool.close()
        if self._cipher:
            self._cipher.close()


class SqliteSystem:
    """storage.interface.System."""

    def __init__(self, pool: Pool, writer: Writer, cipher: Cipher | None, path: str) -> None:
        self._path = path
        self._pool = pool
        self._writer = writer
        self._cipher = cipher

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

    async def prune_audit(self, until: int, kind: str, key: str, value: bytes) -> int:
        """Let go of the rows up to `until`; how many they were."""
        kept = sealed_value(self._cipher, kind, key, value) if self._cipher else value
        keep = ledger.Put(kind, key, kept, expires=None, only_new=False)
        done: int = await self._writer.submit(audit.Prune(until, keep))
        return done

    async def counts(self) -> dict[str, int]:
        """Live resources by type."""
        with self._pool.reader() as reader:
            return dict(reader.cursor.execute(_COUNTS).fetchall())

    async def live(self, *, after: int = 0, limit: int = 500) -> list[Version]:
        """Live resources in the order of creation, those beyond position `after`."""
        with self._pool.reader() as reader:
            rows = reader.cursor.execute(_LIVE, (after, limit)).fetchall()
        return [each for row in rows if (each := opened(self._cipher, version_of(row)))]

    async def orphans(self, until: int, *, after: int = 0, limit: int = 500) -> tuple[list[Version], int]:
        """Of the `limit` Binaries beyond position `after`, those that nothing has ever pointed to, if not too young."""
        with self._pool.reader() as reader:
            rows, last = orphans.page(reader.cursor, until, after, limit)
        return [version_of(row) for row in rows], last

    async def reindex(self, rows: Sequence[tuple[Version, Entries]]) -> int:
        """Give these versions other entries, those of them that are still current; how many they were."""
        if self._cipher:
            rows = [(version, blinded(entries, self._cipher.blind)) for version, entries in rows]
        done: int = await self._writer.submit(Reindex(tuple(rows)))
        return done

    async def rewrap(self, told: Callable[[int], None] = lambda done: None) -> int:
        """Wrap every data key by the present KEK; how many were not."""
        return await asyncio.to_thread(self._cipher.rewrap, told) if self._cipher else 0

    async def erase(self, patient: str, audits: Sequence[AuditRow] = ()) -> int:
        """Take the record of a patient out, its data key first; how many versions it had."""
        # What is about to be done stands in the log before it is: if it cannot be written there, it is not done.
        await self._writer.submit(Commit(audits=tuple(audits)))
        if self._cipher:
            await asyncio.to_thread(self._cipher.destroy, patient)
        done: int = await self._writer.submit(Erase(patient))
        while await self._writer.submit(Settle()) > 1:
            pass
        await asyncio.to_thread(empty_log, self._path)
        return done
