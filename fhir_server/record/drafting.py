"""Everything that is written for one document: itself, its content, what its entries became, what it replaces.

Ids: the document's is random; all others are made of it or of its lineage, so that a newer version finds what an older
one wrote. Source: importers page §4 and §8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson

from fhir_server.context import Context
from fhir_server.fhir.json import dump_exact
from fhir_server.fhir.splice import with_identity, with_links, with_members, with_narrative_links
from fhir_server.interactions.derived import Derived, derived_id, derived_of, entries_provenance, is_entry
from fhir_server.interactions.draft import Draft, draft, draft_end, unique_keys
from fhir_server.interactions.siblings import Siblings
from fhir_server.record.incoming import PATIENT, Incoming
from fhir_server.record.lineage import Place, links_in, with_predecessor
from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.predicate import Eq, conj
from fhir_server.storage.interface import Guard, Snapshot, Version, Write
from importers.cda.conversion import Conversion, Report
from importers.cda.entries.dispatch import Bucket
from importers.issues import issue

Resource = dict[str, Any]


class Item(NamedTuple):
    """A resource of a document as it will be stored: links are ids; parsed, and as bytes with its exact numbers."""

    link: str
    resource: Resource
    body: bytes


async def drafts_of(
    ctx: Context, snapshot: Snapshot, incoming: Incoming, patient: str, place: Place
) -> tuple[list[Draft], Report]:
    """The drafts of one commit, the DocumentReference's first, and the report. The trace is then about that."""
    made = incoming.conversion if place.status != "superseded" else incoming.conversion.without_discrete()
    work = _Work(ctx, snapshot, place, f"DocumentReference/{ctx.services.ids()}", patient)
    work.unsure = any(each.coding and each.coding[1] == "unknown-visibility" for each in made.report.issues)
    await work.look()
    original = incoming.conversion.attachments[0].data
    items, made = await ctx.aside(original, work.items, made)
    drafts = await work.drafts(items)
    report = made.report
    if work.edited:
        report = replace(report, issues=(*report.issues, issue("edited-since", detail=str(len(work.edited)))))
    return drafts, report


