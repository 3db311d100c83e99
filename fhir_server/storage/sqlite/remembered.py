"""What the readers of one store remember of the predicates that callers come back with, by identity: to compare or to
hash one costs as much as to compile it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from fhir_server.search.predicate import Predicate, T
from fhir_server.storage.blind import Blind, asked
from fhir_server.storage.judge import Judge, judge
from fhir_server.storage.sqlite import start
from fhir_server.storage.sqlite.clauses import EVERY, Clause, Parts
from fhir_server.storage.sqlite.compile import Compiler

_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A condition with the parts that it names. `names`: how many there were, if the predicate names one unknown."""

    predicate: Predicate
    condition: Clause
    parts: list[Clause]
    names: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the rows of a predicate are entered; `names` as for `_Compiled`."""

    predicate: Predicate
    clause: Clause | None
    names: tuple[int, int] | None


@dataclass(slots=True)
class Remembered:
    """By the id of a predicate, which is kept so that no other gets its id."""

    conditions: dict[tuple[Any, ...], _Compiled] = field(default_factory=dict)
    judges: dict[int, tuple[Predicate, Judge | None]] = field(default_factory=dict)
    ways: dict[tuple[Any, ...], _Way] = field(default_factory=dict)
    blind: dict[int, tuple[Predicate, Predicate]] = field(default_factory=dict)

    def asked(self, predicate: Predicate, blind: Blind) -> Predicate:
        """storage.blind.asked: the same one each time, so that what is remembered of it is found."""
        found = self.blind.get(id(predicate))
        if found is None:
            if len(self.blind) >= _MOST:
                self.blind.clear()
            found = self.blind[id(predicate)] = predicate, asked(predicate, blind)
        return found[1]

    def judge(self, predicate: Predicate) -> Judge | None:
        """storage.judge.judge"""
        found = self.judges.get(id(predicate))
        if found is None:
            if len(self.judges) >= _MOST:
                self.judges.clear()
            found = self.judges[id(predicate)] = predicate, judge(predicate)
        return found[1]

    def seen(self, compiler: Compiler, visible: Predicate) -> Clause | None:
        """start.seen"""
        key = (id(visible), compiler.scope.cids, *compiler.scope.types)
        found = self.ways.get(key)
        if found is None or (found.names is not None and found.names != compiler.names.given_out()):
            names = compiler.names
            names.unknown = False
            way = start.seen(names, compiler.scope, visible)
            if len(self.ways) >= _MOST:
                self.ways.clear()
            found = self.ways[key] = _Way(visible, way, names.given_out() if names.unknown else None)
        return found.clause

    def condition(self, compiler: Compiler, predicate: Predicate) -> Clause:
        """The condition of a caller's predicate, as `compiler` makes it."""
        if isinstance(predicate, T):
            return EVERY
        key = (id(predicate), compiler.scope.cids, *compiler.scope.types)
        found = self.conditions.get(key)
        if found is None or (found.names is not None and found.names != compiler.names.given_out()):
            found = _compiled(compiler, predicate)
            if found is None:
                return compiler.condition(predicate)
            if len(self.conditions) >= _MOST:
                self.conditions.clear()
            self.conditions[key] = found
        compiler.parts.named += found.parts
        return found.condition


def _compiled(compiler: Compiler, predicate: Predicate) -> _Compiled | None:
    """None for one that is asked by functions, or rests on what changes without a trace."""
    names, questions = compiler.names, compiler.parts.questions
    names.unknown, names.unsettled, asked = False, False, len(questions)
    # Named by another letter, the parts fit into any statement.
    parts = Parts(compiler.parts.cursor, questions, "v")
    made = compiler.into(parts).condition(predicate)
    if names.unsettled or len(questions) > asked:
        return None
    return _Compiled(predicate, made, parts.named, names.given_out() if names.unknown else None)
