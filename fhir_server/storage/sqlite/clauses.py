"""Pieces of SQL with the values of their question marks, and the named parts that one statement is put together of.

What follows links stands in a named part of its own (WITH h1(rid) AS …), not inside the condition that asks for it:
SQLite's parser holds few nested selects, and its planner takes the parts apart again, so that nothing is lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from fhir_server.storage.sqlite.statements import marks, padded

_MOST_TERMS: Final = 100
# SQLite bounds the depth of an expression (1000), and a chain of a OR b OR c is as deep as it is long.


class Clause(NamedTuple):
    """A piece of SQL and the values of its question marks."""

    text: str
    args: tuple[Any, ...] = ()


EVERY: Final = Clause("1")
"""Holds for any row."""

NEVER: Final = Clause("0")
"""Holds for no row."""


def among(column: str, values: Sequence[Any]) -> Clause:
    """The column (never NULL) is one of `values`, at least one."""
    if len(values) == 1:
        return Clause(f"{column} = ?", (values[0],))
    many = padded(values)
    return Clause(f"{column} IN ({marks(len(many))})", tuple(many))


def among_rids(rids: Clause) -> Clause:
    """The row is one that `rids` selects."""
    return Clause(f"r.rid IN ({rids.text})", rids.args)


def all_of(*clauses: Clause) -> Clause:
    """The clauses, none of them an OR without parentheses, joined by AND."""
    return joined(clauses, " AND ")


def grouped(clauses: Sequence[Clause], word: str) -> Clause:
    """The clauses joined by AND or OR, in parentheses."""
    while len(clauses) > _MOST_TERMS:
        steps = range(0, len(clauses), _MOST_TERMS)
        clauses = [grouped(clauses[start : start + _MOST_TERMS], word) for start in steps]
    found = joined(clauses, word)
    return Clause(f"({found.text})", found.args)


def joined(clauses: Sequence[Clause], word: str) -> Clause:
    """The clauses with `word` between them."""
    texts, args = zip(*clauses, strict=True)
    return Clause(word.join(texts), tuple(chain.from_iterable(args)))


class Parts:
    """The named parts of one statement, and what is asked of its rows by functions (functions.py)."""

    def __init__(self, cursor: sqlite3.Cursor, questions: list[Any], prefix: str = "h") -> None:
        self.cursor = cursor
        self.questions = questions
        self.named: list[Clause] = []
        self._prefix = prefix

    def add(self, columns: str, select: Clause) -> str:
        """The name of a part with those columns. Not materialized: it is looked into as an index leads."""
        name = f"{self._prefix}{len(self.named)}"
        self.named.append(Clause(f"{name}({columns}) AS NOT MATERIALIZED ({select.text})", select.args))
        return name

    def ask(self, question: Any) -> int:
        """The number by which a function knows it."""
        self.questions.append(question)
        return len(self.questions) - 1

    def whole(self, select: Clause) -> Clause:
        """The statement."""
        if not self.named:
            return select
        parts = joined(self.named, ", ")
        return Clause(f"WITH {parts.text} {select.text}", parts.args + select.args)

    def size(self, rids: Clause, most: int) -> int:
        """How many rows a select gives, counted up to `most`."""
        limited = Clause(f"SELECT count(*) FROM (SELECT 1 FROM ({rids.text}) LIMIT ?)", (*rids.args, most))
        text, args = self.whole(limited)
        (size,) = self.cursor.execute(text, args).fetchone()
        return int(size)

    def any(self, select: Clause) -> bool:
        """Whether a select without parts gives a row."""
        return self.cursor.execute(f"{select.text} LIMIT 1", select.args).fetchone() is not None
