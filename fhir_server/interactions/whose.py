"""Whose records a search is about, and what of them its caller may see: decided once, for every row it touches."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from fhir_server.auth.scopes import allows
from fhir_server.consent.kinds import kind_of
from fhir_server.context import Context
from fhir_server.errors import Forbidden, Malformed
from fhir_server.interactions.folders import as_asked
from fhir_server.interactions.patient_lookup import open_record
from fhir_server.search.hops import cleared, uncleared
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate
from fhir_server.search.query import Query
from fhir_server.storage.interface import Snapshot

_NAMING: Final = ("ps", "ncp")
# What can name several patients; without authorization it may, and is then in none of their records.
_OF_SEVERAL: Final = frozenset({"Account", "Appointment", "Contract", "Group", "Person", "Provenance", "Schedule"})
NAME_ONE: Final = "A professional's search of a record names one patient."


@dataclass(frozen=True, slots=True)
class View:
    """What one caller may see, in one snapshot, of the records that one question is about.

    `patients`: those records, None when the question names none. `letter`: the right that is used (access §2).
    """

    ctx: Context
    snapshot: Snapshot
    patients: tuple[str, ...] | None = None
    letter: str = "s"

    async def of(self, types: Collection[str]) -> Predicate:
        """The rows of these types that the caller may see."""
        narrow = self.ctx.services.narrow
        return await narrow.for_search(self.snapshot, self.ctx.actor, self.patients, letter=self.letter, only=types)

    async def cleared(self, where: Predicate) -> Predicate:
        """The criteria with what the caller may see in every hop (access §4)."""
        wanted = uncleared(where)
        if not wanted:
            return where
        seen = {types: await self.of(types) for types in wanted}
        return cleared(where, seen.__getitem__)

    async def search(self, plan: Plan) -> tuple[Plan, Predicate]:
        """The plan as the store may be asked it, and what of its rows the caller may see."""
        where = plan.where if self.ctx.services.open else as_asked(plan.where, plan.types)
        patients = plan.patients
        if self.ctx.services.open and not _OF_SEVERAL.isdisjoint(plan.types):
            patients = None
        if patients is None:
            patients = self.records(plan.types)
        return replace(plan, where=await self.cleared(where), patients=patients), await self.of(plan.types)

    def records(self, types: Collection[str]) -> tuple[str, ...] | None:
        """The records that every visible row of these types is in, None where some may be in none: a hint for the store
        (Plan.patients). Content is in no record, and what may be anyone's need not be."""
        actor = self.ctx.actor
        bound = actor.patients if self.patients is None else self.patients
        sure = actor.role in ("patient", "rep", "app", *_NAMING) and "Binary" not in types
        return bound if sure and all(kind_of(each) == "record" for each in types) else None


async def view_of(ctx: Context, snapshot: Snapshot, query: Query) -> View:
    """The view that a search is answered in; the access log learns whose record it is about.

    Raises Forbidden where the token does not cover the other end of a hop, and Malformed where the request does not say
    which one record it is about; both are judged from token and request alone.
    """
    _allow_hops(ctx, query.plan.where)
    return await _bound(ctx, snapshot, await _named(ctx, snapshot, query))


async def view_of_compartment(ctx: Context, snapshot: Snapshot, query: Query, name: str, id: str) -> View | None:
    """The view of a search in the compartment of one resource, which names the record that the resource is in; None
    when the caller may not see that resource, or there is none: then there is nothing in it either (access L38).

    A Patient names their record whether or not they may be seen themselves, as the parameter `patient` does.
    """
    _allow_hops(ctx, query.plan.where)
    if name == "Patient":
        return await _bound(ctx, snapshot, (id,))
    if not any(allows(ctx.actor.scopes, ctx.actor, name, letter) for letter in "rs"):
        raise Forbidden("The scopes of this token do not cover the resource of this compartment.")
    if kind_of(name) == "record":
        record = await snapshot.compartment(name, id)
        view = await _bound(ctx, snapshot, (record,) if record else ())
    else:
        view = await _bound(ctx, snapshot, await _named(ctx, snapshot, query))
    owner = await snapshot.read(name, id, visible=await replace(view, letter="rs").of((name,)))
    return None if owner is None or owner.deleted else view


async def view_without_name(ctx: Context, snapshot: Snapshot, *, letter: str = "s") -> View:
    """The view of a question that cannot name a patient: the caller's own record, and what is nobody's."""
    return await _bound(ctx, snapshot, None, letter)


async def confined(ctx: Context, snapshot: Snapshot, type_: str, query: Query) -> tuple[Plan, Predicate]:
    """A search of one type inside another interaction: its plan, cleared, and what of it the caller may see."""
    await ctx.services.narrow.check_shared(snapshot, ctx.actor, type_)
    return await (await view_of(ctx, snapshot, query)).search(query.plan)


async def _bound(ctx: Context, snapshot: Snapshot, patients: tuple[str, ...] | None, letter: str = "s") -> View:
    """The view of these records; of a token's own, one at a time, so that each line of the log is about one record."""
    own = ctx.actor.patients if patients is None else tuple(each for each in ctx.actor.patients if each in patients)
    if len(own) > 1:
        raise Malformed("This token is for several records: name one patient.", expression="patient")
    aimed = own or patients or ()
    if len(aimed) == 1:
        await ctx.about(snapshot, "Patient", aimed[0])
    return View(ctx, snapshot, patients, letter)


async def _named(ctx: Context, snapshot: Snapshot, query: Query) -> tuple[str, ...] | None:
    """The patients that the query names. A professional's search of a record names one: by itself, by an identifier,
    or by one `_id`; judged from the request alone, so that each search is in the log of the record it is about."""
    types, patients = query.plan.types, query.plan.patients
    wanting = ctx.services.narrow.must_name_patient(ctx.actor, types)
    if ctx.actor.role == "ncp" and types == ("Patient",) and query.named is not None:
        wanting = True
    if ctx.actor.role not in _NAMING or not (wanting or (patients is not None and types == ("Patient",))):
        return patients
    if patients is None and query.named is not None:
        found = await open_record(ctx, snapshot, query.named)
        return (found.id,) if found else ()
    named = patients if patients is not None else query.ids if len(types) == 1 else ()
    if len(named) != 1:
        raise Malformed(NAME_ONE, expression="patient")
    if patients is not None:
        return patients
    record = await snapshot.compartment(types[0], query.ids[0])
    return (record,) if record else ()


def covered(ctx: Context, letter: str) -> tuple[str, ...]:
    """The types that the token covers; raises Forbidden when there are none. The log is asked for by itself."""
    apart = {"Parameters"} if ctx.services.open else {"Parameters", "AuditEvent"}
    types = sorted(ctx.services.definitions.resource_types - apart)
    found = tuple(each for each in types if allows(ctx.actor.scopes, ctx.actor, each, letter))
    if not found:
        raise Forbidden("The scopes of this token do not cover that.")
    return found


def _allow_hops(ctx: Context, where: Predicate) -> None:
    """403 where no type at the other end of a hop is within the scopes: said, instead of finding nothing."""
    for types in uncleared(where):
        if not any(allows(ctx.actor.scopes, ctx.actor, each, "s") for each in types):
            raise Forbidden("The scopes of this token do not cover what a chain leads to.")
