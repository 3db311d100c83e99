"""Small random records and predicates of the whole algebra, and an oracle that holds them in a dict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from fhir_server.search.entries import Amount, Combination, Entries, Number, Prose, Ref, Span, Text, Token, Uri
from fhir_server.search.facts import MULTI, SINGLE, TIMES, Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.order import key_of, values
from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    And,
    AnyRef,
    Bit,
    Chained,
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
    Referred,
    RefersTo,
    Rng,
    SomeRef,
    StringIs,
    Together,
    TokenIs,
    Updated,
    UriIs,
    Words,
)
from fhir_server.storage.interface import Commit, Snapshot, Store, Version, Write
from tests.storage.making import NOON, links

TYPES = ("Observation", "DocumentReference", "Patient", "Practitioner")
LINKS = [f"{type}/{id}" for type in TYPES for id in "abc"]
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
TEXTS = ("", "a", "ab", "abc", "b", "é", "\ud7ff", "\U0010ffff", "%", "a\U0010ffff")
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


def _plain(param: st.SearchStrategy[str]) -> dict[str, st.SearchStrategy[Any]]:
    """Entries of the parameters, or of the components of a composite one."""
    amounts = _ranges(Amount, param, st.sampled_from(SYSTEMS), st.sampled_from(("", "x")))
    return {
        "tokens": _tuples(param, st.sampled_from((None, "s", "t")), st.sampled_from(("x", "y")), of=Token),
        "strings": _tuples(param, st.sampled_from(TEXTS), st.sampled_from(("A", "B", "")), of=Text),
        "dates": st.lists(_ranges(Span, param), max_size=2, unique=True).map(tuple),
        "numbers": st.lists(_ranges(Number, param), max_size=2, unique=True).map(tuple),
        "quantities": st.lists(amounts, max_size=2, unique=True).map(tuple),
        "references": _tuples(param, st.sampled_from((*LINKS[:8], "http://x/a")), of=Ref),
        "uris": _tuples(param, st.sampled_from(URIS), of=Uri),
    }


PARAM = st.sampled_from(("p", "q"))
PLACE = st.sampled_from(("0", "1", "0:of-type"))
WORDS = ("", "a", "ab", "é", "A", "a-b", "œdème", "a\x00", "x" * 101, "12w", "\U0010ffff", "0c", '"', "日本")
PROSE = st.builds(
    lambda param, words: Prose(param, " ".join(sorted(set(words)))),
    st.sampled_from(("_text", "_content")),
    st.lists(st.sampled_from(WORDS), max_size=4)
    | st.lists(st.text(st.characters(exclude_categories=("Cs", "Zs")), max_size=3), max_size=3),
)
COMBINATIONS = st.builds(Combination, PARAM, st.builds(Entries, **_plain(PLACE)))
ENTRIES = st.builds(
    Entries,
    **_plain(PARAM),
    combinations=st.lists(COMBINATIONS, max_size=2).map(tuple),
    prose=st.lists(PROSE, max_size=2, unique_by=lambda prose: prose.param).map(tuple),
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
def _steps(draw: st.DrawFn, among: Sequence[str] = LINKS, least: int = 1) -> list[tuple[str, Facts, Entries, bool]]:
    """Writes and deletions, some of the same resource again."""
    chosen = draw(st.lists(st.sampled_from(among), min_size=least, max_size=8))
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

    def row(self, link: str) -> Row | None:
        """match.Refs."""
        row, deleted = self.rows.get(link, (None, True))
        return None if deleted else row

    def referring(self, type: str, param: str, link: str) -> Iterator[Row]:
        """match.Refs."""
        for row, deleted in self.rows.values():
            if not deleted and row.facts.rtype == type and Ref(param, link) in row.entries.references:
                yield row

    def satisfying(self, plan: Plan, visible: Predicate) -> list[str]:
        """The live rows that a search should give, in the plan's order."""
        places = {link: n for n, link in enumerate(self.rows)}
        found = [
            (values(plan.sort, row), places[link])
            for link, (row, deleted) in self.rows.items()
            if not deleted
            and row.facts.rtype in plan.types
            and (plan.patients is None or row.facts.patient in plan.patients)
            and holds(plan.where, row, self)
            and holds(visible, row, self)
        ]
        order = list(self.rows)
        return [order[n] for _, n in sorted(found, key=key_of(plan.sort))]

    async def fill(self, store: Store) -> None:
        """Write it all, in one commit, so that every row has the first time of the store."""
        await store.commit(Commit(tuple(self.writes)))

    async def live_through(self, store: Store, sizes: Iterable[int]) -> list[tuple[Version, Entries]]:
        """Write it all, in commits of these sizes; each version with the entries that it is judged by, a deletion with
        those of the last live version."""
        past: list[tuple[Version, Entries]] = []
        last: dict[str, Entries] = {}
        rest = list(self.writes)
        for size in sizes:
            writes, rest = rest[:size], rest[size:]
            for version, write in zip(await store.commit(Commit(tuple(writes))), writes, strict=True):
                link = f"{version.type}/{version.id}"
                last[link] = last[link] if version.deleted else write.entries
                past.append((version, last[link]))
                row, deleted = self.rows[link]
                self.rows[link] = replace(row, time=version.time), deleted
        return past

    def changes(
        self,
        past: list[tuple[Version, Entries]],
        types: Sequence[str],
        visible: Predicate,
        patients: Sequence[str | None] | None,
        since: int | None,
        at: tuple[int, int] | None,
    ) -> list[tuple[str, int]]:
        """("Type/id", version) of the changes that the store should tell, the last written first."""
        ends = {(each.type, each.id, each.version - 1): each.time for each, _ in past}
        found = []
        for each, entries in reversed(past):
            link, end = f"{each.type}/{each.id}", ends.get((each.type, each.id, each.version))
            current = self.rows[link][0]
            if (
                each.type in types
                and (patients is None or current.facts.patient in patients)
                and (since is None or each.time >= since)
                and (at is None or max(each.time, at[0]) < (at[1] if end is None else min(end, at[1])))
                and holds(visible, current, self)
                and holds(visible, Row(each.facts, entries, each.time), self)
            ):
                found.append((link, each.version))
        return found

    async def differences(self, store: Store, plan: Plan, visible: Predicate) -> list[str]:
        """What the store finds but should not, and the reverse; empty when the readers agree."""
        wanted = self.satisfying(plan, visible)
        async with store.snapshot() as snapshot:
            given = await snapshot.search(replace(plan, limit=1000), visible=visible)
            count = await snapshot.count(plan, visible=visible)
            paged = [each async for page in pages(snapshot, replace(plan, limit=2), visible) for each in page]
        if links(given) == links(paged) == wanted and count == len(wanted):
            return []
        return [f"{links(given)}, in pages {links(paged)}, for {wanted}, counted {count}"]


