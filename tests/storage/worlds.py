"""Small random records and predicates of the whole algebra, and an oracle that holds them in a dict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from fhir_server.search.entries import Amount, Entries, Number, Ref, Span, Text, Token, Uri
from fhir_server.search.facts import MULTI, SINGLE, TIMES, Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    And,
    AnyRef,
    Bit,
    DateIs,
    Eq,
    Has,
    In,
    Not,
    NumberIs,
    Or,
    Predicate,
    Present,
    QuantityIs,
    RefersTo,
    Rng,
    StringIs,
    TokenIs,
    Updated,
    UriIs,
)
from fhir_server.storage.interface import Commit, Store, Write
from tests.storage.making import NOON, links

TYPES = ("Observation", "DocumentReference", "Patient", "Practitioner")
LINKS = [f"{type}/{id}" for type in TYPES for id in "abc"]
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
WORDS = ("", "a", "ab", "abc", "b", "é", "\ud7ff", "\U0010ffff", "%", "a\U0010ffff")
URIS = ("http://x", "http://x/", "http://x/a", "http://x/a/b", "http://x/ab", "urn:x", "a//b", "a//b/c", "/a", "")
SINGLE_VALUES = ("a", "b", "Observation", "Patient", "record", "public", "Observation/a", "x", "y", "")
SYSTEMS = ("", "s", "t")
FEW = st.integers(0, 4)
MANY = ("k", "l", "m")


def _subset(values: Iterable[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(sorted(values)), max_size=2)


def _tuples(*parts: Any, of: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.builds(of, *parts), max_size=2, unique=True).map(tuple)


def _ranges(of: Any, *before: Any) -> st.SearchStrategy[Any]:
    """Something that ends in a low and a high end, low <= high."""
    return st.builds(lambda ends, *rest: of(*rest, *ends), st.tuples(FEW, FEW).map(sorted), *before)


PARAM = st.sampled_from(("p", "q"))
AMOUNTS = _ranges(Amount, PARAM, st.sampled_from(SYSTEMS), st.sampled_from(("", "x")))
ENTRIES = st.builds(
    Entries,
    tokens=_tuples(PARAM, st.sampled_from((None, "s", "t")), st.sampled_from(("x", "y")), of=Token),
    strings=_tuples(PARAM, st.sampled_from(WORDS), st.sampled_from(("A", "B")), of=Text),
    dates=st.lists(_ranges(Span, PARAM), max_size=2, unique=True).map(tuple),
    numbers=st.lists(_ranges(Number, PARAM), max_size=2, unique=True).map(tuple),
    quantities=st.lists(AMOUNTS, max_size=2, unique=True).map(tuple),
    references=_tuples(PARAM, st.sampled_from((*LINKS[:4], "http://x/a")), of=Ref),
    uris=_tuples(PARAM, st.sampled_from(URIS), of=Uri),
)


@st.composite
def _facts(draw: st.DrawFn, link: str) -> Facts:
    type, id = link.split("/")
    kind = draw(st.sampled_from(("public", "server"))) if type == "Practitioner" else "record"
    patient = id if type == "Patient" else draw(st.sampled_from(("a", "b"))) if kind == "record" else None
    return Facts(
        type,
        id,
        kind,
        patient,
        type_code=draw(st.sampled_from((None, "x", "y"))),
        class_code=draw(st.sampled_from((None, "x"))),
        vis=draw(st.sampled_from((0, 0, 1, 3))),
        labels=draw(_subset(MANY)),
        authors=draw(_subset(MANY)),
        participants=draw(_subset(MANY)),
        data_time=draw(st.none() | FEW),
        deposited_at=draw(FEW),
        release_at=draw(st.none() | FEW),
        lineage=draw(st.sampled_from(("", "Observation/a", "x"))),
        links=draw(_subset(LINKS)),
    )


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[str, Facts, Entries, bool]]:
    """Writes and deletions, some of the same resource again."""
    chosen = draw(st.lists(st.sampled_from(LINKS), min_size=1, max_size=8))
    return [
        (link, draw(_facts(link)), draw(ENTRIES), draw(st.sampled_from((False, False, False, True)))) for link in chosen
    ]


@dataclass
class World:
    """Resources as they stand, by "Type/id" in the order of creation, and the writes that made them."""

    rows: dict[str, tuple[Row, bool]] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)

    def step(self, link: str, facts: Facts, entries: Entries, deleted: bool) -> None:
        """One more version; a resource that never was is not deleted."""
        version = 1 + sum(f"{write.type}/{write.id}" == link for write in self.writes)
        deleted = deleted and version > 1
        type, id = link.split("/")
        self.writes.append(Write(type, id, version, b"" if deleted else b"{}", facts, entries, deleted))
        self.rows[link] = (replace(self.rows[link][0]), True) if deleted else (Row(facts, entries, NOON), False)

    def targets(self, facts: Facts) -> Iterator[tuple[Facts, bool]]:
        """match.Refs."""
        for link in facts.links & self.rows.keys():
            row, deleted = self.rows[link]
            yield row.facts, not deleted

    def referrers(self, facts: Facts) -> Iterator[Facts]:
        """match.Refs."""
        for row, deleted in self.rows.values():
            if not deleted and f"{facts.rtype}/{facts.id}" in row.facts.links:
                yield row.facts

    def satisfying(self, plan: Plan, visible: Predicate) -> list[str]:
        """The live rows that a search should give, in the order of creation."""
        return [
            link
            for link, (row, deleted) in self.rows.items()
            if not deleted
            and row.facts.rtype in plan.types
            and (plan.patients is None or row.facts.patient in plan.patients)
            and holds(plan.where, row, self)
            and holds(visible, row, self)
        ]

    async def fill(self, store: Store) -> None:
        """Write it all, in one commit, so that every row has the first time of the store."""
        await store.commit(Commit(tuple(self.writes)))

    async def differences(self, store: Store, plan: Plan, visible: Predicate) -> list[str]:
        """What the store finds but should not, and the reverse; empty when the readers agree."""
        wanted = self.satisfying(plan, visible)
        async with store.snapshot() as snapshot:
            given = links(await snapshot.search(replace(plan, limit=1000), visible=visible))
            count = await snapshot.count(plan, visible=visible)
        if given == wanted and count == len(wanted):
            return []
        return [f"{given} for {wanted}, counted {count}"]


def _world(steps: list[tuple[str, Facts, Entries, bool]]) -> World:
    world = World()
    for step in steps:
        world.step(*step)
    return world


WORLDS = _steps().map(_world)

_TIME = st.none() | FEW
_LOW_HIGH = (st.integers(0, 4), st.integers(0, 4))
_COMPARED = (PARAM, st.sampled_from(PREFIXES), *_LOW_HIGH)
FACT_LEAVES = st.one_of(
    st.sampled_from((TRUE, FALSE)),
    st.builds(Eq, st.sampled_from(sorted(SINGLE)), st.none() | st.sampled_from(SINGLE_VALUES)),
    st.builds(In, st.sampled_from(sorted(SINGLE)), st.frozensets(st.sampled_from(SINGLE_VALUES), max_size=3)),
    st.builds(Has, st.sampled_from(sorted(MULTI)), st.sampled_from(("k", "l", "never"))),
    st.builds(Bit, st.sampled_from((0, 1, 2, 3, 16))),
    st.builds(Rng, st.sampled_from(sorted(TIMES)), _TIME, _TIME),
)
_AROUND = st.sampled_from((None, -1, 0, 1, NOON, NOON + 1))
SEARCH_LEAVES = st.one_of(
    st.builds(TokenIs, PARAM, st.sampled_from((None, "", "s", "never")), st.sampled_from((None, "x", "y", "z"))),
    st.builds(StringIs, PARAM, st.sampled_from(("starts", "contains")), st.sampled_from(WORDS)),
    st.builds(StringIs, PARAM, st.just("exact"), st.sampled_from(("A", "B", "C"))),
    st.builds(DateIs, *_COMPARED),
    st.builds(NumberIs, *_COMPARED),
    st.builds(QuantityIs, *_COMPARED, st.sampled_from((None, *SYSTEMS)), st.sampled_from((None, "", "x"))),
    st.builds(RefersTo, PARAM, st.sampled_from((*LINKS[:5], "http://x/a"))),
    st.builds(UriIs, PARAM, st.sampled_from(("exact", "below", "above")), st.sampled_from(URIS)),
    st.builds(Present, st.sampled_from(("p", "q", "never"))),
    st.builds(Updated, _AROUND, _AROUND),
)


def _nodes(inner: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Not, inner),
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(AllRefs, inner),
        st.builds(AnyRef, inner),
    )


PREDICATES: st.SearchStrategy[Predicate] = st.recursive(FACT_LEAVES | SEARCH_LEAVES, _nodes, max_leaves=10)
PLANS = st.builds(
    Plan,
    types=st.lists(st.sampled_from((*TYPES, "Condition")), min_size=1, max_size=4, unique=True).map(tuple),
    where=PREDICATES,
    patients=st.sampled_from((None, ("a",), ("b", "a"), ("never", "a"))),
)
