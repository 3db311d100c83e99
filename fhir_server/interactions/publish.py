"""A document that is published in one resource, with its bytes inside (IHE ITI-105, domain DOC-12, COD-10).

What is stored is what ITI-65 would have stored: the content as a Binary, the DocumentReference that points to it, and
the submission set that can be made of that.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Iterable
from typing import Any, Final
from uuid import uuid4

import orjson

from fhir_server.consent.categories import MHD_LIST_TYPES
from fhir_server.consent.labels import CONFIDENTIALITY
from fhir_server.context import Context
from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.dates import format_instant
from fhir_server.interactions.documents import Digest, described, digest_of, judge, wrong
from fhir_server.interactions.draft import Draft, draft
from fhir_server.interactions.siblings import Siblings
from fhir_server.settings import CANONICAL_BASE
from fhir_server.storage.interface import Snapshot
from fhir_server.validation.french import unknown_codes
from fhir_server.validation.profiles import SIMPLIFIED, claimed

_MHD: Final = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
_PLACE: Final = "DocumentReference.content[0].attachment"
_TRE_A00: Final = "https://mos.esante.gouv.fr/NOS/TRE_A00-ProducteurDocNonPS/FHIR/TRE-A00-ProducteurDocNonPS"
_SOURCES: Final = ("Practitioner", "PractitionerRole", "Patient", "Device")


def is_published(resource: dict[str, Any]) -> bool:
    """Whether it is a document that is published in one resource: it says so."""
    return resource["resourceType"] == "DocumentReference" and SIMPLIFIED in claimed(resource)


async def published(
    ctx: Context, snapshot: Snapshot, resource: dict[str, Any], id: str, siblings: Siblings
) -> tuple[bytes, dict[str, Any], list[Draft]]:
    """The DocumentReference to be stored, as bytes and parsed, and the draft of its content.

    It does not claim the profile any more, since it has a url in place of the bytes. Raises Invalid for what the
    profile does not allow, and for content that is empty or not of the size or hash that is said.
    """
    judge(ctx, resource, {SIMPLIFIED})
    whole = {**resource, **described(ctx, resource)}
    for issue in unknown_codes(whole):
        ctx.remark(issue)
    [content] = whole["content"]
    binary = _binary(content["attachment"])
    digest = digest_of(binary)
    if issues := list(wrong(content["attachment"], digest, _PLACE)):
        raise Invalid(issues=issues)
    binary_id = ctx.services.ids()
    made = await _draft(ctx, snapshot, binary, binary_id, siblings)
    document = {**whole, "meta": _meta(whole), "content": [_pointing(content, binary_id, digest)]}
    if not document.get("securityLabel"):
        document["securityLabel"] = [{"coding": [{"system": CONFIDENTIALITY, "code": "N"}]}]
    if not document["meta"]:
        del document["meta"]
    return orjson.dumps(document), document, [made]


async def submission_set(
    ctx: Context, snapshot: Snapshot, document: dict[str, Any], id: str, siblings: Siblings
) -> list[Draft]:
    """The draft of the submission set of a published document; none of an application, which writes no Lists."""
    if ctx.actor.role == "app":
        return []
    made = _submission_set(ctx, document, id)
    return [await _draft(ctx, snapshot, made, ctx.services.ids(), siblings)]


def _binary(attachment: dict[str, Any]) -> dict[str, Any]:
    data = "".join(attachment["data"].split())
    try:
        b64decode(data, validate=True)
    except (Error, ValueError):
        raise Invalid(issues=[Issue("value", "This is no base64.", f"{_PLACE}.data")]) from None
    return {"resourceType": "Binary", "contentType": attachment["contentType"], "data": data}


def _pointing(content: dict[str, Any], binary: str, digest: Digest) -> dict[str, Any]:
    attachment = {name: each for name, each in content["attachment"].items() if name != "data"}
    return {**content, "attachment": {**attachment, "url": f"Binary/{binary}", **digest._asdict()}}


def _meta(resource: dict[str, Any]) -> dict[str, Any]:
    """Its meta without the profile that holds no longer."""
    meta = {**resource["meta"]}
    profiles = [each for each in meta.pop("profile", ()) if str(each).partition("|")[0] != SIMPLIFIED]
    return {**meta, "profile": profiles} if profiles else meta


def _submission_set(ctx: Context, document: dict[str, Any], id: str) -> dict[str, Any]:
    """Of the document's author, from the depositing software or the custodian, of the activity that is documented."""
    source = _source(document)
    made: dict[str, Any] = {
        "resourceType": "List",
        "contained": _closure(document.get("contained", ()), source),
        "extension": [*_designation(ctx, document), _source_id(ctx, document)],
        "identifier": [
            {"use": use, "system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{uuid4()}"} for use in ("usual", "official")
        ],
        "status": "current",
        "mode": "working",
        "title": document["content"][0]["attachment"]["title"],
        "code": {"coding": [{"system": MHD_LIST_TYPES, "code": "submissionset"}]},
        "subject": document["subject"],
        "date": format_instant(ctx.now()),
        "source": source,
        "entry": [{"item": {"reference": f"DocumentReference/{id}"}}],
    }
    return {name: each for name, each in made.items() if each}


