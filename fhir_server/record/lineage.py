"""Where a document stands among the stored ones: what it replaces, and what has replaced it (importers §8).

Nothing depends on the order in which the versions of a document come: of all that are stored the newest is current, and
each names the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fhir_server.consent.compartment import links_of, said_in
from fhir_server.consent.decide import authored
from fhir_server.context import Context
from fhir_server.errors import Issue
from fhir_server.record.holdings import documents_by
from fhir_server.search.facts import Facts
from fhir_server.search.predicate import RefersTo, TokenIs
from fhir_server.settings import CANONICAL_BASE
from fhir_server.storage.interface import Snapshot, Version
from importers.cda.datatypes import Key
from importers.cda.naming import Naming, RelatedDocument
from importers.issues import issue, rejection

_VERSION: Final = f"{CANONICAL_BASE}/StructureDefinition/document-version"
_REPLACES: Final = "replaces"


@dataclass(frozen=True, slots=True)
class Place:
    """`status`: "superseding" when it ends a stored document, "superseded" when a newer one is stored, else "created".

    `ends`: the current document that it replaces; `within`: the facts of a document of its lineage; `related`:
    DocumentReference.relatesTo; `later`: the next newer version, which names this one from now on.
    """

    status: str = "created"
    ends: Version | None = None
    within: Facts | None = None
    later: Version | None = None
    related: tuple[dict[str, Any], ...] = ()
    issues: tuple[Issue, ...] = ()


async def place_of(
    ctx: Context, snapshot: Snapshot, names: Naming, patient: str, document: dict[str, Any], *, strict: bool
) -> Place:
    """The place of a document among what the caller knows of.

    Raises Invalid: 900 for a version that is not newer, for a parent that is replaced already and, in strict mode, for
    one that is not there or a version that comes late; 901 for a document of another author.
    """
    return await _Finding(ctx, snapshot, names, patient, document, strict).place()


@dataclass(slots=True)
class _Finding:
    ctx: Context
    snapshot: Snapshot
    names: Naming
    patient: str
    document: dict[str, Any]
    strict: bool

    async def place(self) -> Place:
        family, shared = await self._family()
        parent, related, issues = await self._parents()
        if shared:
            issues.append(issue("set-shared"))
        later = await self._declared_by() or _next(family, self.names.version)
        before = self._before(family, parent)
        same = any(_version(each) == self.names.version for each in family)
        if same and parent is None and later is None:
            raise rejection("900", "this version is stored already")
        if later is not None:
            return self._late(later, before, related, issues)
        if before is None:
            if self.strict and any(each.code == _REPLACES for each in self.names.parents):
                raise rejection("900", "no such parent")
            return Place(related=tuple(related), issues=tuple(issues))
        return await self._newest(before, related, issues)

    def _late(
        self, later: Version, before: Version | None, related: list[dict[str, Any]], issues: list[Issue]
    ) -> Place:
        if self.strict:
            raise rejection("900", "not newer than the stored version")
        self._check_author(later)
        ends = before if before and _is_current(before) else None
        if ends:
            self._check_author(ends)
        found = (*_replacing(before), *_without(related, before))
        return Place("superseded", ends, later.facts, later, found, tuple(issues))

    async def _newest(self, before: Version, related: list[dict[str, Any]], issues: list[Issue]) -> Place:
        current = _is_current(before)
        if not current and await self._is_replaced(before):
            raise rejection("900", "the parent is already replaced")
        self._check_author(before)
        found = (*_replacing(before), *_without(related, before))
        if not current:
            return Place("created", None, before.facts, None, found, tuple(issues))
        return Place("superseding", before, before.facts, None, found, tuple(issues))

    def _before(self, family: list[Version], parent: Version | None) -> Version | None:
        """The version before it: of the same set, unless it only names a parent elsewhere."""
        older = [each for each in family if _version(each) < self.names.version]
        if older:
            return max(older, key=_version)
        return parent

    async def _family(self) -> tuple[list[Version], bool]:
        """The stored documents of the same set and type, and whether another type shares the set."""
        set_id = self.names.set_id
        if set_id is None:
            return [], False
        found = await self._by(set_id)
        of_set = [each for each in found if set_id.identifier().items() <= _set_of(orjson.loads(each.body)).items()]
        code = code_of(self.document)
        family = [each for each in of_set if code_of(orjson.loads(each.body)) == code]
        return family, len(family) < len(of_set)

    async def _parents(self) -> tuple[Version | None, list[dict[str, Any]], list[Issue]]:
        """The stored document that it says it replaces, its other relations, what is missing."""
        parent, related, issues = None, list[dict[str, Any]](), list[Issue]()
        for each in self.names.parents:
            found = await self._stored(each)
            if found is None:
                issues.append(issue("parent-unknown"))
            if each.code == _REPLACES and found and parent is None:
                parent = found
            else:
                related.append(_relation(each, found))
        return parent, related, issues

    async def _stored(self, parent: RelatedDocument) -> Version | None:
        for key in parent.ids:
            for each in await self._by(key):
                resource = orjson.loads(each.body)
                own = [resource.get("masterIdentifier", {}), *_entry_ids(resource)]
                if key.identifier() in own:
                    return each
        return None

    async def _declared_by(self) -> Version | None:
        """The stored document that says it replaces this one, which was not there yet."""
        keys = [self.names.unique_id, *(Key(each["system"], each["value"]) for each in _entry_ids(self.document))]
        for key in keys:
            where = TokenIs("relatesto:identifier", key.system, key.value)
            for each in await documents_by(self.ctx, self.snapshot, self.patient, where):
                targets = replaced_by(orjson.loads(each.body))
                if any(target.get("identifier") == key.identifier() for target in targets):
                    return each
        return None

    async def _is_replaced(self, before: Version) -> bool:
        """Whether a stored document has taken the place of one that is not current."""
        link = f"DocumentReference/{before.id}"
        found = await documents_by(self.ctx, self.snapshot, self.patient, RefersTo("relatesto", link))
        return any({"reference": link} in replaced_by(orjson.loads(each.body)) for each in found)

    async def _by(self, key: Key) -> Iterable[Version]:
        return await documents_by(self.ctx, self.snapshot, self.patient, TokenIs("identifier", key.system, key.value))

    def _check_author(self, before: Version) -> None:
        """901 unless its depositor deposited that one too; in strict mode, unless they have an author in common."""
        if not self.ctx.services.open and not authored(self.ctx.actor, before.facts):
            raise rejection("901")
        one, other = (_authors(each) for each in (self.document, orjson.loads(before.body)))
        if self.strict and one and other and one.isdisjoint(other):
            raise rejection("901", "no author in common")


def with_predecessor(later: dict[str, Any], document: str) -> dict[str, Any]:
    """The members of a newer version that change when it names `document`, an id, as the one it replaces."""
    others = [each for each in later.get("relatesTo", ()) if each.get("code") != _REPLACES]
    return {"relatesTo": [_replaces(document), *others]}


def links_in(resource: dict[str, Any], base: str) -> frozenset[str]:
    """What a document points to on this server."""
    return links_of(said_in(resource), base=base)


def replaced_by(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """What a document says it replaces."""
    return [each["target"] for each in resource.get("relatesTo", ()) if each.get("code") == _REPLACES]


def code_of(resource: dict[str, Any]) -> str | None:
    """DocumentReference.type as a code: what the versions of one document share."""
    return next((each["code"] for each in resource.get("type", {}).get("coding", ()) if "code" in each), None)


def _next(family: list[Version], version: int) -> Version | None:
    return min((each for each in family if _version(each) > version), key=_version, default=None)


def _is_current(document: Version) -> bool:
    return bool(orjson.loads(document.body).get("status") == "current")


def _version(document: Version) -> int:
    for each in orjson.loads(document.body).get("extension", ()):
        if each.get("url") == _VERSION:
            return int(each.get("valueInteger", 1))
    return 1


def _set_of(resource: dict[str, Any]) -> dict[str, Any]:
    return next((each for each in resource.get("identifier", ()) if each.get("use") == "secondary"), {})


def _entry_ids(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """The entryUUIDs that registries have given to it."""
    return [each for each in resource.get("identifier", ()) if str(each.get("value", "")).startswith("urn:uuid:")]


def _authors(document: dict[str, Any]) -> set[str]:
    """The identifiers of the persons, organisations and devices that wrote it, as far as it contains them."""
    contained = {f"#{each.get('id')}": each for each in document.get("contained", ())}
    waiting, seen, keys = [each.get("reference") for each in document.get("author", ())], set(), set()
    while waiting:
        name = waiting.pop()
        actor = contained.get(name)
        if actor is None or name in seen:
            continue
        seen.add(name)
        keys |= {f"{each.get('system')}|{each.get('value')}" for each in actor.get("identifier", ())}
        waiting += [each.get("reference") for each in said_in(actor).references]
    return keys


def _relation(parent: RelatedDocument, found: Version | None) -> dict[str, Any]:
    if found:
        return {"code": parent.code, "target": {"reference": f"DocumentReference/{found.id}"}}
    target = {"identifier": parent.ids[0].identifier()} if parent.ids else {"display": "?"}
    return {"code": parent.code, "target": target}


def _replaces(document: str) -> dict[str, Any]:
    return {"code": _REPLACES, "target": {"reference": f"DocumentReference/{document}"}}


def _replacing(before: Version | None) -> list[dict[str, Any]]:
    return [_replaces(before.id)] if before else []


def _without(related: list[dict[str, Any]], before: Version | None) -> list[dict[str, Any]]:
    """A document replaces one: what else it says it replaces is left out once that is known."""
    return [each for each in related if before is None or each["code"] != _REPLACES]