async def pages(snapshot: Snapshot, plan: Plan, visible: Predicate) -> AsyncIterator[list[Version]]:
    """Every page, each begun where the one before ended."""
    for _ in range(100):
        page = await snapshot.search(plan, visible=visible)
        if not page:
            return
        yield page
        plan = replace(plan, after=(page[-1].order, page[-1].position))


def _world(steps: list[tuple[str, Facts, Entries, bool]]) -> World:
    world = World()
    for step in steps:
        world.step(*step)
    return world


WORLDS = _steps().map(_world)
PASTS = _steps(("Observation/a", "DocumentReference/b"), least=4).map(_world)
"""Worlds of few resources with many versions each."""

_TIME = st.none() | FEW
FACT_LEAVES = st.one_of(
    st.sampled_from((TRUE, FALSE)),
    st.builds(Eq, st.sampled_from(sorted(SINGLE)), st.none() | st.sampled_from(SINGLE_VALUES)),
    st.builds(In, st.sampled_from(sorted(SINGLE)), st.frozensets(st.sampled_from(SINGLE_VALUES), max_size=3)),
    st.builds(Has, st.sampled_from(sorted(MULTI)), st.sampled_from(("k", "l", "never"))),
    st.builds(Bit, st.sampled_from((0, 1, 2, 3, 16))),
    st.builds(Rng, st.sampled_from(sorted(TIMES)), _TIME, _TIME),
)
DIVIDING: st.SearchStrategy[Predicate] = st.sampled_from(
    (Bit(1), Not(Bit(1)), Eq("type_code", "x"), Not(Eq("class_code", "x")), Has("labels", "k"), Rng("data_time", 1, 4))
)
"""About half of the rows satisfy each."""

