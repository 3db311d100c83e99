"""The integers that stand for recurring texts. They are only ever added, so what was read once stays true."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fhir_server.search.facts import Facts
from fhir_server.storage.sqlite.remembered import Remembered
from fhir_server.storage.sqlite.statements import insert, select_in

UNKNOWN: Final = -1
"""Stands for a text that no row has."""

PUBLIC: Final = 1
RECORD: Final = 2
"""Bits of a parameter's scope: it has entries in compartment 0; in patients' records."""

_KEPT: Final = 200_000


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
    predicates: Remembered = field(default_factory=Remembered)

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

    @property
    def remembered(self) -> Remembered:
        """What was made of predicates before."""
        return self._known.predicates

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


class Interner:
    """Gives texts their integers within the writer's transaction, and remembers them between groups."""

    def __init__(self) -> None:
        self.symbols: dict[str, int] = {"": 0}
        self.parameters: dict[str, dict[str, int]] = {}
        """By type and code."""
        self._scoped: dict[tuple[str, int], set[str]] = {}
        self._records: set[int] = set()

    def cid(self, patient: str | None) -> int:
        """The compartment of a patient whose text has been admitted; 0 for nobody's."""
        return 0 if patient is None else self.symbols[f"Patient/{patient}"]

    def home(self, facts: Facts) -> int:
        """The compartment that the index rows lie in."""
        return 0 if facts.rtype == "Patient" else self.cid(facts.patient)

    def admit(self, cursor: sqlite3.Cursor, head: Head, texts: set[str]) -> None:
        """See that each of `texts` has a symbol."""
        if len(self.symbols) > _KEPT:
            self.symbols = {"": 0}
        missing = sorted(texts.difference(self.symbols))
        if not missing:
            return
        self.symbols.update(select_in(cursor, "SELECT text, sid FROM symbol WHERE text", missing))
        fresh = [text for text in missing if text not in self.symbols]
        numbered = list(enumerate(fresh, head.sid + 1))
        insert(cursor, "symbol", "sid, text", numbered)
        self.symbols.update((text, sid) for sid, text in numbered)
        head.sid += len(fresh)

    def admit_records(self, cursor: sqlite3.Cursor, cids: set[int]) -> None:
        """See that each compartment has its row."""
        missing = sorted(cids - self._records)
        insert(cursor, "record", "cid, policy", [(cid, 0) for cid in missing], "ON CONFLICT DO NOTHING")
        self._records.update(missing)

    def admit_parameters(self, cursor: sqlite3.Cursor, head: Head, facts: Facts, codes: set[str]) -> None:
        """See that each search parameter that a resource has entries of has a number, and their scope."""
        type, scope = facts.rtype, RECORD if self.home(facts) else PUBLIC
        admitted = self._scoped.setdefault((type, scope), set())
        for code in sorted(codes - admitted):
            name = f"{type}.{code}"
            row = cursor.execute("SELECT pid FROM parameter WHERE name = ?", (name,)).fetchone()
            if row:
                cursor.execute("UPDATE parameter SET scope = scope | ? WHERE name = ?", (scope, name))
            else:
                head.pid += 1
                row = (head.pid,)
                cursor.execute("INSERT INTO parameter VALUES (?, ?, ?)", (head.pid, name, scope))
            self.parameters.setdefault(type, {})[code] = row[0]
            admitted.add(code)
