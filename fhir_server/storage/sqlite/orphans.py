"""Content that nothing has ever pointed to. Whatever a version points to has a symbol, which stays when the version is
not current any more: what has none was never named."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

_BINARIES: Final = (
    "FROM resource AS r INDEXED BY by_type WHERE r.type = (SELECT sid FROM symbol WHERE text = 'Binary') AND r.rid > ?"
)
_LOOKED_AT: Final = f"SELECT count(*), max(rid) FROM (SELECT r.rid {_BINARIES} ORDER BY r.rid LIMIT ?)"
_ALONE: Final = (
    "SELECT p.rid, v.version, v.time, v.deleted, v.facts, v.entries, x''"
    f" FROM (SELECT r.rid, r.vid {_BINARIES} AND r.rid <= ? AND r.deleted = 0 AND r.deposited_at <= ?"
    " AND NOT EXISTS (SELECT 1 FROM symbol AS s WHERE s.text = r.key)) AS p"
    " JOIN version AS v ON v.vid = p.vid ORDER BY p.rid"
)


def page(cursor: sqlite3.Cursor, until: int, after: int, limit: int) -> tuple[list[tuple[Any, ...]], int]:
    """Of the `limit` Binaries beyond rid `after`, the rows of those that are live, deposited at `until` or before, and
    were never named, their bodies left out; and the rid to go on from, 0 when there are no more."""
    looked_at, last = cursor.execute(_LOOKED_AT, (after, limit)).fetchone()
    if not looked_at:
        return [], 0
    return cursor.execute(_ALONE, (after, last, until)).fetchall(), last if looked_at == limit else 0
