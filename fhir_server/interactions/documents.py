"""A document on its way in: its content is what it says it is, and what can be told from it is told (domain §4).

What is wrong is refused with every reason at once; what the server adds, and what it would rather have seen, are
remarks to the depositor (`Context.remarks`).
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from fhir_server.consent.categories import category_of
from fhir_server.consent.keys import link_of
from fhir_server.context import Context
from fhir_server.errors import Invalid, Issue
from fhir_server.interactions.links import known_version
from fhir_server.interactions.siblings import Siblings
from fhir_server.storage.interface import Snapshot
from fhir_server.validation.french import unknown_codes
from fhir_server.validation.profiles import DOCUMENT, FOLDER, SUBMISSION_SET, breaches, claimed

_CLASSES: Final = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument"
_CONTENT: Final = "DocumentReference.content"
_HOLDERS: Final = ("patient", "rep")
_OF_LISTS: Final = {"submissionset": SUBMISSION_SET, "folder": FOLDER}


class Digest(NamedTuple):
    """Of the raw bytes of some content: how many, and the base64 of their SHA-1 (DOC-9)."""

    size: int
    hash: str


def digest_of(binary: dict[str, Any]) -> Digest:
    """The digest of what a Binary holds."""
    data = b64decode(binary.get("data", ""))
    return Digest(len(data), b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode())


def check_filled(resource: Any) -> None:
    """Raise Invalid for a Binary, or a document, that brings its content and none is in it (DOC-5)."""
    if not isinstance(resource, dict) or resource.get("resourceType") not in ("Binary", "DocumentReference"):
        return
    if resource["resourceType"] == "Binary" and resource.get("data") == "":
        raise Invalid(issues=[Issue("value", "The content of this document is empty.", "Binary.data")])
    contents = resource.get("content")
    for index, each in enumerate(contents if isinstance(contents, list) else ()):
        attachment = each.get("attachment") if isinstance(each, dict) else None
        if isinstance(attachment, dict) and attachment.get("data") == "":
            place = f"{_CONTENT}[{index}].attachment.data"
            raise Invalid(issues=[Issue("value", "The content of this document is empty.", place)])


async def as_submitted(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], siblings: Siblings
) -> dict[str, Any]:
    """The members of a new DocumentReference or List that change when what its profile lets the server fill is filled.

    A document is judged as one that is shared (PDSm) when it claims a profile for that, or comes in a Bundle that does.
    Raises Invalid for content that is empty, not there, or not of the size or hash that is said (DOC-3, DOC-5, DOC-9),
    for a relation to a document that is not known (DOC-7), and for what the profile does not allow.
    """
    if resource["resourceType"] == "List":
        judge(ctx, resource, _profiles_of_list(resource, siblings))
        return {}
    if resource["resourceType"] != "DocumentReference":
        return {}
    profiles = {each for each in claimed(resource) if each == DOCUMENT} | ({DOCUMENT} if siblings.provided else set())
    changes = await _contents(ctx, snapshot, resource, siblings, shared=bool(profiles))
    await _check_related(ctx, snapshot, resource, siblings)
    if profiles:
        whole = {**resource, **changes}
        changes |= described(ctx, whole)
        for issue in unknown_codes(whole):
            ctx.remark(issue)
        judge(ctx, {**resource, **changes}, profiles)
    return changes


def judge(ctx: Context, resource: dict[str, Any], profiles: set[str]) -> None:
    """Raise Invalid with all that these profiles do not allow; what they would rather have is remarked."""
    found = [issue for each in sorted(profiles) for issue in breaches(resource, each)]
    if errors := [issue for issue in found if issue.severity == "error"]:
        raise Invalid(issues=errors)
    for issue in found:
        ctx.remark(issue)


def _profiles_of_list(resource: dict[str, Any], siblings: Siblings) -> set[str]:
    """Those that a List claims, and in a comprehensive Bundle the one of its kind."""
    profiles = {each for each in claimed(resource) if each in (SUBMISSION_SET, FOLDER)}
    if siblings.provided:
        codes = {each.get("code") for each in resource.get("code", {}).get("coding", ())}
        profiles |= {profile for code, profile in _OF_LISTS.items() if code in codes}
    return profiles


async def _contents(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], siblings: Siblings, *, shared: bool
) -> dict[str, Any]:
    contents, issues = [], list[Issue]()
    for index, each in enumerate(resource.get("content", ())):
        place = f"{_CONTENT}[{index}].attachment"
        attachment = each.get("attachment", {})
        link = link_of(attachment.get("url"), ctx.base) or ""
        whole = attachment
        if link.startswith("Binary/"):
            digest = await _digest(ctx, snapshot, link, siblings)
            if digest:
                found = list(wrong(attachment, digest, place))
                issues += found
                whole = attachment if found or not shared else _filled(ctx, attachment, digest, place)
            elif shared:
                issues.append(_unknown(place))
        elif link.startswith("Bundle/"):
            issues += _of_fhir_document(ctx, attachment, link, siblings, place)
        elif shared and "data" not in attachment and "url" in attachment:
            issues.append(_unknown(place))
        contents.append({**each, "attachment": whole} if whole is not attachment else each)
    if issues:
        raise Invalid(issues=issues)
    return {"content": contents} if contents != resource.get("content", []) else {}


async def _digest(ctx: Context, snapshot: Snapshot, link: str, siblings: Siblings) -> Digest | None:
    """The digest of content of the same request, or of stored content that the depositor sees."""
    if link in siblings.contents:
        binary = siblings.contents[link]
        return await ctx.aside.always(digest_of, binary) if len(binary.get("data", "")) > 1 << 18 else digest_of(binary)
    found = await known_version(ctx, snapshot, link)
    return await ctx.aside(found.body, lambda: digest_of(orjson.loads(found.body))) if found else None


def wrong(attachment: dict[str, Any], digest: Digest, place: str) -> Iterator[Issue]:
    """Why some content is not what its attachment says (DOC-5, DOC-9)."""
    if not digest.size:
        yield Issue("value", "The content of this document is empty.", place)
    for name, value in digest._asdict().items():
        if name in attachment and attachment[name] != value:
            yield Issue("value", f"This is not the {name} of the content.", f"{place}.{name}")


def _filled(ctx: Context, attachment: dict[str, Any], digest: Digest, place: str) -> dict[str, Any]:
    missing = {name: value for name, value in digest._asdict().items() if name not in attachment}
    for name in missing:
        ctx.remark(Issue("incomplete", "Not said, and computed from the content.", f"{place}.{name}", "warning"))
    return {**attachment, **missing} if missing else attachment


def _of_fhir_document(
    ctx: Context, attachment: dict[str, Any], link: str, siblings: Siblings, place: str
) -> Iterator[Issue]:
    """A document in FHIR comes with the DocumentReference that points to it, and is seen and masked with it."""
    if link not in siblings.coming and not ctx.services.open:
        yield _unknown(place)
    for name in ("size", "hash"):
        if name in attachment:
            ctx.remark(Issue("value", "Of a document in FHIR this is not said.", f"{place}.{name}", "warning"))


def _unknown(place: str) -> Issue:
    return Issue("not-found", "What this points to is not known to the server.", f"{place}.url")


async def _check_related(ctx: Context, snapshot: Snapshot, resource: dict[str, Any], siblings: Siblings) -> None:
    """What a document transforms, signs or appends to is there (DOC-7); what it replaces is judged as a replacement."""
    for index, each in enumerate(resource.get("relatesTo", ()) if not ctx.services.open else ()):
        link = link_of(each.get("target", {}).get("reference"), ctx.base)
        if each.get("code") == "replaces" or link is None or link in siblings.coming:
            continue
        if link not in siblings.facts and not await known_version(ctx, snapshot, link):
            text = "What this points to is not known to the server."
            raise Invalid(issues=[Issue("not-found", text, f"DocumentReference.relatesTo[{index}].target")])


def described(ctx: Context, document: dict[str, Any]) -> dict[str, Any]:
    """The class of its type (COD-11), and the time of its making from the other place where that is said (§4.3)."""
    changes: dict[str, Any] = {}
    uncategorised = {name: each for name, each in document.items() if name != "category"}
    expected = category_of(uncategorised, by_patient=ctx.actor.role in _HOLDERS).class_code
    said = category_of(document, by_patient=False).class_code if "category" in document else None
    if expected and not said and "category" not in document:
        changes["category"] = [{"coding": [{"system": _CLASSES, "code": expected}]}]
        ctx.remark(_filled_in("category", "the type"))
    elif expected and said and said != expected:
        text = "This is not the class that belongs to the type."
        ctx.remark(Issue("business-rule", text, "DocumentReference.category", "warning"))
    made = [each.get("attachment", {}).get("creation") for each in document.get("content", ())]
    date = document.get("date")
    if date is None and made and made[0] and "T" in made[0]:
        changes["date"] = made[0]
        ctx.remark(_filled_in("date", "attachment.creation"))
    elif date and made and not made[0]:
        first, *others = document["content"]
        changes["content"] = [{**first, "attachment": {**first["attachment"], "creation": date}}, *others]
        ctx.remark(_filled_in("content.attachment.creation", "date"))
    elif date and made[0] != date:
        text = "This is another time than that of attachment.creation; both are kept."
        ctx.remark(Issue("business-rule", text, "DocumentReference.date", "warning"))
    return changes


def _filled_in(place: str, source: str) -> Issue:
    return Issue("incomplete", f"Not said, and taken from {source}.", f"DocumentReference.{place}", "warning")
