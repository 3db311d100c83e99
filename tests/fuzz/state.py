"""What is in the store, read from its file and not through the server."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias

# "Type/id" and the number of the version.
Key: TypeAlias = tuple[str, int]

# May grow by a request that was refused: the access log, tokens and keys, and the counters and words of the file.
_FREE: Final = frozenset({"audit", "ledger", "head", "symbol", "parameter", "record", "version", "resource"})


@dataclass(frozen=True, slots=True)
class State:
    """`versions`: digest of every version there ever was; `times`: when each was written; `live`: live resources by
    type; `projections`: digest of everything else, row by row, with the "Type/id" it is about ("" when of none)."""

    versions: Mapping[Key, bytes]
    times: Mapping[Key, int]
    live: Mapping[str, int]
    projections: Mapping[tuple[str, str], bytes]
    audits: int

    def differences(self, after: State, accepted: set[Key]) -> Iterator[str]:
        """What changed, other than by the versions whose writing was `accepted`."""
        for key, digest in self.versions.items():
            if after.versions.get(key) != digest:
                yield f"version {key} was changed or lost"
        for key in sorted(after.versions.keys() - self.versions.keys() - accepted):
            yield f"version {key} appeared, and no answer spoke of it"
        for key in sorted(accepted - after.versions.keys()):
            yield f"version {key} was answered, and is not there"
        # Rows about a resource with a new version say nothing more than the version does.
        touched = {name for name, _ in accepted | (after.versions.keys() - self.versions.keys())}
        for place in sorted(self.projections.keys() | after.projections.keys()):
            if place[1] not in touched and self.projections.get(place) != after.projections.get(place):
                yield f"rows of {place[0]} about {place[1] or 'nothing'} changed"
        if after.audits < self.audits:
            yield "the access log has lost lines"


def read_state(path: Path) -> State:
    """The state of a store that no server is writing to."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as file:
        keys: dict[int, str] = dict(file.execute("SELECT rid, key FROM resource"))
        versions, times = {}, {}
        for rid, number, time, *rest in file.execute("SELECT rid, version, time, deleted, facts, body FROM version"):
            versions[keys[rid], number] = _digest((time, *rest))
            times[keys[rid], number] = time
        live = Counter(key.partition("/")[0] for (key,) in file.execute("SELECT key FROM resource WHERE deleted = 0"))
        (audits,) = file.execute("SELECT count(*) FROM audit").fetchone()
        projections = {place: _digest(sorted(rows)) for place, rows in _rows(file, keys).items()}
    file.close()
    return State(versions, times, live, projections, audits)


def live_bodies(path: Path) -> list[bytes]:
    """Every resource that is not deleted, as it is kept."""
    select = "SELECT v.body FROM resource AS r JOIN version AS v ON v.vid = r.vid WHERE r.deleted = 0 ORDER BY r.key"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as file:
        bodies = [bytes(body) for (body,) in file.execute(select)]
    file.close()
    return bodies


def count_versions(path: Path) -> int:
    """How many versions there are, also while a server is writing."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as file:
        (count,) = file.execute("SELECT count(*) FROM version").fetchone()
    file.close()
    return int(count)


def logged_request(path: Path, seq: int) -> str:
    """The request id in that line of the access log, "" when there is none to be read."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as file:
        row = file.execute("SELECT body FROM audit WHERE seq = ?", (seq,)).fetchone()
    file.close()
    return str(json.loads(row[0]).get("request", "")) if row else ""


def _rows(file: sqlite3.Connection, keys: Mapping[int, str]) -> dict[tuple[str, str], list[str]]:
    """Every row of the tables that a refused request must leave alone."""
    found: dict[tuple[str, str], list[str]] = {}
    names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in sorted({each for each in names if not each.startswith(("sqlite_", "words"))} - _FREE):
        cursor = file.execute(f'SELECT * FROM "{name}"')
        columns = [each[0] for each in cursor.description]
        for row in cursor:
            about = keys.get(row[columns.index("rid")], "") if "rid" in columns else ""
            found.setdefault((name, about), []).append(repr(row))
    for row in file.execute("SELECT key, type, cid, vid, version, time, deleted, vis, lineage FROM resource"):
        found["resource", row[0]] = [repr(row)]
    return found


def _digest(value: Any) -> bytes:
    return blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=16).digest()
