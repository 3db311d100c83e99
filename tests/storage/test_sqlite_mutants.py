"""Broken SQL readers are caught: what access §4 says must die, dies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhir_server.search.entries import Combination, Entries, Number, Prose, Ref, Span, Token
from fhir_server.search.facts import Facts
from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import (
    TRUE,
    AllRefs,
    And,
    AnyRef,
    Bit,
    Chained,
    Eq,
    Has,
    In,
    Not,
    Or,
    Predicate,
    Referred,
    Rng,
    SomeRef,
    Together,
    TokenIs,
    Words,
)
from fhir_server.storage import Disagreement, open_store
from fhir_server.storage.interface import Store
from fhir_server.storage.sqlite import clauses, functions, hops
from fhir_server.storage.sqlite import compile as compiler
from fhir_server.storage.sqlite.clauses import Clause
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
    SomeRef(Bit(1)),
    Not(SomeRef(Bit(1))),
    SomeRef(Not(FULL)),
    AnyRef(Bit(1)),
    Not(AnyRef(Bit(1))),
    AnyRef(Or((FULL, LATE))),
    TokenIs("code", None, "x"),
    Not(TokenIs("code", None, "x")),
    And((Or((TokenIs("code", None, "x"), TokenIs("code", None, "y"))), Not(Bit(1)))),
    *(
        hop
        for visible in (TRUE, Not(Bit(1)))
        for hop in (
            Chained("to", ("Observation",), TokenIs("code", None, "x"), visible),
            Chained("to", ("Observation",), Bit(1), visible),
            Chained("to", ("Observation",), TRUE, visible),
            Not(Chained("to", ("Observation", "Practitioner"), TRUE, visible)),
            Chained("to", ("Observation",), Chained("to", ("Observation",), TRUE, visible), TRUE),
            Chained("to", ("Observation",), Eq("id", "masked"), visible),
            Referred("Observation", "to", TRUE, visible),
            Referred("Observation", "to", Eq("id", "masked"), visible),
            Not(Referred("Observation", "to", TokenIs("code", None, "y"), visible)),
        )
    ),
    Words("_content", ("now",)),
    Words("_content", ("then",)),
    Not(Words("_content", ("then", "both"))),
    Words("_text", ("both",)),
    Together("pair", (TokenIs("0", None, "x"), TokenIs("1", None, "x"))),
]
DATE, LATEST = Sort("date", "date"), Sort("date", "date", descending=True)
SORTS: list[tuple[Sort, ...]] = [
    (),
    (DATE,),
    (LATEST,),
    (DATE, Sort("_id", descending=True)),
    (Sort("_lastUpdated", descending=True), LATEST),
    (Sort("low", "number"), DATE),
]


def world() -> World:
    """Rows with and without each fact; a masked, a deleted and a public target; one row of another patient."""
    made = World()

    def row(
        link: str,
        *,
        patient: str = "p1",
        deleted: bool = False,
        codes: str = "",
        to: str = "",
        words: str = "",
        dates: tuple[int, ...] = (),
        **facts: object,
    ) -> None:
        type, id = link.split("/")
        kind = ("public", None) if type == "Practitioner" else ("record", patient)
        entries = Entries(
            tokens=tuple(Token("code", None, code) for code in codes),
            dates=tuple(Span("date", date, date + length) for date in dates for length in (1, 2)),
            numbers=tuple(Number("low", -date, 9) for date in dates),
            references=(Ref("to", to), Ref("via", "Observation/bare")) if to else (),
            combinations=(Combination("pair", Entries(tokens=(Token("0", None, "x"), Token("1", None, codes)))),),
            prose=(Prose("_content", words),) if words else (),
        )
        made.step(link, Facts(type, id, *kind, **facts), entries, deleted)  # type: ignore[arg-type]

    row("Observation/bare", words="both now", dates=(7, 3))
    row("Observation/x", type_code="x", class_code="10", release_at=3, codes="x", labels=frozenset({"PSY", "ETH"}))
    row("Observation/y", type_code="y", class_code="12", release_at=5, codes="xy", links=frozenset({"Observation/x"}))
    row("Observation/masked", vis=1, codes="y", class_code="10", links=frozenset({"Observation/bare"}), dates=(5,))
    row("Observation/gone", words="then", dates=(4,), to="Observation/bare")
    row("Observation/gone", deleted=True)
    row("Practitioner/pub", vis=1, type_code="x")
    row("Observation/points", links=frozenset({"Observation/masked", "Practitioner/pub", "Observation/never"}))
    row("Observation/stale", links=frozenset({"Observation/gone"}), to="Observation/gone", dates=(3,))
    row("Observation/public", links=frozenset({"Practitioner/pub"}), to="Practitioner/pub")
    row("Observation/other", patient="p2", type_code="x", vis=1)
    row("Observation/to_x", to="Observation/x", words="both then", dates=(7,))
    row("Observation/to_x", to="Observation/x", words="both now")
    row("Observation/to_masked", to="Observation/masked", vis=1, codes="y", dates=(3,))
    row("Observation/on", to="Observation/to_masked")
    row("Observation/masked", vis=1, codes="y", class_code="10", links=frozenset({"Observation/bare"}), dates=(1, 9))
    return made


async def differences(store: Store) -> int:
    """For how many predicates and orders the store is wrong, or sees that it is."""
    types, made = ("Observation", "Practitioner"), world()
    asked = [(each, TRUE, ()) for each in PREDICATES] + [(TRUE, each, ()) for each in PREDICATES]
    asked += [(TRUE, visible, sort) for visible in (TRUE, Not(Bit(1))) for sort in SORTS]
    wrong = 0
    for where, visible, sort in asked:
        for patients in (("p1",), None):
            plan = Plan(types, where=where, patients=patients, sort=sort)
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
    """A compiler whose statements have `pattern` replaced, wherever it is."""

    def break_it(patch: pytest.MonkeyPatch) -> None:
        sound = clauses.Parts.whole

        def whole(self: clauses.Parts, select: Clause) -> Clause:
            clause = sound(self, select)
            return Clause(re.sub(pattern, by, clause.text), clause.args)

        patch.setattr(clauses.Parts, "whole", whole)

    return break_it


def without_parentheses(patch: pytest.MonkeyPatch) -> None:
    """And and Or bare."""
    patch.setattr(compiler, "grouped", clauses.joined)


def everything_in_nothing(patch: pytest.MonkeyPatch) -> None:
    """An empty set taken for no condition."""
    sound = compiler._READERS[In]
    patch.setitem(compiler._READERS, In, lambda self, p: sound(self, p) if p.values else Clause("1"))


def hop_without_visible(patch: pytest.MonkeyPatch) -> None:
    """The other end is asked for, not whether the caller may see it."""
    patch.setattr(hops, "visible_of", lambda hop: TRUE)


def least_for_greatest(patch: pytest.MonkeyPatch) -> None:
    """The least entry, whichever way the order goes."""
    patch.setattr(functions, "max", min, raising=False)


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "= for IS": rewriting(r" IS \?", " = ?"),
    "range or set without NOT NULL": rewriting(r"r\w*\.\w+ IS NOT NULL AND ", ""),
    "open range without NOT NULL": rewriting(r"\(r\.\w+ IS NOT NULL\)", "1"),
    "missing parentheses": without_parentheses,
    "empty IN true": everything_in_nothing,
    "AllRefs passes over deleted targets": rewriting(r"AND NOT \(r\.deleted = 0 AND ", "AND NOT (1 AND "),
    "AllRefs asks public targets too": rewriting(r"\w+\.kind IS 'record'", "1"),
    "AllRefs without its NOT": rewriting(r"NOT EXISTS \(SELECT 1 FROM (v|h)", r"EXISTS (SELECT 1 FROM \1"),
    "AnyRef turned round": rewriting(r"\.target = r\.key", ".target <> r.key"),
    "Bit any for none": rewriting(r"\(r\.vis & \?\) <> 0", "(r.vis & ?) = 0"),
    "deleted rows found": rewriting(r"r\.deleted = 0", "1"),
    "hop without visible": hop_without_visible,
    "hop to deleted rows": rewriting(
        r"(CROSS JOIN resource AS r ON r\.key = s\.text WHERE .*?)r\.deleted = 0", r"\1 1"
    ),
    "hop to any type": rewriting(r"AND r\.type = \? AND r\.deleted = 0", "AND ? AND r.deleted = 0"),
    "hop by any parameter": rewriting(r"k\.pid = \?", "k.pid >= ?"),
    "hop turned round": rewriting(r"s\.sid = k\.target", "s.sid <> k.target"),
    "words of an old version": rewriting(
        r"r\.vid IN \(SELECT rowid", "r.rid IN (SELECT (SELECT rid FROM version WHERE vid = words.rowid)"
    ),
    "any combination": rewriting(r"satisfies\(", "max(1, "),
    "absent first": rewriting(" NULLS LAST", ""),
    "absent forgotten": rewriting(r" OR sorted_by\([^?]*\?\) IS NULL", " OR ? IS NULL"),
    "least for greatest": least_for_greatest,
    "ties in any order": rewriting(r", r\.rid( DESC)? LIMIT", " LIMIT"),
    "pages that overlap": rewriting(r"r\.rid (<|>) \?", r"r.rid \1= ?"),
    "a row twice on a walk": rewriting("SELECT DISTINCT", "SELECT"),
    "every entry on a walk": rewriting(r" AND sorted_by\([^?]*\?\) = w\.low", " AND ? >= 0"),
    "what has no entry left out of a walk": rewriting(r"r\.rid NOT IN \(SELECT w\.rid", "r.rid IN (SELECT w.rid"),
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
    monkeypatch.setitem(compiler._READERS, Bit, lambda self, p: Clause("1"))
    async with store.snapshot() as snapshot:
        with pytest.raises(Disagreement) as caught:
            await snapshot.search(Plan(("Observation",)), visible=Bit(1))
    assert "bare" not in str(caught.value)
    assert "p1" not in str(caught.value)
