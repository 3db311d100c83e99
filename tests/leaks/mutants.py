"""Rules, readers and interactions that are deliberately wrong, each put in place of the right one in a running server.

Spec access §4 names the first of them; the others are what a hasty change might make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.consent import audit_search, facts, rules
from fhir_server.consent.grounds import Ground
from fhir_server.consent.keys import own_keys
from fhir_server.consent.openings import EMERGENCIES, openings_of
from fhir_server.consent.policy import RecordPolicy, Team
from fhir_server.consent.remembered import Remembered
from fhir_server.context import Context, Request
from fhir_server.errors import Forbidden, Gone, NotBuilt, NotFound
from fhir_server.interactions import conditional, draft, include, paging, read, router, whose
from fhir_server.search.hops import cleared
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import FALSE, TRUE, And, Eq, Or, Predicate, Rng, conj, disj, has_any, negate
from fhir_server.storage.interface import Version
from fhir_server.storage.sqlite import compile as compiler
from fhir_server.storage.sqlite.clauses import Clause, joined
from fhir_server.storage.sqlite.read import SqliteSnapshot

Breaking = Callable[[pytest.MonkeyPatch], None]


@contextmanager
def broken(breaking: Breaking) -> Iterator[None]:
    """For the length of a block, every server of this process has this fault; predicates made before are forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Remembered, "known", lambda *_, **__: None)
        patch.setattr(
            Remembered,
            "predicate",
            lambda self, actor, policies, now, **asked: self._rules.predicate(actor, policies, now, **asked),
        )
        breaking(patch)
        yield


def masks_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nothing is masked."""
    patch.setattr(rules, "_masks", lambda case, others=TRUE: Ground("masked", FALSE))


def gate_always_open(patch: pytest.MonkeyPatch) -> None:
    """Every professional is as of the care team."""
    patch.setattr(rules, "gates_of", lambda actor, policy, now: iter([("team", "")]))


def grant_for_everyone(patch: pytest.MonkeyPatch) -> None:
    """D05 opens the record to whoever asks."""
    sound = rules.Case.live

    def live(case: rules.Case, *ids: str) -> Any:
        me = min(case.actor.keys, default="")
        return tuple(replace(each, actor=me) if each.id == "D05" else each for each in sound(case, *ids))

    patch.setattr(rules.Case, "live", live)


def own_pierces_a_deny(patch: pytest.MonkeyPatch) -> None:
    """A block leaves one's own deposits."""
    sound = rules.Rules._denies

    def denies(self: rules.Rules, case: rules.Case, **more: Any) -> Any:
        others = negate(has_any("authors", own_keys(case.actor, by_structure=True)))
        return tuple(each._replace(rows=conj(each.rows, others)) for each in sound(self, case, **more))

    patch.setattr(rules.Rules, "_denies", denies)


def treating_doctor_obeys_everything(patch: pytest.MonkeyPatch) -> None:
    """A deny that names nobody binds the médecin traitant."""
    sound = rules.Rules._applies
    patch.setattr(
        rules.Rules, "_applies", lambda self, directive, actor, mode, mt: sound(self, directive, actor, mode, False)
    )


def emergency_as_treating_doctor(patch: pytest.MonkeyPatch) -> None:
    """An emergency pierces masks."""
    sound = rules.is_treating

    def treating(actor: Actor, policy: RecordPolicy, now: int) -> bool:
        declared = rules.regimes(actor, policy.patient, now)
        return sound(actor, policy, now) or not set(declared).isdisjoint(EMERGENCIES)

    patch.setattr(rules, "is_treating", treating)


def opening_for_every_patient(patch: pytest.MonkeyPatch) -> None:
    """What was declared for one record opens all."""
    patch.setattr(
        rules, "regimes", lambda actor, patient, now: tuple(e.regime for e in openings_of(actor) if now < e.until)
    )


def opening_without_end(patch: pytest.MonkeyPatch) -> None:
    """What was declared stays."""
    patch.setattr(
        rules,
        "regimes",
        lambda actor, patient, now: tuple(e.regime for e in openings_of(actor) if e.patient == patient),
    )


def opposition_forgotten(patch: pytest.MonkeyPatch) -> None:
    """D02 is asked when an emergency is declared, not afterwards."""
    patch.setattr(
        rules, "emergency", lambda actor, policy, now: next(iter(rules.regimes(actor, policy.patient, now)), "")
    )


