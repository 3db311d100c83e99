"""The habilitation matrix: which profession may read which kind of document (spec access §10).

A row about a type prevails over a row about a class or category, that over the profession's default. The matrix that
ships is illustrative and says so; an official one is a file put beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import orjson

from fhir_server.consent.data_time import PARIS
from fhir_server.search.predicate import TRUE, Predicate, conj, disj, negate, one_of

_MEMBERS: Final = frozenset({"id", "version", "effective", "status", "source", "defaults", "rows"})
_STATUSES: Final = ("illustrative", "official")
_VERDICTS: Final = ("allow", "deny")
_COLUMNS: Final = {"type": "type_code", "class": "class_code", "cat": "class_code"}


@dataclass(frozen=True)
class Matrix:
    """One version of the matrix. `rows`: (profession, fact column, code) to whether it may read; `since`: to the date
    from which the row is in force; `until`: when the next change comes, microseconds since 1970 UTC."""

    id: str
    version: str
    effective: str
    status: str
    defaults: Mapping[str, bool]
    rows: Mapping[tuple[str, str, str], bool]
    since: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    until: int | None = None

    def predicate(self, profession: str) -> Predicate:
        """The rows whose kind a profession (TRE_G15 code, "" for none) may read."""
        return self._predicates.get(profession, self._predicates["*"])

    @cached_property
    def _predicates(self) -> Mapping[str, Predicate]:
        professions = {profession for profession, _, _ in self.rows} | set(self.defaults)
        return {profession: self._compiled(profession) for profession in professions}

    def _compiled(self, profession: str) -> Predicate:
        by_default = self.defaults.get(profession, self.defaults["*"])
        return self._column(profession, "type_code", self._column(profession, "class_code", by_default))

    def _column(self, profession: str, column: str, otherwise: Predicate | bool) -> Predicate:
        """What the rows about one column say, and `otherwise` where none speaks."""
        said = {code: may for (who, where, code), may in self.rows.items() if (who, where) == (profession, column)}
        allowed = one_of(column, (code for code, may in said.items() if may))
        denied = one_of(column, (code for code, may in said.items() if not may))
        if isinstance(otherwise, bool):
            otherwise = TRUE if otherwise else negate(TRUE)
        return disj(allowed, conj(negate(denied), otherwise))


def load_matrix(now: int, folder: Traversable | None = None) -> Matrix:
    """The matrix in force at `now` (microseconds): of the files `matrix*.json` the latest that is effective, with those
    of its rows that are.

    Raises ValueError, naming the file, for a file that breaks the rules, in force or not, or when none is in force.
    """
    place = folder or files("terminologies").joinpath("access")
    names = sorted(each.name for each in place.iterdir() if each.name.startswith("matrix"))
    known = [
        parse_matrix(name, place.joinpath(name).read_bytes())
        for name in names
        if name.endswith(".json") and not name.endswith(".schema.json")
    ]
    today = (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=now)).astimezone(PARIS).date().isoformat()
    in_force = [each for each in known if each.effective <= today]
    if not in_force:
        raise ValueError(f"no habilitation matrix is in force on {today}")
    matrix = max(in_force, key=lambda each: each.effective)
    later = [each for each in (*(each.effective for each in known), *matrix.since.values()) if each > today]
    return replace(
        matrix,
        rows={key: may for key, may in matrix.rows.items() if matrix.since[key] <= today},
        until=_midnight(min(later)) if later else None,
    )


def parse_matrix(name: str, body: bytes) -> Matrix:
    """The matrix of one file, with all its rows; raises ValueError naming the file and what breaks the rules."""
    try:
        table = orjson.loads(body)
        rows = _rows(table["rows"])
        if set(table) != _MEMBERS or not all(_text(table[name]) for name in ("id", "version", "source")):
            raise ValueError("a matrix has " + ", ".join(sorted(_MEMBERS)))
        return Matrix(
            id=table["id"],
            version=table["version"],
            effective=_date(table["effective"]),
            status=_one(table["status"], _STATUSES),
            defaults=_defaults(table["defaults"]),
            rows={key: row["allow"] for key, row in rows.items()},
            since={key: _date(row["effective"]) for key, row in rows.items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


def _rows(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for row in rows:
        system, _, profession = row["profession"].partition("|")
        kind, _, code = row["target"].partition("|")
        if system != "TRE_G15" or kind not in _COLUMNS or not code or not isinstance(row["allow"], bool):
            raise ValueError(f"a row cannot be read: {row['profession']} {row['target']}")
        if not _text(row["source"]):
            raise ValueError(f"a row without a source: {row['profession']} {row['target']}")
        key = (profession, _COLUMNS[kind], code)
        if key in found:
            raise ValueError(f"two rows for {row['profession']} {row['target']}")
        found[key] = row
    return found


def _defaults(defaults: Mapping[str, str]) -> dict[str, bool]:
    """By profession; `*` is every other one."""
    if "*" not in defaults:
        raise ValueError("a default for every other profession (*) is missing")
    for who in defaults:
        if who != "*" and not (len(who) == 2 and who.isdecimal()):
            raise ValueError(f"a profession is two digits of TRE_G15, not {who}")
    return {who: _one(each, _VERDICTS) == "allow" for who, each in defaults.items()}


def _one(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise ValueError(f"{' or '.join(known)} is expected, not {text}")
    return text


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _date(text: str) -> str:
    """A date as it is compared: its ten characters."""
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError(f"a date is written YYYY-MM-DD, not {text}")
    return text


def _midnight(day: str) -> int:
    """The beginning of a day in Paris, microseconds since 1970 UTC."""
    moment = datetime.combine(date.fromisoformat(day), datetime.min.time(), PARIS)
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
