"""What a document replaces: its lineage by setId and version, and the parents it names (importers §8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from fhir_server.context import Context
from fhir_server.errors import Issue
from fhir_server.record.holdings import documents_by
from fhir_server.search.predicate import TokenIs
from fhir_server.settings import CANONICAL_BASE
from fhir_server.storage.interface import Snapshot, Version
from importers.cda.naming import Naming, RelatedDocument
from importers.issues import issue, rejection

_VERSION: Final = f"{CANONICAL_BASE}/StructureDefinition/document-version"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """`status`: "superseding" when this one ends a stored document, "superseded" when it is the older, else "created".
    `related`: DocumentReference.relatesTo, which names the one that ends."""

    status: str
    related: list[dict[str, Any]]
    issues: tuple[Issue, ...] = ()


async def predecessor(
    ctx: Context, snapshot: Snapshot, names: Naming, patient: str, type_code: str | None, *, strict: bool
) -> Predecessor:
    """What the document relates to among what the caller knows of.

    Raises Invalid: 900 for a version that is not newer, and in strict mode for a parent that is not there; 901 for a
    document of another author.
    """
    related: list[dict[str, Any]] = []
    issues: list[Issue] = []
    current = await _current(ctx, snapshot, names, patient, type_code)
    replaced = None
    for parent in names.parents:
        found = await _stored(ctx, snapshot, patient, parent)
        if parent.code == "replaces" and replaced is None:
            replaced = found
        if found is None and parent.code == "replaces" and strict and current is None:
            raise rejection("900", "no such parent")
        if found is None or parent.code != "replaces":
            related.append(_relation(parent, found))
        if found is None:
            issues.append(issue("parent-unknown"))
    before = replaced or current
    if before is None:
        return Predecessor("created", related, tuple(issues))
    return _ranked(ctx, names, before, related, tuple(issues), strict)


def _ranked(
    ctx: Context,
    names: Naming,
    before: Version,
    related: list[dict[str, Any]],
    issues: tuple[Issue, ...],
    strict: bool,
) -> Predecessor:
    resource = orjson.loads(before.body)
    older = names.version < _version(resource)
    if (names.version == _version(resource) and not names.parents) or (older and strict):
        raise rejection("900", "not newer than the stored version")
    if resource["status"] != "current" and not older:
        raise rejection("900", "the parent is already replaced")
    if not before.facts.authors & ctx.actor.keys and not ctx.services.open:
        raise rejection("901")
    if older:
        return Predecessor("superseded", related, issues)
    target = {"code": "replaces", "target": {"reference": f"DocumentReference/{before.id}"}}
    return Predecessor("superseding", [target, *related], issues)


async def _stored(ctx: Context, snapshot: Snapshot, patient: str, parent: RelatedDocument) -> Version | None:
    for key in parent.ids:
        found = await documents_by(ctx, snapshot, patient, TokenIs("identifier", key.system, key.value))
        for each in found:
            if orjson.loads(each.body).get("masterIdentifier") == key.identifier():
                return each
    return None


async def _current(
    ctx: Context, snapshot: Snapshot, names: Naming, patient: str, type_code: str | None
) -> Version | None:
    """The current document of the same set and type: a setId that two types share is no lineage."""
    set_id = names.set_id
    if set_id is None:
        return None
    where = TokenIs("identifier", set_id.system, set_id.value)
    for each in await documents_by(ctx, snapshot, patient, where):
        resource = orjson.loads(each.body)
        same_set = set_id.identifier().items() <= _set_of(resource).items()
        if resource["status"] == "current" and same_set and each.facts.type_code == type_code:
            return each
    return None


def _set_of(resource: dict[str, Any]) -> dict[str, Any]:
    return next((each for each in resource.get("identifier", ()) if each.get("use") == "secondary"), {})


def _version(resource: dict[str, Any]) -> int:
    for each in resource.get("extension", ()):
        if each.get("url") == _VERSION:
            return int(each.get("valueInteger", 1))
    return 1


def _relation(parent: RelatedDocument, found: Version | None) -> dict[str, Any]:
    if found:
        return {"code": parent.code, "target": {"reference": f"DocumentReference/{found.id}"}}
    target = {"identifier": parent.ids[0].identifier()} if parent.ids else {"display": "?"}
    return {"code": parent.code, "target": target}


def code_of(resource: dict[str, Any]) -> str | None:
    """DocumentReference.type as a code: what the versions of one document share."""
    return next((each["code"] for each in resource.get("type", {}).get("coding", ()) if "code" in each), None)