def membership_without_end(patch: pytest.MonkeyPatch) -> None:
    """Who was of a team is."""
    patch.setattr(Team, "holds", lambda self, keys, now: any(not m.keys.isdisjoint(keys) for m in self.members))


def team_without_consent(patch: pytest.MonkeyPatch) -> None:
    """Care teams open the record by themselves."""
    sound = rules.gates_of

    def gates(actor: Actor, policy: RecordPolicy, now: int) -> Iterator[tuple[str, str]]:
        yield from sound(actor, policy, now)
        yield from (("team", "") for team in policy.teams if team.holds(actor.keys, now))

    patch.setattr(rules, "gates_of", gates)


def representative_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Majority ends nothing."""
    patch.setattr(RecordPolicy, "represents", lambda self, reference, now: reference in (self.representatives or {}))


def scopes_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The scope is checked at the door, and not in the rows."""
    patch.setattr(rules, "scope_predicate", lambda *_: TRUE)


def hops_without_predicate(patch: pytest.MonkeyPatch) -> None:
    """A chain goes through what the caller does not see."""
    patch.setattr(whose, "cleared", lambda where, seen: cleared(where, lambda types: TRUE))


def carriers_by_their_own_facts(patch: pytest.MonkeyPatch) -> None:
    """What points to hidden documents is judged as if it did not."""
    sound = rules._with_carriers
    patch.setattr(rules, "_with_carriers", lambda actor, plain, *more: disj(plain, sound(actor, plain, *more)))


def content_for_everyone(patch: pytest.MonkeyPatch) -> None:
    """Whoever knows the address of content reads it."""
    sound = rules._with_carriers
    patch.setattr(rules, "_with_carriers", lambda *asked: disj(sound(*asked), Eq("rtype", "Binary")))


def includes_unguarded(patch: pytest.MonkeyPatch) -> None:
    """What goes with a page is read without the predicate."""
    sound = include.Included._add

    class Unguarded:
        def __init__(self, view: Any) -> None:
            self.view = view

        def __getattr__(self, name: str) -> Any:
            return getattr(self.view, name)

        async def search(self, plan: Plan) -> tuple[Plan, Predicate]:
            return plan, TRUE

    async def add(self: include.Included, *asked: Any) -> None:
        if not isinstance(self._view, Unguarded):
            self._view = Unguarded(self._view)  # type: ignore[assignment]
        await sound(self, *asked)

    patch.setattr(include.Included, "_add", add)


def page_cut_before_the_predicate(patch: pytest.MonkeyPatch) -> None:
    """LIMIT first: hidden rows take places on pages, and of what is included."""
    sound = SqliteSnapshot.search

    async def search(self: SqliteSnapshot, plan: Plan, *, visible: Predicate) -> list[Version]:
        seen = {(each.type, each.id) for each in await sound(self, replace(plan, limit=5_000), visible=visible)}
        return [each for each in await sound(self, plan, visible=TRUE) if (each.type, each.id) in seen]

    patch.setattr(SqliteSnapshot, "search", search)


def total_of_everything(patch: pytest.MonkeyPatch) -> None:
    """The total counts hidden rows."""
    sound = SqliteSnapshot.count

    async def count(self: SqliteSnapshot, plan: Plan, *, visible: Predicate) -> int:
        return await sound(self, plan, visible=TRUE)

    patch.setattr(SqliteSnapshot, "count", count)


def history_by_current_facts(patch: pytest.MonkeyPatch) -> None:
    """Old versions are judged as the current one is."""
    sound = SqliteSnapshot._shows
    patch.setattr(
        SqliteSnapshot,
        "_shows",
        lambda self, visible, row, version: len(row) == 7 or sound(self, visible, row, version),
    )


def cursor_of_anybody(patch: pytest.MonkeyPatch) -> None:
    """A link to a page is good for whoever has it."""
    patch.setattr(paging, "binding", lambda ctx: "")


def _instead_of_not_found(patch: pytest.MonkeyPatch, error: type[Exception], deleted: bool) -> None:
    sound = read._find

    async def find(ctx: Context, type_: str, id_: str, version: int | None) -> Version:
        try:
            return await sound(ctx, type_, id_, version)
        except NotFound:
            async with ctx.store.snapshot() as snapshot:
                found = await snapshot.read(type_, id_, visible=TRUE)
            if found and found.deleted == deleted:
                raise error from None
            raise

    patch.setattr(read, "_find", find)


