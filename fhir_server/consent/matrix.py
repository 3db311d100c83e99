"""The habilitation matrix: which profession may read which kind of document (spec access §10).

A row about a type prevails over a row about a class or category, that over the profession's default. The matrix that
ships is illustrative and says so; an official one is a file put beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import orjson

from fhir_server.consent.data_time import PARIS
from fhir_server.search.predicate import TRUE, Predicate, conj, disj, negate, one_of

_COLUMNS: Final = {"type": "type_code", "class": "class_code", "cat": "class_code"}


@dataclass(frozen=True)
class Matrix:
    """One version of the matrix. `rows`: (profession, fact column, code) to whether it may read."""

    id: str
    version: str
    effective: str
    status: str
    defaults: Mapping[str, bool]
    rows: Mapping[tuple[str, str, str], bool]

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
    """The matrix in force at `now` (microseconds): of the files `matrix*.json` the latest that is effective.

    Raises ValueError, naming the file, for a file that breaks the rules or when none is in force.
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
    return max(in_force, key=lambda each: each.effective)


def parse_matrix(name: str, body: bytes) -> Matrix:
    """The matrix of one file; raises ValueError naming the file and the row that breaks the rules."""
    try:
        table = orjson.loads(body)
        return Matrix(
            id=table["id"],
            version=table["version"],
            effective=table["effective"],
            status=table["status"],
            defaults={who: _verdict(each) for who, each in table["defaults"].items() if _has_star(table["defaults"])},
            rows=_rows(table["rows"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


def _rows(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], bool]:
    found: dict[tuple[str, str, str], bool] = {}
    for row in rows:
        system, _, profession = row["profession"].partition("|")
        kind, _, code = row["target"].partition("|")
        if system != "TRE_G15" or kind not in _COLUMNS or not code or not isinstance(row["allow"], bool):
            raise ValueError(f"a row cannot be read: {row['profession']} {row['target']}")
        key = (profession, _COLUMNS[kind], code)
        if key in found:
            raise ValueError(f"two rows for {row['profession']} {row['target']}")
        found[key] = row["allow"]
    return found


def _verdict(text: str) -> bool:
    if text not in ("allow", "deny"):
        raise ValueError(f"a default is allow or deny, not {text}")
    return text == "allow"


def _has_star(defaults: Mapping[str, str]) -> bool:
    if "*" not in defaults:
        raise ValueError("a default for every other profession (*) is missing")
    return True
