"""Criteria in place of an id: If-None-Exist, and references such as `Patient?identifier=…`.

A search inside an interaction is the caller's own search: it sees what a GET by the same caller would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from fhir_server.consent.decide import NO_SPACE
from fhir_server.context import Context
from fhir_server.errors import Issue, Malformed, NotFound, PreconditionFailed
from fhir_server.fhir.references import parse_reference
from fhir_server.fhir.splice import with_links
from fhir_server.interactions.patient_lookup import names_a_patient, open_record
from fhir_server.interactions.search import read_query
from fhir_server.interactions.whose import confined
from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.hops import uncleared
from fhir_server.search.match import Row, holds
from fhir_server.search.predicate import TRUE, conj, negate, one_of
from fhir_server.search.query import Query
from fhir_server.storage.interface import Snapshot, Version

# What says how an answer is made up, not what it is about (https://hl7.org/fhir/R4/search.html#return).
_SHAPING: Final = frozenset(
    {
        "_sort",
        "_count",
        "_total",
        "_summary",
        "_elements",
        "_include",
        "_revinclude",
        "_contained",
        "_containedType",
        "_type",
    }
)


async def found_by(
    ctx: Context,
    snapshot: Snapshot,
    type_: str,
    criteria: Iterable[tuple[str, str]],
    place: str,
    *,
    without: Collection[str] = (),
) -> tuple[list[Version], str]:
    """At most two of the resources that match, those of the ids `without` apart; and the name of the criteria, whatever
    their order. Raises Malformed when something in them is not understood, or they narrow nothing."""
    query = read_criteria(ctx, type_, criteria, place)
    if ctx.actor.role == "ps" and type_ == "DocumentReference" and _names_a_document(query):
        # What is theirs, in whatever record: the guides' PATCH names a document by its identifier alone (DOC-20).
        plan, visible = query.plan, ctx.services.narrow.own(ctx.actor)
    else:
        plan, visible = await confined(ctx, snapshot, type_, query)
    plan = replace(plan, limit=2, after=None)
    return await snapshot.search(plan, visible=conj(visible, negate(one_of("id", without)))), query.digest


def _names_a_document(query: Query) -> bool:
    """Whether criteria are one identifier with its system, and nothing else."""
    return [name for name, _ in query.used] == ["identifier"] and all("|" in value for _, value in query.used)


def read_criteria(ctx: Context, type_: str, criteria: Iterable[tuple[str, str]], place: str) -> Query:
    """Criteria as a query. What shapes an answer, or would be left out of account in a search, is an error here: a
    resource must not be changed, or not be made, for a criterion that nobody looked at."""
    pairs = [pair for pair in criteria if pair[0] not in ("_format", "_pretty")]
    query = read_query(ctx, type_, pairs, strict=True)
    if query.warnings:
        # Read strictly, a search passes over nothing but parameters without a value.
        raise Malformed(
            issues=[Issue("required", "This parameter has no value.", each.expression) for each in query.warnings]
        )
    for name, _ in pairs:
        if name.partition(":")[0] in _SHAPING:
            raise Malformed("This parameter is no criterion.", expression=name)
    if query.plan.where == TRUE:
        raise Malformed("Search criteria are expected.", expression=place)
    return query


async def resolved(
    ctx: Context, snapshot: Snapshot, body: bytes, resource: dict[str, Any]
) -> tuple[bytes, dict[str, Any]]:
    """The resource with every conditional reference replaced by the one resource it finds.

    Raises PreconditionFailed (constant text: what is hidden is not there) when one finds none or several.
    """
    wanted = await ctx.aside(body, conditional_references, body)
    if not wanted:
        return body, resource
    targets = {}
    for uri in wanted:
        found = await target_of(ctx, snapshot, uri)
        if len(found) != 1:
            raise unresolved(resource, uri)
        targets[uri] = found.pop()
    return await ctx.aside(body, with_targets, body, targets)


def with_targets(body: bytes, targets: Mapping[str, str]) -> tuple[bytes, dict[str, Any]]:
    """The resource, as bytes and parsed, with what its conditional references have found in their place."""
    body = with_links(body, lambda key, uri: targets.get(uri) if key == "reference" else None)
    return body, orjson.loads(body)


def conditional_references(body: bytes) -> list[str]:
    """The `Type?criteria` references of a resource, each once, in order."""
    found: dict[str, None] = {}

    def note(key: str, uri: str) -> None:
        if key == "reference" and parse_reference(uri).kind == "conditional":
            found[uri] = None

    with_links(body, note)
    return list(found)


async def target_of(ctx: Context, snapshot: Snapshot, uri: str, without: Collection[str] = ()) -> set[str]:
    """What a conditional reference finds among the stored, as "Type/id"; two stand for several. `without`: links of
    resources that are not stored as they will be."""
    type_, _, criteria = uri.partition("?")
    pairs = parse_qsl(criteria, keep_blank_values=True)
    if names_a_patient(ctx, type_, pairs):
        # Whose record a deposit is for: feeding is not reading, so it needs no right to see the Patient (PAT-12).
        where = read_query(ctx, type_, pairs, strict=True).plan.where
        patient = await open_record(ctx, snapshot, where)
        if patient is None:
            raise NotFound(NO_SPACE)
        return {f"Patient/{patient.id}"}
    ids = [link.partition("/")[2] for link in without if link.startswith(f"{type_}/")]
    found, _ = await found_by(ctx, snapshot, type_, pairs, "reference", without=ids)
    return {f"{type_}/{each.id}" for each in found}


class Written:
    """Resources that are about to be written, as something that criteria can find. `of_type`: those of a type, each
    with its "Type/id"."""

    def __init__(self, ctx: Context, of_type: Callable[[str], Iterable[tuple[str, dict[str, Any]]]]) -> None:
        self._ctx = ctx
        self._of_type = of_type
        self._rows: dict[str, list[tuple[str, Row]]] = {}

    def matches(self, uri: str) -> set[str]:
        """What a conditional reference finds among them."""
        type_, _, criteria = uri.partition("?")
        pairs = parse_qsl(criteria, keep_blank_values=True)
        where = read_criteria(self._ctx, type_, pairs, "reference").plan.where
        if uncleared(where):
            # A chain leads to what is stored, and is followed there alone.
            return set()
        if type_ not in self._rows:
            self._rows[type_] = [(link, self._row(type_, link, each)) for link, each in self._of_type(type_)]
        return {link for link, row in self._rows[type_] if holds(where, row)}

    def _row(self, type_: str, link: str, resource: dict[str, Any]) -> Row:
        entries = extract(self._ctx.services.registry, type_, resource, self._ctx.base)
        return Row(Facts(rtype=type_, id=link.partition("/")[2], kind="record"), entries, self._ctx.now())


def unresolved(resource: dict[str, Any], uri: str) -> PreconditionFailed:
    """The one answer for no match, several matches and matches that are not for this caller."""
    place = next(_places(resource, resource["resourceType"], uri), "")
    text = "A conditional reference does not resolve to one resource."
    return PreconditionFailed(issues=[Issue("not-found", text, place)])


def _places(value: Any, path: str, uri: str) -> Iterator[str]:
    """Where a resource has that reference, as FHIRPaths."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "reference" and part == uri:
                yield f"{path}.reference"
            else:
                yield from _places(part, f"{path}.{name}", uri)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _places(part, f"{path}[{index}]", uri)