_AROUND = st.sampled_from((None, -1, 0, 1, NOON, NOON + 1))


def _leaves(param: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    compared = (param, st.sampled_from(PREFIXES), st.integers(0, 4), st.integers(0, 4))
    return st.one_of(
        st.builds(TokenIs, param, st.sampled_from((None, "", "s", "never")), st.sampled_from((None, "x", "y", "z"))),
        st.builds(StringIs, param, st.sampled_from(("starts", "contains")), st.sampled_from(TEXTS)),
        st.builds(StringIs, param, st.just("exact"), st.sampled_from(("A", "B", "C"))),
        st.builds(DateIs, *compared),
        st.builds(NumberIs, *compared),
        st.builds(QuantityIs, *compared, st.sampled_from((None, *SYSTEMS)), st.sampled_from((None, "", "x"))),
        st.builds(RefersTo, param, st.sampled_from((*LINKS[:5], "http://x/a"))),
        st.builds(UriIs, param, st.sampled_from(("exact", "below", "above")), st.sampled_from(URIS)),
        st.builds(Present, param | st.just("never")),
        st.builds(Updated, _AROUND, _AROUND),
    )


SEARCH_LEAVES = st.one_of(
    _leaves(PARAM),
    st.builds(Together, PARAM, st.lists(_leaves(PLACE), min_size=1, max_size=2).map(tuple)),
    st.builds(
        Words,
        st.sampled_from(("_text", "_content", "never")),
        st.lists(st.sampled_from(WORDS), max_size=2).map(tuple),
    ),
)
_SEEN: st.SearchStrategy[Predicate] = st.one_of(
    FACT_LEAVES,
    st.just(TRUE),
    st.builds(lambda patient: Or((Eq("kind", "public"), Eq("patient", patient))), st.sampled_from(("a", "b"))),
)


def _nodes(inner: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    types = st.lists(st.sampled_from((*TYPES, "Condition")), min_size=1, max_size=3, unique=True).map(tuple)
    return st.one_of(
        st.builds(Not, inner),
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(AllRefs, inner),
        st.builds(AnyRef, inner),
        st.builds(SomeRef, inner),
        st.builds(Chained, PARAM, types, inner, _SEEN),
        st.builds(Referred, st.sampled_from((*TYPES, "Condition")), PARAM, inner, _SEEN),
    )


PREDICATES: st.SearchStrategy[Predicate] = st.recursive(FACT_LEAVES | SEARCH_LEAVES, _nodes, max_leaves=10)
KINDS = ("token", "string", "date", "number", "quantity", "reference", "uri")
SORTS = st.lists(
    st.builds(Sort, st.sampled_from(("_lastUpdated", "_id")), st.just("row"), st.booleans())
    | st.builds(Sort, PARAM, st.sampled_from(KINDS), st.booleans()),
    max_size=3,
).map(tuple)
PATIENTS = st.sampled_from((None, None, ("a",), ("b", "a"), ("never", "a")))
PLANS = st.builds(
    Plan,
    types=st.lists(st.sampled_from((*TYPES, "Condition")), min_size=1, max_size=4, unique=True).map(tuple),
    where=PREDICATES,
    patients=PATIENTS,
    sort=SORTS,
)
