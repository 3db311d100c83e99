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


class NotOurs(ValueError):
    """The file is a database, but not a store of this server."""


class TooNew(ValueError):
    """The store was written by a newer version of this server."""


def connect(path: str, *, writes: bool, busy: float, cache_kib: int) -> sqlite3.Connection:
    """A connection in WAL mode whose commits survive a crash of the machine. `busy`: seconds to wait for a lock."""
    # Health data is its owner's to read, whatever the umask; SQLite gives the same mode to its -wal and -shm. A file
    # that is there is left alone: closing it here would let go every lock that this process holds on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
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


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_words,)
"""Step n brings schema n to n + 1; schema.sql is where they lead. A published step is never changed."""
