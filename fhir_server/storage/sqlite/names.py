"""The integers that stand for recurring texts. They are only ever added, so what was read once stays true."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fhir_server.search.facts import Facts
from fhir_server.storage.sqlite.statements import insert, select_in

UNKNOWN: Final = -1
"""Stands for a text that no row has."""

PUBLIC: Final = 1
RECORD: Final = 2
"""Bits of a parameter's scope: it has entries in compartment 0; in patients' records."""

_KEPT: Final = 200_000


HEAD: Final = "SELECT time, rid, vid, sid, pid, seq, hash FROM head"


@dataclass(slots=True)
class Head:
    """The counters of the file (table `head`)."""

    time: int
    rid: int
    vid: int
    sid: int
    pid: int
    seq: int
    hash: bytes


@dataclass(slots=True)
class Known:
    """What the readers of one store have looked up so far."""

    symbols: dict[str, int] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    codes: dict[int, str] = field(default_factory=dict)

    def trim(self) -> None:
        """Keep the memory bounded."""
        for each in (self.symbols, self.texts):
            if len(each) > _KEPT:
                each.clear()


class Names:
    """Looks texts up for one reading connection."""

    def __init__(self, connection: sqlite3.Connection, known: Known) -> None:
        self._cursor = connection.cursor()
        self._known = known
        self.unknown = False
        """Set when a text or a parameter was asked for that has no number yet; unset by who wants to know."""
        self.unsettled = False
        """Set when an answer depended on a scope that may grow."""

    def given_out(self) -> tuple[int, int]:
        """How many texts and parameters have a number."""
        sid, pid = self._cursor.execute("SELECT sid, pid FROM head").fetchone()
        return sid, pid

    def symbol(self, text: str) -> int:
        """The symbol of `text`, UNKNOWN if it has none."""
        sid = self._known.symbols.get(text)
        if sid is None:
            row = self._cursor.execute("SELECT sid FROM symbol WHERE text = ?", (text,)).fetchone()
            if row is None:
                self.unknown = True
                return UNKNOWN
            self._known.trim()
            sid = self._known.symbols[text] = row[0]
        return sid

    def compartment(self, patient: str | None) -> int:
        """The compartment of a patient, UNKNOWN if there is none; 0 for nobody's."""
        return 0 if patient is None else self.symbol(f"Patient/{patient}")

    def text(self, sid: int) -> str:
        """What a symbol stands for."""
        text = self._known.texts.get(sid)
        if text is None:
            (text,) = self._cursor.execute("SELECT text FROM symbol WHERE sid = ?", (sid,)).fetchone()
            self._known.trim()
            self._known.texts[sid] = text
        return text

    def patient(self, cid: int) -> str | None:
        """The patient whose compartment it is."""
        return self.text(cid).removeprefix("Patient/") if cid else None

    def parameters(self, types: Sequence[str], code: str) -> list[int]:
        """The numbers of search parameter `code` of those types that have ever had an entry."""
        known = self._known.parameters
        names = [f"{type}.{code}" for type in types]
        missing = [name for name in names if name not in known]
        if missing:
            known.update(select_in(self._cursor, "SELECT name, pid FROM parameter WHERE name", missing))
        found = [known[name] for name in names if name in known]
        self.unknown |= len(found) < len(names)
        return found

    def scope(self, pids: Sequence[int]) -> int:
        """Where those parameters have entries: bits PUBLIC and RECORD. Not remembered, as it can grow."""
        found = 0
        for (scope,) in select_in(self._cursor, "SELECT scope FROM parameter WHERE pid", pids):
            found |= scope
        self.unsettled |= not found & RECORD
        return found

    def param(self, pid: int) -> str:
        """The code of a search parameter."""
        code = self._known.codes.get(pid)
        if code is None:
            (name,) = self._cursor.execute("SELECT name FROM parameter WHERE pid = ?", (pid,)).fetchone()
            code = self._known.codes[pid] = name.partition(".")[2]
        return code


class Numbers(dict[str, int]):
    """What has a number; what is asked for and has none is given one by `make`."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[str], int]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, text: str) -> int:
        number = self[text] = self._make(text)
        return number


class Interner:
    """Gives texts their integers within the writer's transaction, and remembers them between groups.

    Between `begin` and `write` whoever asks for a text, a compartment or a parameter sees to it that it has its number.
    """

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._forget()

    def begin(self, head: Head) -> None:
        """A new group, which counts on from `head`."""
        self._head = head
        if len(self.symbols) > _KEPT:
            self._forget()

    def write(self) -> None:
        """Write what is new of texts and compartments. After a rollback the interner is to be made anew."""
        insert(self._cursor, "symbol", "sid, text", self._texts)
        insert(self._cursor, "record", "cid, policy", self._records, "ON CONFLICT DO NOTHING")
        self._texts.clear()
        self._records.clear()

    def name(self, links: Iterable[str]) -> None:
        """Have a symbol for each of these, also for those of a version that is replaced in its own group: what has no
        symbol was never pointed to (`orphans.py`)."""
        for each in links:
            self.symbols[each]

    def cid(self, patient: str | None) -> int:
        """The compartment of a patient; 0 for nobody's."""
        return 0 if patient is None else self._cids[patient]

    def home(self, facts: Facts) -> int:
        """The compartment that the index rows lie in."""
        return 0 if facts.rtype == "Patient" else self.cid(facts.patient)

    def parameters(self, facts: Facts) -> Numbers:
        """The numbers of the search parameters that a resource has entries of."""
        type, scope = facts.rtype, RECORD if self.home(facts) else PUBLIC
        found = self._parameters.get((type, scope))
        if found is None:
            found = self._parameters[type, scope] = Numbers(partial(self._parameter, type, scope))
        return found

    def _forget(self) -> None:
        self.symbols = Numbers(self._symbol)
        self.symbols[""] = 0
        self._cids = Numbers(self._record)
        self._parameters: dict[tuple[str, int], Numbers] = {}
        self._texts: list[tuple[int, str]] = []
        self._records: list[tuple[int, int]] = []

    def _symbol(self, text: str) -> int:
        row = self._cursor.execute("SELECT sid FROM symbol WHERE text = ?", (text,)).fetchone()
        if row:
            return int(row[0])
        self._head.sid += 1
        self._texts.append((self._head.sid, text))
        return self._head.sid

    def _record(self, patient: str) -> int:
        cid = self.symbols[f"Patient/{patient}"]
        self._records.append((cid, 0))
        return cid

    def _parameter(self, type: str, scope: int, code: str) -> int:
        name = f"{type}.{code}"
        row = self._cursor.execute("SELECT pid FROM parameter WHERE name = ?", (name,)).fetchone()
        if row:
            self._cursor.execute("UPDATE parameter SET scope = scope | ? WHERE name = ?", (scope, name))
            return int(row[0])
        self._head.pid += 1
        self._cursor.execute("INSERT INTO parameter VALUES (?, ?, ?)", (self._head.pid, name, scope))
        return self._head.pid