def _source(document: dict[str, Any]) -> dict[str, Any]:
    """The first author that can be the source of a submission set; else nobody."""
    for author in document.get("author", ()):
        reference = str(author.get("reference", ""))
        contained = next(
            (e["resourceType"] for e in document.get("contained", ()) if f"#{e.get('id')}" == reference), ""
        )
        if (contained or reference.rpartition("/")[0].rpartition("/")[2]) in _SOURCES:
            return dict(author)
    return {}


def _closure(contained: Iterable[dict[str, Any]], source: dict[str, Any]) -> list[dict[str, Any]]:
    """Those contained resources that the source leads to."""
    by_id = {f"#{each.get('id')}": each for each in contained}
    wanted, found = [str(source.get("reference"))], dict[str, dict[str, Any]]()
    while wanted:
        link = wanted.pop()
        if link in by_id and link not in found:
            found[link] = by_id[link]
            text = orjson.dumps(by_id[link]).decode()
            wanted += [each for each in by_id if f'"{each}"' in text]
    return list(found.values())


def _designation(ctx: Context, document: dict[str, Any]) -> list[dict[str, Any]]:
    """The kind of activity: what is documented; of a patient's own document, that it is one."""
    event = document.get("context", {}).get("event", ())
    concept = event[0] if event else None
    if concept is None and ctx.actor.role in ("patient", "rep"):
        concept = {"coding": [{"system": _TRE_A00, "code": "EXP_PATIENT"}]}
    return [{"url": f"{_MHD}ihe-designationType", "valueCodeableConcept": concept}] if concept else []


def _source_id(ctx: Context, document: dict[str, Any]) -> dict[str, Any]:
    """Which system submitted it: the custodian's identifier, else the client."""
    custodian = document.get("custodian", {})
    contained = (e for e in document.get("contained", ()) if f"#{e.get('id')}" == custodian.get("reference"))
    known = [custodian.get("identifier"), *(each for e in contained for each in e.get("identifier", ()))]
    client = {"system": f"{CANONICAL_BASE}/client", "value": ctx.actor.client or ctx.actor.reference}
    identifier = next((each for each in known if each and each.get("value")), client)
    return {"url": f"{_MHD}ihe-sourceId", "valueIdentifier": identifier}


async def _draft(ctx: Context, snapshot: Snapshot, resource: dict[str, Any], id: str, siblings: Siblings) -> Draft:
    return await draft(
        ctx.entry(),
        snapshot,
        interaction="create",
        body=orjson.dumps(resource),
        resource=ctx.checked(resource, resource["resourceType"]),
        id=id,
        siblings=siblings,
    )