@dataclass(slots=True)
class _Work:
    ctx: Context
    snapshot: Snapshot
    place: Place
    document: str
    patient: str
    known: Derived = field(default_factory=lambda: Derived("", {}, {}))
    edited: Collection[str] = ()
    unsure: bool = False
    siblings: Siblings = field(default_factory=Siblings)

    async def look(self) -> None:
        """What the lineage has already."""
        if self.place.within:
            self.known = await derived_of(self.snapshot, self.place.within)
        else:
            self.known = Derived(self.document, {}, {})
        entries = {link: row for link, row in self.known.rows.items() if is_entry(self.known.lineage, row)}
        superseded = self.place.status == "superseded"
        self.edited = [] if superseded else [link for link, row in entries.items() if self.known.is_edited(row)]

    def items(self, made: Conversion) -> tuple[list[Item], Conversion]:
        """The valid resources. Raises Malformed where what the document itself became is not valid."""
        while True:
            urls = self._links(made)
            discrete = [self._item(urls, each) for each in made.discrete]
            wrong = {item.link for item in discrete if not self._is_valid(item)}
            if not wrong:
                break
            made = without(made, [each["id"] for each in made.discrete if urls[_url(each)] in wrong])
        described = [*(each.binary() for each in made.attachments), self._document(made)]
        carriers = [made.composition] if made.composition else []
        rest = [self._item(urls, each) for each in (*described, *carriers, *made.provenances)]
        for item in rest:
            self.ctx.checked(item.resource, item.resource["resourceType"])
        count = len(described)
        return [*rest[:count], *discrete, *rest[count:]], made

    async def drafts(self, items: Sequence[Item]) -> list[Draft]:
        facts = self.place.within
        # Content before the document, the document before what it says, and last those that point to all of it.
        found, rest = list[Draft](), list[Item]()
        for item in items:
            kind = item.resource["resourceType"]
            if kind == "Binary":
                found.append(await self._drafted(item, None))
            elif kind == "DocumentReference":
                found.insert(0, await self._document_drafted(item))
                facts = self.siblings.facts[self.document]
            elif item.link not in self.edited:
                rest.append(item)
        versions: dict[str, int] = {}
        for item in rest:
            if item.link == f"Provenance/{entries_provenance(self.known.lineage)}":
                numbered = self._numbered(item, versions)
                found += [await self._drafted(numbered, facts)] if numbered else []
                continue
            found.append(await self._drafted(item, facts))
            versions[item.link] = found[-1].write.version
        if self.place.ends:
            ended = await draft_end(self.ctx, self.snapshot, self.place.ends, self.siblings)
            found.append(ended)
        if self.place.later:
            found.append(self._later(self.place.later))
        return found

    async def _document_drafted(self, item: Item) -> Draft:
        return await draft(
            self.ctx,
            self.snapshot,
            interaction="create",
            body=item.body,
            resource=item.resource,
            id=item.link.partition("/")[2],
            once=self._once(item.resource),
            within=self.place.within,
            unsure=self.unsure,
            siblings=self.siblings,
        )

    async def _drafted(self, item: Item, facts: Facts | None) -> Draft:
        await self.ctx.pace.rest()
        kind, _, id_ = item.link.partition("/")
        before = self.known.rows.get(item.link) or await self._gone(kind, id_)
        return await draft(
            self.ctx.entry(),
            self.snapshot,
            interaction="update" if before else "create",
            body=item.body,
            resource=item.resource,
            id=id_,
            before=before,
            within=facts,
            siblings=self.siblings,
        )

    async def _gone(self, kind: str, id_: str) -> Version | None:
        """What an earlier version said and the last one did not."""
        if not self.place.within or kind == "Binary":
            return None
        of_record = conj(Eq("kind", "record"), Eq("patient", self.patient))
        return await self.snapshot.read(kind, id_, visible=of_record)

    def _later(self, later: Version) -> Draft:
        """The next newer version, which names this one from now on; nobody is asked, since nothing else changes."""
        resource = orjson.loads(later.body)
        changes = with_predecessor(resource, self.document.partition("/")[2])
        resource |= changes
        body, stamp = with_identity(with_members(later.body, changes), later.id, later.version + 1)
        facts = replace(later.facts, links=links_in(resource, self.ctx.base) - {f"{later.type}/{later.id}"})
        entries = extract(self.ctx.services.index.written, later.type, resource, self.ctx.base)
        keys = unique_keys(self.ctx, resource, facts)
        write = Write(later.type, later.id, later.version + 1, body, facts, entries, stamp=stamp, keys=keys)
        return Draft(write, (self.ctx.services.index.guard, Guard(later.type, later.id, later.version)))

    def _once(self, document: Resource) -> tuple[str, ...]:
        """Of the versions of a set that come at the same moment one is the first."""
        set_id = next((each for each in document.get("identifier", ()) if each.get("use") == "secondary"), None)
        if set_id is None or self.place.within:
            return ()
        code = orjson.dumps(document.get("type", {}).get("coding", [])[:1]).decode()
        name = f"{set_id.get('system')}|{set_id.get('value')} {code}"
        return (f"once {self.patient} {self.ctx.actor.reference} {name}",)

    def _numbered(self, item: Item, versions: Mapping[str, int]) -> Item | None:
        """The Provenance of the entries, naming the versions that are written; None where none is."""
        found = [each["reference"] for each in item.resource["target"]]
        targets = [{"reference": f"{link}/_history/{versions[link]}"} for link in found if link in versions]
        if not targets:
            return None
        changes = {"target": targets}
        return Item(item.link, item.resource | changes, with_members(item.body, changes))

    def _document(self, made: Conversion) -> Resource:
        """The DocumentReference with its place among others, holding the content of its entries too."""
        reference = dict(made.document_reference)
        if self.place.related:
            reference["relatesTo"] = list(self.place.related)
        if self.place.status == "superseded":
            reference["status"] = "superseded"
        urls = {each["attachment"].get("url") for each in reference["content"]}
        held = [{"reference": each.full_url} for each in made.attachments if each.full_url not in urls]
        if held:
            context = reference.get("context", {})
            reference["context"] = {**context, "related": [*context.get("related", ()), *held]}
        return reference

    def _links(self, made: Conversion) -> dict[str, str]:
        """What each fullUrl of the conversion becomes."""
        first, *others = made.provenances or ({},)
        own = [(made.document_reference, self.document.partition("/")[2])]
        own += [(each, derived_id(self.document, "Composition")) for each in (made.composition,) if each]
        own += [(first, derived_id(self.document, "Provenance"))] if first else []
        own += [(each, entries_provenance(self.known.lineage)) for each in others]
        own += [(each, derived_id(self.known.lineage, each["resourceType"], each["id"])) for each in made.discrete]
        links = {_url(each): f"{each['resourceType']}/{id_}" for each, id_ in own}
        links |= {each.full_url: f"Binary/{derived_id(self.document, each.id)}" for each in made.attachments}
        return links | {PATIENT: f"Patient/{self.patient}"}

    def _item(self, urls: Mapping[str, str], resource: Resource) -> Item:
        link = urls[_url(resource)]
        kept = {name: each for name, each in resource.items() if name not in ("id", "securityContext")}
        if resource["resourceType"] == "Binary":
            return Item(link, kept, orjson.dumps(kept))
        body = with_links(dump_exact(kept), lambda _, uri: urls.get(uri))
        body = with_narrative_links(body, urls.get)
        return Item(link, orjson.loads(body), body)

    def _is_valid(self, item: Item) -> bool:
        issues = self.ctx.services.validator.validate(item.resource, expect_type=item.resource["resourceType"])
        return not any(each.severity in ("error", "fatal") for each in issues)


def without(made: Conversion, wrong: Iterable[str]) -> Conversion:
    """The conversion without the entries that became those resources: each is told as failed, and stays narrative."""
    bad = set(wrong)
    failed = [each for each in made.report.outcomes if not bad.isdisjoint(each.made)]
    gone = bad.union(*(each.made for each in failed))
    outcomes = tuple(
        each._replace(bucket=Bucket.FAILED, made=()) if each in failed else each for each in made.report.outcomes
    )
    counts = made.report.entries
    counts = replace(counts, mapped=counts.mapped - len(failed), failed=counts.failed + len(failed))
    issues = (*made.report.issues, *(replace(issue("not-valid"), expression=each.path) for each in failed))
    report = replace(made.report, entries=counts, outcomes=outcomes, issues=issues)
    return replace(made.without(gone), report=report)


def _url(resource: Resource) -> str:
    return f"urn:uuid:{resource['id']}"
