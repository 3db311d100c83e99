"""The judge of an answer's rows says what the memory reader says, and reads no more than it declares."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.search.match import holds
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
    Rng,
    TokenIs,
    Updated,
    conj,
    disj,
    negate,
)
from fhir_server.storage.judge import Judge, judge
from tests.storage.worlds import FACT_LEAVES, WORLDS, World


@dataclass
class LinksOf:
    """judge.Links over the rows of a world, each end with no more than the facts its judge asks for."""

    world: World

    def all(self, facts: Any, each: Judge) -> bool:
        """Over the targets of record."""
        return all(
            live and each.satisfied(only(target, each), self)
            for target, live in self.world.targets(facts)
            if target.kind == "record"
        )

    def any(self, facts: Any, some: Judge) -> bool:
        """Over the referrers."""
        return any(some.satisfied(only(each, some), self) for each in self.world.referrers(facts))


def only(facts: Any, of: Judge) -> SimpleNamespace:
    """The facts that a judge has said it asks for; any other is an AttributeError."""
    return SimpleNamespace(**{name: getattr(facts, name) for name in of.facts})


def _nodes(inner: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        *(st.builds(node, several) for node in (And, Or)), *(st.builds(n, inner) for n in (Not, AllRefs, AnyRef))
    )


@settings(max_examples=200)
@given(WORLDS, st.recursive(FACT_LEAVES, _nodes, max_leaves=12))
def test_a_judge_agrees_with_the_memory_reader(world: World, predicate: Predicate) -> None:
    """On every row of a random world, links followed."""
    made = judge(predicate)
    assert made is not None
    for row, _ in world.rows.values():
        assert bool(made.satisfied(only(row.facts, made), LinksOf(world))) is holds(predicate, row, world)


@pytest.mark.parametrize(
    "predicate",
    [
        TokenIs("code", None, "x"),
        Updated(0, None),
        Chained("subject", ("Patient",), TRUE, TRUE),
        conj(Bit(1), TokenIs("code", None, "x")),
        disj(Bit(1), negate(Updated(0, None))),
        AllRefs(conj(Bit(1), TokenIs("code", None, "x"))),
        AnyRef(Updated(0, None)),
    ],
    ids=repr,
)
def test_what_looks_at_entries_and_times_is_left_to_the_memory_reader(predicate: Predicate) -> None:
    """None of them is guessed at, wherever in the predicate it stands."""
    assert judge(predicate) is None


def test_what_is_too_large_to_write_down_is_left_to_the_memory_reader() -> None:
    """Too deep, or too long."""
    deep: Predicate = Bit(1)
    for _ in range(100):
        deep = And((Not(deep), Eq("id", "x")))
    linked: Predicate = Bit(1)
    for _ in range(100):
        linked = AllRefs(linked)
    long = Or(tuple(Eq("lineage", f"Observation/{n}") for n in range(2_000)))
    assert judge(deep) is judge(linked) is judge(long) is None


@pytest.mark.parametrize("text", ["'", '"', "\\", "v0", "facts.vis", "__import__('os')", "\n", ") or True or ("])
def test_a_value_is_never_read_as_code(text: str) -> None:
    """Whatever it holds, it is compared and nothing else."""
    asked = disj(Eq("id", text), In("lineage", frozenset({text, "x"})), Has("labels", text))
    made = judge(asked)
    assert made is not None
    facts = SimpleNamespace(id="o", lineage="o", labels=frozenset())
    assert not made.satisfied(facts, LinksOf(World()))
    assert made.satisfied(SimpleNamespace(id=text, lineage="o", labels=frozenset()), LinksOf(World()))


@pytest.mark.parametrize(
    "predicate",
    [Eq("labels", "x"), Eq("id == '' or facts.id", "x"), In("vis", frozenset("1")), Has("id", "x"), Rng("vis", 0, 1)],
    ids=repr,
)
def test_a_column_that_is_no_fact_of_that_kind_is_refused(predicate: Predicate) -> None:
    """As the SQL reader refuses it; nothing that comes from elsewhere gets into the expression."""
    with pytest.raises(ValueError):
        judge(predicate)
