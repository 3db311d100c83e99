"""DocumentReference/$xdm: documents as an archive on a medium (IHE XDM), as far as the caller may see them.

What it holds is found and read as any client finds and reads it: one search, one read of each content, each with its
line in the access log. Source: IHE ITI TF-2 §3.32, importers page §10.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import orjson

from fhir_server.consent.keys import link_of
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import FhirServerError, Invalid, Issue, Malformed, NotFound, TooLarge
from fhir_server.fhir.identity import INS_SYSTEMS
from fhir_server.interactions.router import answer
from importers.coded import cx
from importers.export.entries import document_entry, entry_id, relations, submission
from importers.export.xdm import archive
from importers.metadata import APPROVED, DocumentEntry, Identifier, SubmissionSet
from importers.subject import source_patient_info

_MOST: Final = 98
"""Documents of one archive: with its two pages and its metadata it has as many members as are read back."""
_LARGEST: Final = 50_000_000
_ABOUT_FORM: Final = ("_format", "_pretty")
_HEADERS: Final = (("Content-Disposition", 'attachment; filename="IHE_XDM.zip"'),)


async def of_instance(ctx: Context, request: Request) -> Answer:
    """The archive of one document."""
    _check(ctx, request)
    if any(name not in _ABOUT_FORM for name, _ in request.query):
        raise Malformed("This operation takes no parameter.", expression=request.query[0][0])
    found = await _got(ctx, Request("GET", ("DocumentReference", request.path[1])))
    return await _archive(ctx, [found])


async def of_type(ctx: Context, request: Request) -> Answer:
    """The archive of the documents that a search finds, its criteria being the parameters: of one patient."""
    _check(ctx, request)
    criteria = [pair for pair in request.query if pair[0] not in (*_ABOUT_FORM, "_count", "_total")]
    asked = Request("GET", ("DocumentReference",), (*criteria, ("_count", str(_MOST))), strict=True)
    bundle = await _got(ctx, asked)
    if any(each["relation"] == "next" for each in bundle.get("link", ())):
        raise TooLarge(issues=[Issue("too-costly", f"At most {_MOST} documents: narrow the criteria.", "_count")])
    found = [each["resource"] for each in bundle.get("entry", ())]
    documents = [each for each in found if each["resourceType"] == "DocumentReference"]
    if not documents:
        raise NotFound("There is no such document.")
    return await _archive(ctx, documents)


def _check(ctx: Context, request: Request) -> None:
    ctx.trace.type = "DocumentReference"
    for type_ in ("DocumentReference", "Binary"):
        ctx.allow(type_, "r")
    if request.body:
        raise Malformed("The parameters of this operation stand in the url.")


async def _archive(ctx: Context, documents: list[dict[str, Any]]) -> Answer:
    patients = {each.get("subject", {}).get("reference", "") for each in documents}
    if len(patients) != 1:
        raise Invalid(issues=[Issue("business-rule", "An archive holds the documents of one patient.", "patient")])
    patient = await _patient(ctx, documents[0])
    contents, size = dict[str, bytes](), 0
    for each in documents:
        contents[entry_id(each)] = await _content(ctx, each)
        size += len(contents[entry_id(each)])
        if size > _LARGEST:
            raise TooLarge(issues=[Issue("too-long", f"At most {_LARGEST} bytes of documents.", "_count")])
    packed = await ctx.aside.always(_packed, ctx, documents, patient, contents)
    await ctx.record()
    return Answer(200, packed, "application/zip", headers=_HEADERS)


def _packed(
    ctx: Context, documents: list[dict[str, Any]], patient: dict[str, Any], contents: dict[str, bytes]
) -> bytes:
    known = _identifier(patient)
    info = source_patient_info(patient)
    entries = [replace(document_entry(each, known), source_patient_info=info) for each in documents]
    targets = {f"DocumentReference/{each['id']}": entry_id(each) for each in documents}
    related = [found for each in documents for found in relations(each, targets)]
    return archive(submission(entries, _set(ctx, known, entries), *related), contents)


def _set(ctx: Context, patient: Identifier, entries: list[DocumentEntry]) -> SubmissionSet:
    """The set: named by what is in it."""
    name = uuid5(NAMESPACE_URL, "|".join([ctx.base, *(f"{each.id} {each.hash}" for each in entries)]))
    return SubmissionSet(
        id=f"urn:uuid:{name}",
        unique_id=f"2.25.{name.int}",
        source_id=f"2.25.{uuid5(NAMESPACE_URL, ctx.base).int}",
        patient_id=patient,
        status=APPROVED,
        submission_time=entries[0].creation_time,
    )


async def _patient(ctx: Context, document: dict[str, Any]) -> dict[str, Any]:
    """Whose documents they are, as far as the caller may see."""
    subject = document.get("subject", {})
    link = link_of(subject.get("reference"), ctx.base) or ""
    try:
        return await _got(ctx, Request("GET", tuple(link.split("/"))))
    except FhirServerError:
        return {"id": link.partition("/")[2], "identifier": [each] if (each := subject.get("identifier")) else []}


def _identifier(patient: dict[str, Any]) -> Identifier:
    known = [each for each in patient.get("identifier", ()) if each.get("system") in INS_SYSTEMS]
    found = cx(known[0], "NH") if known else None
    return found or Identifier(patient.get("id", ""), None, "PI")


async def _content(ctx: Context, document: dict[str, Any]) -> bytes:
    """The bytes of the document itself, which stand first. Raises Invalid where they are not kept here."""
    attachment = document["content"][0]["attachment"]
    if "data" in attachment:
        return b64decode(attachment["data"])
    link = link_of(attachment.get("url"), ctx.base) or ""
    if not link.startswith("Binary/"):
        raise Invalid(issues=[Issue("not-found", "Its content is not kept here.", "content.attachment.url")])
    binary = await _got(ctx, Request("GET", ("Binary", link.partition("/")[2]), accept="application/fhir+json"))
    return b64decode(binary.get("data", ""))


async def _got(ctx: Context, request: Request) -> dict[str, Any]:
    """What the caller is answered."""
    inner = ctx.entry()
    found: dict[str, Any] = orjson.loads((await answer(inner, request)).body)
    ctx.trace.patient = inner.trace.patient or ctx.trace.patient
    return found
