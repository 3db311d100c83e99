"""One SQLite file: how it is opened, made, brought to the present schema, or refused."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fhir_server.storage.chain import GENESIS

APPLICATION_ID: Final = 0x46484952
"""`FHIR` in ASCII: what `file` and `PRAGMA application_id` say of a store."""

_PAGE_BYTES: Final = 4096
_MAPPED_BYTES: Final = 2 << 30
_WAL_PAGES: Final = 8000
_WAL_KEPT_BYTES: Final = 64 << 20
_BUSY_EMPTYING: Final = 10.0
"""Seconds to wait for readers before the log is emptied."""


class NotOurs(ValueError):
    """The file is a database, but not a store of this server."""


class TooNew(ValueError):
    """The store was written by a newer version of this server."""


def connect(path: str, *, writes: bool, busy: float, cache_kib: int) -> sqlite3.Connection:
    """A connection in WAL mode whose commits survive a crash of the machine. `busy`: seconds to wait for a lock."""
    private_file(path)
    # The connection goes from the thread that opens the store to the writer's; never used by two at once.
    connection = sqlite3.connect(
        path, timeout=busy, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    pragmas = (
        f"page_size = {_PAGE_BYTES}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "temp_store = MEMORY",
        f"cache_size = -{cache_kib}",
        # Whatever is committed makes a reader let its mapping go: to map anew and fault the pages in again costs more
        # than reading them.
        f"mmap_size = {_MAPPED_BYTES if writes else 0}",
        f"wal_autocheckpoint = {_WAL_PAGES}",
        f"journal_size_limit = {_WAL_KEPT_BYTES}",
        f"query_only = {'OFF' if writes else 'ON'}",
    )
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").close()
    return connection


def private_file(path: str) -> None:
    """Make an empty file that is its owner's to read, whatever the umask; SQLite gives the same mode to what it lays
    beside it. A file that is there is left alone: closing it here would let go every lock that this process holds."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def empty_log(path: str) -> bool:
    """Bring all that is committed into the file, and leave the log beside it empty; whether that could be done while
    others read."""
    connection = connect(path, writes=True, busy=_BUSY_EMPTYING, cache_kib=1024)
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.close()
    return not busy


def prepare(connection: sqlite3.Connection) -> None:
    """Bring the file to the present schema, all steps or none. Raises NotOurs or TooNew, changing nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        reached = _schema_of(connection)
        for step in STEPS[reached - 1 :] if reached else (_all,):
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_present()}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _present() -> int:
    return 1 + len(STEPS)


def _schema_of(connection: sqlite3.Connection) -> int:
    """The schema the file has, 0 for an empty file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or schema or tables):
        raise NotOurs("this database was made by another program; give the store a file of its own")
    if schema > _present():
        raise TooNew(
            f"this store has schema {schema}, this server knows schemas up to {_present()}: install the newer version"
        )
    return int(schema)


def _all(connection: sqlite3.Connection) -> None:
    """An empty file to the present schema."""
    script = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    for statement in script.split(";\n"):
        connection.execute(statement)
    connection.execute("INSERT INTO head VALUES (1, 0, 0, 0, 0, 0, 0, ?)", (GENESIS,))


def _words(connection: sqlite3.Connection) -> None:
    """Schema 2: full text, and an index that leads from a target through a parameter. What was written before has no
    words and no combinations until it is indexed again."""
    connection.execute("DROP INDEX referrer")
    connection.execute("CREATE INDEX referrer ON link (target, pid, rid)")
    connection.execute(
        "CREATE VIRTUAL TABLE words USING fts5 (tokens, content = '', columnsize = 0, detail = none, tokenize = ascii)"
    )


def _encryption(connection: sqlite3.Connection) -> None:
    """Schema 3: whether the file is encrypted. What was written before is not, until `keys encrypt`."""
    connection.execute(
        "CREATE TABLE encryption ( one INTEGER PRIMARY KEY CHECK (one = 1), keys TEXT NOT NULL, reached INTEGER )"
    )


def _facts_by_record(connection: sqlite3.Connection) -> None:
    """Schema 4: a record is entered by its security facts, and by what was deleted in it."""
    connection.execute("ALTER TABLE multi RENAME TO multi_of_row")
    script = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    connection.execute(next(each for each in script.split(";\n") if "CREATE TABLE multi" in each))
    connection.execute(
        "INSERT INTO multi SELECT r.cid, m.fact, m.value, m.rid"
        " FROM multi_of_row AS m JOIN resource AS r ON r.rid = m.rid"
    )
    connection.execute("DROP TABLE multi_of_row")
    connection.execute("CREATE INDEX of_deleted ON resource (cid, type) WHERE deleted = 1")


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_words, _encryption, _facts_by_record)
"""Step n brings schema n to n + 1; schema.sql is where they lead. A published step is never changed."""
