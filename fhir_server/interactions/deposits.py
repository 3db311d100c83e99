"""The same deposit again: a document, or a submission set, that its depositor has made already (DOC-4).

Looked for among what the caller sees or deposited: what is hidden from them is as if it had never come (access §4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from fhir_server.consent.compartment import patient_of, said_in
from fhir_server.consent.displays import without_displays
from fhir_server.consent.keys import link_of
from fhir_server.consent.labels import TRE_A07, canonical_labels
from fhir_server.context import Context
from fhir_server.errors import Conflict, Issue
from fhir_server.interactions.documents import digest_of
from fhir_server.interactions.links import known_version
from fhir_server.interactions.siblings import Siblings
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE, TokenIs, disj
from fhir_server.storage.interface import Snapshot, Version

_MOST: Final = 50
_ASIDE: Final = frozenset({"id", "meta", "securityLabel", "content"})
_OF_CONTENT: Final = ("url", "size", "hash")


class Unchanged(Conflict):
    """This is here already, as it was sent: nothing is to be written."""

    def __init__(self, version: Version) -> None:
        """`version`: the current one of what is here."""
        super().__init__()
        self.version = version


async def check_deposit(ctx: Context, snapshot: Snapshot, resource: dict[str, Any], siblings: Siblings) -> None:
    """Raise Unchanged for what was deposited before just so, Conflict for another document under the same
    masterIdentifier. A submission set that says something else under the same identifier is another one."""
    if ctx.services.open:
        return
    if resource["resourceType"] == "DocumentReference" and "masterIdentifier" in resource:
        found = await _known(ctx, snapshot, resource, resource["masterIdentifier"])
        found = [each for each in found if _master(each) == _name(resource["masterIdentifier"])]
    elif resource["resourceType"] == "List" and (unique := _unique_id(resource)):
        found = await _known(ctx, snapshot, resource, unique)
    else:
        return
    for each in found:
        first = await snapshot.read(each.type, each.id, visible=TRUE, version=1)
        if first and await _same(ctx, snapshot, orjson.loads(first.body), resource, siblings):
            raise Unchanged(each)
    if found and resource["resourceType"] == "DocumentReference":
        text = "Another document has this identifier."
        raise Conflict(issues=[Issue("duplicate", text, "DocumentReference.masterIdentifier")])


async def _known(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], identifier: dict[str, Any]
) -> list[Version]:
    """What the caller sees or deposited in that record under that identifier."""
    type_ = resource["resourceType"]
    patient = patient_of(ctx.services.definitions, resource, base=ctx.base)
    if patient is None or not identifier.get("value"):
        return []
    seen = await ctx.services.narrow.for_search(snapshot, ctx.actor, (patient,), only=(type_,))
    where = TokenIs("identifier", *_name(identifier))
    plan = Plan((type_,), where, patients=(patient,), limit=_MOST)
    return await snapshot.search(plan, visible=disj(seen, ctx.services.narrow.own(ctx.actor)))


async def _same(
    ctx: Context, snapshot: Snapshot, first: dict[str, Any], sent: dict[str, Any], siblings: Siblings
) -> bool:
    """Whether what is sent says what the first version said; of visibility, nothing that was not said then."""
    sent = {**sent, **canonical_labels(sent)}
    sent = {**sent, **without_displays(sent, said_in(sent), base=ctx.base)}
    rest = [{name: each for name, each in one.items() if name not in _ASIDE} for one in (first, sent)]
    if rest[0] != rest[1] or not _labels(sent) <= _labels(first):
        return False
    if any(system != TRE_A07 for system, _ in _labels(first) - _labels(sent)):
        return False
    if sent["resourceType"] == "List":
        return True
    return [each async for each in _contents(ctx, snapshot, first, Siblings())] == [
        each async for each in _contents(ctx, snapshot, sent, siblings)
    ]


async def _contents(ctx: Context, snapshot: Snapshot, document: dict[str, Any], siblings: Siblings) -> Any:
    """Each content of a document: what is said of it, and what it is."""
    for each in document.get("content", ()):
        attachment = each.get("attachment", {})
        said = {name: value for name, value in attachment.items() if name not in _OF_CONTENT}
        link = link_of(attachment.get("url"), ctx.base) or ""
        held = siblings.contents.get(link) or siblings.coming.get(link)
        if held is None and link.partition("/")[0] in ("Binary", "Bundle"):
            stored = await known_version(ctx, snapshot, link)
            held = orjson.loads(stored.body) if stored else None
        yield {**each, "attachment": said}, _told(held or {"url": link})


def _told(content: dict[str, Any]) -> object:
    """What some content is, whatever id it has."""
    if content.get("resourceType") == "Binary":
        return content.get("contentType"), digest_of(content)
    return {name: value for name, value in content.items() if name not in ("id", "meta")}


def _labels(resource: dict[str, Any]) -> set[tuple[str, str]]:
    codings: Iterator[dict[str, Any]] = (
        coding for each in resource.get("securityLabel", ()) for coding in each.get("coding", ())
    )
    return {(each.get("system", ""), each.get("code", "")) for each in codings}


def _name(identifier: dict[str, Any]) -> tuple[str, str]:
    return identifier.get("system", ""), identifier.get("value", "")


def _master(version: Version) -> tuple[str, str]:
    return _name(orjson.loads(version.body).get("masterIdentifier", {}))


def _unique_id(submission: dict[str, Any]) -> dict[str, Any] | None:
    """The uniqueId of a submission set or folder (domain §4.2)."""
    return next((each for each in submission.get("identifier", ()) if each.get("use") == "usual"), None)