def forbidden_for_not_found(patch: pytest.MonkeyPatch) -> None:
    """What is hidden is refused instead of absent."""
    _instead_of_not_found(patch, Forbidden, deleted=False)


def gone_for_not_found(patch: pytest.MonkeyPatch) -> None:
    """What was hidden when it was deleted is gone instead of absent."""
    _instead_of_not_found(patch, Gone, deleted=True)


def refused_where_something_is(patch: pytest.MonkeyPatch) -> None:
    """An operation that is not offered is refused where there is something to do it to."""
    sound = router._operation

    def operation(ctx: Context, request: Request, *more: Any) -> Any:
        try:
            return sound(ctx, request, *more)
        except NotBuilt as error:
            missing = error

        async def told(ctx: Context, request: Request) -> Any:
            async with ctx.store.snapshot() as snapshot:
                there = len(request.path) == 3 and await snapshot.read(*request.path[:2], visible=TRUE)
            raise Forbidden if there else missing

        return told

    patch.setattr(router, "_operation", operation)


def criteria_of_writes_unguarded(patch: pytest.MonkeyPatch) -> None:
    """A condition of a write finds what is hidden."""
    sound = conditional.confined

    async def confined(*asked: Any) -> tuple[Plan, Predicate]:
        plan, _ = await sound(*asked)
        return plan, TRUE

    patch.setattr(conditional, "confined", confined)


def replacement_without_lineage(patch: pytest.MonkeyPatch) -> None:
    """What takes the place of a document is another document."""
    patch.setattr(facts, "_lineage", lambda earlier, link: link)


def displays_kept(patch: pytest.MonkeyPatch) -> None:
    """What was written beside a reference stays there."""
    patch.setattr(draft, "without_displays", lambda *_, **__: {})


def folders_as_they_are(patch: pytest.MonkeyPatch) -> None:
    """A folder names what is hidden in it."""

    async def as_shown(ctx: Context, snapshot: Any, versions: Any) -> Any:
        return versions

    patch.setattr(read, "as_shown", as_shown)


def folders_found_by_hidden_entries(patch: pytest.MonkeyPatch) -> None:
    """A folder is searched as it lies in the store."""
    patch.setattr(whose, "as_asked", lambda where, types: where)


def documents_of_everybody_are_unique(patch: pytest.MonkeyPatch) -> None:
    """The identifier of a document may be given once, whoever gave it."""
    sound = draft.unique_keys

    def keys(ctx: Context, resource: Any, found: Any) -> tuple[str, ...]:
        return tuple(each.replace(f" {ctx.actor.reference} ", " ") for each in sound(ctx, resource, found))

    patch.setattr(draft, "unique_keys", keys)


def log_tells_representatives(patch: pytest.MonkeyPatch) -> None:
    """The log hides no line, and no title."""

    async def about(*_: Any) -> bool:
        return False

    patch.setattr(audit_search, "_about", about)


def equals_for_is(patch: pytest.MonkeyPatch) -> None:
    """SQL's third value, where a fact is absent."""
    sound = compiler._READERS[Eq]

    def eq(self: Any, p: Eq) -> Clause:
        found = sound(self, p)
        return Clause(found.text.replace(" IS ?", " = ?"), found.args)

    patch.setitem(compiler._READERS, Eq, eq)


def range_without_not_null(patch: pytest.MonkeyPatch) -> None:
    """SQL's third value, where a time is absent."""
    sound = compiler._READERS[Rng]

    def rng(self: Any, p: Rng) -> Clause:
        found = sound(self, p)
        return Clause(f"({found.text.replace(f'r.{p.column} IS NOT NULL', '1')})", found.args)

    patch.setitem(compiler._READERS, Rng, rng)


def parentheses_missing(patch: pytest.MonkeyPatch) -> None:
    """AND before OR."""

    def bare(word: str) -> Any:
        return lambda self, p: joined([self.condition(part) for part in p.of], word)

    patch.setitem(compiler._READERS, Or, bare(" OR "))
    patch.setitem(compiler._READERS, And, bare(" AND "))
