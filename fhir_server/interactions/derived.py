"""What a document was turned into follows it: hidden and shown with it, retired when it is replaced or withdrawn.

The resources of one document are tied to it by what only the server sets: the lineage among their facts, and ids that
are made of it. Those that its entries became exist for the current document of a lineage; Composition and first
Provenance for each. All of it is written in the commit that changes the document: nothing gets out of step with it.
Source: importers page §4 and §8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import orjson

from fhir_server.consent.categories import sensitivities
from fhir_server.consent.compartment import links_of, said_in
from fhir_server.context import Context
from fhir_server.fhir.references import parse_reference
from fhir_server.fhir.splice import with_identity, with_members
from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Eq, conj
from fhir_server.storage.interface import Snapshot, Version, Write

TYPES: Final = (
    "AllergyIntolerance",
    "Composition",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "FamilyMemberHistory",
    "Immunization",
    "ImmunizationRecommendation",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Procedure",
    "Provenance",
    "Specimen",
)
"""What documents are turned into, beside their content and themselves."""

_CARRIERS: Final = ("Composition", "Provenance")
_ENTRIES: Final = "entries"
_MOST: Final = 1_000_000


def derived_id(link: str, *key: str) -> str:
    """The id of what exists once for `link`, a document or a lineage ("DocumentReference/…"), under that key.

    The id of a document is random, so nobody who does not know it can tell this one.
    """
    return str(uuid5(uuid5(NAMESPACE_URL, link), "|".join(key)))


def entries_provenance(lineage: str) -> str:
    """The id of the Provenance of what the entries of a lineage became."""
    return derived_id(lineage, "Provenance", _ENTRIES)


def own_ids(document: str) -> frozenset[str]:
    """The ids of what exists for each document, by its id: Composition and Provenance."""
    return frozenset(derived_id(f"DocumentReference/{document}", each) for each in _CARRIERS)


@dataclass(frozen=True, slots=True)
class Derived:
    """The live rows of a lineage beside its documents, by "Type/id"; `written`: "Type/id" of those that stand as they
    were imported, to their version."""

    lineage: str
    rows: Mapping[str, Version]
    written: Mapping[str, str]

    def is_edited(self, row: Version) -> bool:
        """Whether somebody has changed it since: the Provenance names the version that was imported."""
        if row.type == "Provenance":
            return False
        return self.written.get(f"{row.type}/{row.id}") != str(row.version)


def is_entry(lineage: str, row: Version) -> bool:
    """Whether a row of a lineage was made of entries, and exists for the current document only."""
    return row.type not in _CARRIERS or row.id == entries_provenance(lineage)


async def derived_of(snapshot: Snapshot, facts: Facts) -> Derived:
    """What the documents of the lineage of those facts were turned into, whoever may see it."""
    if facts.patient is None:
        return Derived(facts.lineage, {}, {})
    of_record = conj(Eq("kind", "record"), Eq("patient", facts.patient))
    plan = Plan(TYPES, Eq("lineage", facts.lineage), patients=(facts.patient,), limit=_MOST)
    rows = {f"{each.type}/{each.id}": each for each in await snapshot.search(plan, visible=of_record)}
    source = rows.get(f"Provenance/{entries_provenance(facts.lineage)}")
    targets = orjson.loads(source.body)["target"] if source else []
    written = (each["reference"].partition("/_history/") for each in targets)
    return Derived(facts.lineage, rows, {link: version for link, _, version in written})


async def following(
    ctx: Context,
    snapshot: Snapshot,
    before: Version,
    after: Facts,
    resource: dict[str, Any] | None,
    written: Collection[str] = (),
) -> tuple[Write, ...]:
    """What a new version of a document brings about in what it was turned into; `resource` None: it is withdrawn.

    `written`: "Type/id" of what the same commit writes anyway. A resource that was edited since is not retired: it says
    more than the document; it still shows and hides with it.
    """
    if before.type != "DocumentReference" or before.deleted:
        return ()
    earlier = orjson.loads(before.body)
    was, stays = (each is not None and each.get("status") == "current" for each in (earlier, resource))
    relabelled = resource is not None and (_hides(before.facts, earlier) != _hides(after, resource))
    if resource is not None and was == stays and not relabelled:
        return ()
    known = await derived_of(snapshot, before.facts)
    change = _Change(ctx, known, after, resource, retires=was and not stays, relabels=relabelled)
    mine = own_ids(before.id)
    rows = [row for link, row in known.rows.items() if link not in written]
    return change.of([row for row in rows if row.id in mine or (was and is_entry(known.lineage, row))], mine)


@dataclass(slots=True)
class _Change:
    """One change of a document, as it is carried on to each row."""

    ctx: Context
    known: Derived
    after: Facts
    resource: dict[str, Any] | None
    retires: bool
    relabels: bool

    def of(self, rows: Iterable[Version], mine: Collection[str]) -> tuple[Write, ...]:
        writes = {f"{row.type}/{row.id}": self._write(row, row.id in mine) for row in rows}
        found = {link: each for link, each in writes.items() if each}
        source = f"Provenance/{entries_provenance(self.known.lineage)}"
        if source in found and not found[source].deleted:
            found[source] = self._renumbered(self.known.rows[source], found)
        return tuple(found.values())

    def _write(self, row: Version, mine: bool) -> Write | None:
        if self.resource is None and mine:
            return _deletion(row)
        if self.retires and not mine and not self.known.is_edited(row):
            return _deletion(row)
        changes: dict[str, Any] = {}
        if self.retires and row.type == "Composition":
            gone = [link for link, each in self.known.rows.items() if is_entry(self.known.lineage, each)]
            changes = without_links(orjson.loads(row.body), gone)
        if self.relabels:
            changes["meta"] = {**orjson.loads(row.body)["meta"], "security": codings_of(self.resource or {})}
        return self._changed(row, changes) if changes else None

    def _changed(self, row: Version, changes: Mapping[str, Any]) -> Write:
        body, stamp = with_identity(with_members(row.body, changes), row.id, row.version + 1)
        resource = orjson.loads(body)
        links = links_of(said_in(resource), base=self.ctx.base) - {f"{row.type}/{row.id}"}
        facts = replace(row.facts, links=links)
        if self.relabels:
            labels = (row.facts.labels - self._dropped(row)) | self.after.labels
            facts = replace(facts, vis=self.after.vis, release_at=self.after.release_at, labels=labels)
        entries = extract(self.ctx.services.index.written, row.type, resource, self.ctx.base)
        return Write(row.type, row.id, row.version + 1, body, facts, entries, stamp=stamp)

    def _dropped(self, row: Version) -> frozenset[str]:
        """The sensitivities that it had of its document alone, which may have none any more."""
        return row.facts.labels - sensitivities(said_in(orjson.loads(row.body)).codings)

    def _renumbered(self, source: Version, writes: Mapping[str, Write]) -> Write:
        """The Provenance of the entries, naming the versions that only followed the document as the imported ones."""
        resource = orjson.loads(source.body)
        for each in resource["target"]:
            link = each["reference"].partition("/_history/")[0]
            row = self.known.rows.get(link)
            if link in writes and row and not self.known.is_edited(row):
                each["reference"] = f"{link}/_history/{writes[link].version}"
        meta = {**resource["meta"], "security": codings_of(self.resource or {})}
        return self._changed(source, {"target": resource["target"], "meta": meta})


def codings_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The security labels of a document as meta.security has them."""
    return [dict(coding) for each in document.get("securityLabel", ()) for coding in each.get("coding", ())]


def without_links(resource: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """The members of a resource that change when references to those, as "Type/id", are taken out of it."""
    found = {name: _cut(each, gone) for name, each in resource.items()}
    return {name: each or None for name, each in found.items() if each != resource[name]}


def _cut(value: Any, gone: Collection[str]) -> Any:
    if isinstance(value, list):
        return [cut for each in value if (cut := _cut(each, gone)) not in ({}, [], None)]
    if not isinstance(value, dict):
        return value
    if _link(value.get("reference")) in gone:
        return None
    kept = {name: _cut(each, gone) for name, each in value.items()}
    return {name: each for name, each in kept.items() if each not in ({}, [], None) or value[name] == each}


def _link(reference: object) -> str:
    found = parse_reference(reference) if isinstance(reference, str) else None
    return f"{found.type}/{found.id}" if found and found.kind == "relative" else ""


def _hides(facts: Facts, resource: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """All of a document that decides who may see it."""
    return (facts.vis, facts.release_at, facts.labels, codings_of(resource or {}))


def _deletion(row: Version) -> Write:
    return Write(row.type, row.id, row.version + 1, b"", row.facts, deleted=True)
