"""A store that was filled in clear text becomes one that is encrypted, while nobody serves it.

Version by version in the order they were written, some hundreds at a time, each lot a transaction that also says how
far it has come: whatever breaks it off, the next run goes on there. Until the end the store is not opened for serving.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from fhir_server.search.entries import Prose
from fhir_server.search.facts import Facts
from fhir_server.storage.blind import blinded
from fhir_server.storage.cipher import STORE, Cipher, Keks
from fhir_server.storage.sealed_ledger import sealed_value
from fhir_server.storage.sqlite import words
from fhir_server.storage.sqlite.database import connect, empty_log, prepare
from fhir_server.storage.sqlite.encryption import Refused, cipher_of
from fhir_server.storage.sqlite.erase import settle
from fhir_server.storage.sqlite.names import HEAD, Head, Interner
from fhir_server.storage.sqlite.projection import Exchange, rows_of
from fhir_server.storage.sqlite.rows import Rows, pack_rows, to_entries, to_rows, unpack_facts, unpack_rows
from fhir_server.storage.sqlite.sealing import contents, holders

_AT_ONCE: Final = 200
_CACHE_KIB: Final = 64 << 10
_VERSIONS: Final = (
    "SELECT v.vid, v.rid, v.version, v.deleted, v.facts, v.entries, v.body, r.vid, r.deleted FROM version AS v"
    " JOIN resource AS r ON r.rid = v.rid WHERE v.vid > ? ORDER BY v.vid LIMIT ?"
)


def encrypt(
    path: str, keks: Keks, *, key_store: str = "", told: Callable[[int, int], None] = lambda at, of: None
) -> int:
    """How many versions were encrypted by this run. `told` learns how far it has come, of how far.

    Raises Refused while a server has the store open, and when it is encrypted already; WrongKey.
    """
    connection = connect(path, writes=True, busy=1.0, cache_kib=_CACHE_KIB)
    try:
        _alone(connection)
        prepare(connection)
        done = _Walk(connection, cipher_of(connection, path, keks, key_store)).run(told)
    finally:
        connection.close()
    empty_log(path)
    return done


def _alone(connection: sqlite3.Connection) -> None:
    """Let nobody else use the file till the connection is closed."""
    try:
        # To leave the write-ahead log needs the file for oneself alone; the lock is then kept from the first write on.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
        (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError:
        mode = "wal"
    if mode != "delete":
        raise Refused("a server has this store open: stop it first")
    connection.execute("PRAGMA secure_delete = ON").close()


class _Walk:
    """One run."""

    def __init__(self, connection: sqlite3.Connection, cipher: Cipher) -> None:
        self._cursor = connection.cursor()
        self._cipher = cipher
        self._params: dict[Any, str] = dict(self._cursor.execute("SELECT pid, name FROM parameter"))
        self._interner = Interner(self._cursor)
        self._text = lru_cache(maxsize=100_000)(self._symbol)

    def run(self, told: Callable[[int, int], None]) -> int:
        """Go on from where the last run broke off."""
        (reached,) = self._cursor.execute("SELECT reached FROM encryption").fetchone()
        if reached is None:
            raise Refused("this store is encrypted already")
        (last,) = self._cursor.execute("SELECT vid FROM head").fetchone()
        done = 0
        while lot := self._cursor.execute(_VERSIONS, (reached, _AT_ONCE)).fetchall():
            reached = lot[-1][0]
            self._together(lambda lot=lot, reached=reached: self._encrypt(lot, reached))  # type: ignore[misc]
            done += len(lot)
            told(reached, last)
        self._together(self._end)
        while settle(self._cursor) > 1:
            pass
        # What was in clear text in pages that were free before is gone with them.
        self._cursor.execute("VACUUM")
        return done

    def _together(self, act: Callable[[], None]) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")
        try:
            self._interner.begin(Head(*self._cursor.execute(HEAD).fetchone()))
            act()
            self._cursor.execute("COMMIT")
        except BaseException:
            self._cursor.execute("ROLLBACK")
            raise

    def _encrypt(self, lot: Sequence[tuple[Any, ...]], reached: int) -> None:
        known = [(unpack_facts(row[4]), row) for row in lot]
        owners = self._owners([facts for facts, _ in known])
        self._cipher.ready(owners.values())
        exchange, changes = Exchange(), []
        for facts, (vid, rid, version, deleted, _, packed, body, current, gone) in known:
            place = f"{facts.rtype}/{facts.id}"
            entries = self._blind(facts, vid, packed, deleted, exchange, rid if vid == current and not gone else None)
            if not deleted:
                body = self._cipher.wrap(body, owner=owners[place], place=place, version=version)
            changes.append((entries, body, vid))
        self._cursor.executemany("UPDATE version SET entries = ?, body = ? WHERE vid = ?", changes)
        exchange.write(self._cursor)
        self._cursor.execute("UPDATE encryption SET reached = ?", (reached,))

    def _blind(self, facts: Facts, vid: int, packed: bytes, deleted: int, exchange: Exchange, rid: int | None) -> bytes:
        """The packed entries with what is to be blind made so, in the index too. `rid`: of a version that is in it."""
        rows = unpack_rows(packed)
        entries = to_entries(rows, self._text, lambda pid: self._params[pid].partition(".")[2])
        hidden = blinded(entries, self._cipher.blind)
        if hidden is entries:
            return packed
        new = to_rows(hidden, self._interner.symbols, self._interner.parameters(facts))
        if rid is not None:
            exchange.add(rows_of(self._interner, facts, rid, rows), rows_of(self._interner, facts, rid, new))
        if not deleted and new.prose != rows.prose:
            words.exchange(self._cursor, vid, self._document(facts, rows), self._document(facts, new))
        return pack_rows(new)

    def _document(self, facts: Facts, rows: Rows) -> str | None:
        prose = [Prose(self._params[pid].partition(".")[2], text) for pid, text in rows.prose]
        return words.document(prose, self._interner.symbols[facts.rtype], self._interner.cid(facts.patient))

    def _owners(self, lot: Sequence[Facts]) -> dict[str, str]:
        """By "Type/id", whose data key each is sealed by."""
        owners = {f"{facts.rtype}/{facts.id}": facts.patient or STORE for facts in lot}
        of_nobody = [place for place, owner in owners.items() if owner == STORE and place.startswith("Binary/")]
        named = {link: facts.patient or STORE for facts in lot for link in contents(facts)}
        found = {**named, **holders(self._cursor, of_nobody)}
        return {place: found.get(place, owner) if place in of_nobody else owner for place, owner in owners.items()}

    def _end(self) -> None:
        """What is unique, the ledger, and that all is done."""
        held = self._cursor.execute("SELECT key, rid FROM held").fetchall()
        self._cursor.execute("DELETE FROM held")
        self._cursor.executemany(
            "INSERT INTO held VALUES (?, ?)", [(self._cipher.blind(key), rid) for key, rid in held]
        )
        for kind, key, value in self._cursor.execute("SELECT kind, key, value FROM ledger").fetchall():
            sealed = sealed_value(self._cipher, kind, key, value)
            self._cursor.execute("UPDATE ledger SET value = ? WHERE kind = ? AND key = ?", (sealed, kind, key))
        self._cursor.execute("UPDATE encryption SET reached = NULL")

    def _symbol(self, sid: int) -> str:
        (text,) = self._cursor.execute("SELECT text FROM symbol WHERE sid = ?", (sid,)).fetchone()
        return str(text)
