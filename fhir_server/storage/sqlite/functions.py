"""What SQL asks of packed entries row by row, where no index table can tell: functions of a reading connection."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Sort, Value
from fhir_server.storage.sqlite.names import Names
from fhir_server.storage.sqlite.rows import KeptEntries, unpack_kind

KINDS: Final = {
    "token": "tokens",
    "string": "strings",
    "date": "dates",
    "number": "numbers",
    "quantity": "quantities",
    "reference": "references",
    "uri": "uris",
}
"""The kinds of entries that a search can be sorted by, and the rows of each."""

_UNKNOWN: Final = Facts(rtype="", id="", kind="")


class Questions(list[Any]):
    """What the statement being read asks, by number: predicates on entries (`satisfies`), sort keys (`sorted_by`)."""

    def __init__(self, connection: sqlite3.Connection, names: Names) -> None:
        super().__init__()
        self._names = names
        connection.create_function("satisfies", 3, self._satisfies)
        connection.create_function("sorted_by", 2, self._sorted_by)

    def _satisfies(self, packed: bytes, time: int, number: int) -> bool:
        return holds(self[number], Row(_UNKNOWN, KeptEntries(packed, self._names.text, self._names.param), time))

    def _sorted_by(self, packed: bytes, number: int) -> Value:
        sort: Sort = self[number]
        param = self._names.param
        rows = [row for row in unpack_kind(packed, KINDS[sort.kind]) if param(row[0]) == sort.param]
        if sort.kind == "string":
            rows = [row for row in rows if row[2]]
        # The value stands second in the rows of every kind; that of a reference is a symbol.
        found = [row[1] for row in rows]
        if sort.kind == "reference":
            found = [self._names.text(sid) for sid in found]
        value: Value = (max if sort.descending else min)(found, default=None)
        return value
