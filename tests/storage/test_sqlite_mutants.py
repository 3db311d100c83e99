"""Broken SQL readers are caught: what access §4 says must die, dies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhir_server.search.entries import Entries, Token
from fhir_server.search.facts import Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import (
    TRUE,
    AllRefs,
    And,
    AnyRef,
    Bit,
    Eq,
    Has,
    In,
    Not,
    Or,
    Predicate,
    Rng,
    TokenIs,
)
from fhir_server.storage import Disagreement, open_store
from fhir_server.storage.interface import Store
from fhir_server.storage.sqlite import compile as compiler
from fhir_server.storage.sqlite import query
from fhir_server.storage.sqlite.entries import Clause
from tests.storage.making import Clock
from tests.storage.worlds import World

ABSENT, FULL = Eq("type_code", None), Eq("type_code", "x")
LATE = Rng("release_at", 1, 5)
PREDICATES: list[Predicate] = [
    TRUE,
    ABSENT,
    FULL,
    Not(FULL),
    Not(ABSENT),
    LATE,
    Not(LATE),
    Not(Rng("release_at", None, None)),
    In("class_code", frozenset({"10", "11"})),
    Not(In("class_code", frozenset({"10", "11"}))),
    In("class_code", frozenset()),
    Not(In("class_code", frozenset())),
    And((Or((FULL, LATE)), Eq("class_code", "10"))),
    Or((And((FULL, Eq("class_code", "10"))), Bit(1))),
    Not(Or((FULL, Bit(1)))),
    Not(And((FULL, Bit(1)))),
    And((Not(FULL), Not(Bit(1)))),
    Has("labels", "PSY"),
    Not(Has("labels", "PSY")),
    Not(Has("labels", "never")),
    AllRefs(Not(Bit(1))),
    Not(AllRefs(Not(Bit(1)))),
    AllRefs(Or((FULL, Bit(1)))),
    AllRefs(Not(FULL)),
    AnyRef(Bit(1)),
    Not(AnyRef(Bit(1))),
    AnyRef(Or((FULL, LATE))),
    TokenIs("code", None, "x"),
    Not(TokenIs("code", None, "x")),
    And((Or((TokenIs("code", None, "x"), TokenIs("code", None, "y"))), Not(Bit(1)))),
]


def world() -> World:
    """Rows with and without each fact; a masked, a deleted and a public target; one row of another patient."""
    made = World()

    def row(link: str, *, patient: str = "p1", deleted: bool = False, codes: str = "", **facts: object) -> None:
        type, id = link.split("/")
        kind = ("public", None) if type == "Practitioner" else ("record", patient)
        tokens = tuple(Token("code", None, code) for code in codes)
        made.step(link, Facts(type, id, *kind, **facts), Entries(tokens=tokens), deleted)  # type: ignore[arg-type]

    row("Observation/bare")
    row("Observation/x", type_code="x", class_code="10", release_at=3, codes="x", labels=frozenset({"PSY", "ETH"}))
    row("Observation/y", type_code="y", class_code="12", release_at=5, codes="xy", links=frozenset({"Observation/x"}))
    row("Observation/masked", vis=1, codes="y", class_code="10", links=frozenset({"Observation/bare"}))
    row("Observation/gone")
    row("Observation/gone", deleted=True)
    row("Practitioner/pub", vis=1, type_code="x")
    row("Observation/points", links=frozenset({"Observation/masked", "Practitioner/pub", "Observation/never"}))
    row("Observation/stale", links=frozenset({"Observation/gone"}))
    row("Observation/public", links=frozenset({"Practitioner/pub"}))
    row("Observation/other", patient="p2", type_code="x", vis=1)
    return made


async def differences(store: Store) -> int:
    """For how many predicates the store is wrong, as search condition or as visibility, or sees that it is."""
    made = world()
    wrong = 0
    for predicate in PREDICATES:
        for patients in (("p1",), None):
            for where, visible in ((predicate, TRUE), (TRUE, predicate)):
                plan = Plan(("Observation", "Practitioner"), where=where, patients=patients)
                try:
                    wrong += bool(await made.differences(store, plan, visible))
                except Disagreement:
                    wrong += 1
    return wrong


@pytest.fixture
def store(tmp_path: Path, runner: asyncio.Runner) -> Iterator[Store]:
    """The rows above in a file."""
    made = open_store(str(tmp_path / "store.db"), clock=Clock())
    runner.run(world().fill(made))
    yield made
    runner.run(made.close())


def rewriting(pattern: str, by: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A compiler whose text has `pattern` replaced, wherever it is."""

    def break_it(patch: pytest.MonkeyPatch) -> None:
        sound = query.Query._rows

        def rows(self: query.Query, after: Clause) -> Clause:
            clause = sound(self, after)
            return Clause(re.sub(pattern, by, clause.text), clause.args)

        patch.setattr(query.Query, "_rows", rows)

    return break_it


def without_parentheses(patch: pytest.MonkeyPatch) -> None:
    """And and Or bare."""
    patch.setattr(compiler, "_all", lambda clauses, word: compiler._joined(clauses, word))


def everything_in_nothing(patch: pytest.MonkeyPatch) -> None:
    """An empty set taken for no condition."""
    sound = compiler._READERS[In]
    patch.setitem(compiler._READERS, In, lambda self, p, row: sound(self, p, row) if p.values else Clause("1"))


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "= for IS": rewriting(r" IS \?", " = ?"),
    "range or set without NOT NULL": rewriting(r"r\w*\.\w+ IS NOT NULL AND ", ""),
    "open range without NOT NULL": rewriting(r"\(r\.\w+ IS NOT NULL\)", "1"),
    "missing parentheses": without_parentheses,
    "empty IN true": everything_in_nothing,
    "AllRefs passes over deleted targets": rewriting(r"AND NOT \(\w+\.deleted = 0 AND ", "AND NOT (1 AND "),
    "AllRefs asks public targets too": rewriting(r"\w+\.kind IS 'record'", "1"),
    "AllRefs without its NOT": rewriting(r"NOT EXISTS \(SELECT 1 FROM link", "EXISTS (SELECT 1 FROM link"),
    "AnyRef turned round": rewriting(r"rs\.text = r\.key", "rs.text <> r.key"),
    "Bit any for none": rewriting(r"\(r\.vis & \?\) <> 0", "(r.vis & ?) = 0"),
    "deleted rows found": rewriting(r"r\.deleted = 0", "1"),
    "half-open range closed": rewriting(r"(r\.\w+) < \?", r"\1 <= ?"),
}


async def test_the_sound_reader_is_right_about_all_of_them(store: Store) -> None:
    """So that what follows is the mutants' own fault."""
    assert await differences(store) == 0


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_reader_is_caught(store: Store, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Some predicate over these few rows tells it from the sound one."""
    BROKEN[name](monkeypatch)
    assert await differences(store) > 0


async def test_a_row_that_sql_gives_and_the_memory_reader_does_not_stops_the_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that lets too much through ends in an error that says nothing about the row."""
    monkeypatch.setitem(compiler._READERS, Bit, lambda self, p, row: Clause("1"))
    async with store.snapshot() as snapshot:
        with pytest.raises(Disagreement) as caught:
            await snapshot.search(Plan(("Observation",)), visible=Bit(1))
    assert "bare" not in str(caught.value)
    assert "p1" not in str(caught.value)
