"""A document in FHIR (a Bundle) that came with its DocumentReference: content, as a Binary is (DOC-10, DOC-11).

It is in the lineage of its DocumentReference and points to it: whatever hides the one hides the other. What is written
inside belongs to the document and is neither linked nor judged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from fhir_server.consent.compartment import Said
from fhir_server.consent.facts import facts_of
from fhir_server.context import Context
from fhir_server.errors import MethodNotAllowed
from fhir_server.interactions.siblings import content_links
from fhir_server.search.facts import INVISIBLE_REPRESENTANTS_LEGAUX, Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE, Eq
from fhir_server.storage.interface import Snapshot, Version, Write

_MOST: Final = 1_000


def of_document(ctx: Context, id: str, said: Said, holder: Facts) -> Facts:
    """The facts of such a Bundle. `said`: in it; `holder`: the facts of its DocumentReference."""
    facts = facts_of(
        ctx.services.definitions,
        {"resourceType": "Bundle"},
        id=id,
        depositor=ctx.actor,
        now=ctx.now(),
        base=ctx.base,
        through=frozenset({holder.patient} if holder.patient else ()),
        said=Said([], [], said.codings),
    )
    # Masks are not copied: they are lifted from the DocumentReference, through which all else is seen.
    return replace(
        facts,
        type_code=holder.type_code,
        class_code=holder.class_code,
        vis=holder.vis & INVISIBLE_REPRESENTANTS_LEGAUX,
        lineage=holder.lineage,
        links=frozenset({f"DocumentReference/{holder.id}"}),
    )


def check_held(before: Version) -> None:
    """Raise MethodNotAllowed for a change or deletion of such a Bundle by itself."""
    if _is_held(before):
        raise MethodNotAllowed("Content is replaced with its document.", allowed=("GET", "HEAD"))


async def held_content(snapshot: Snapshot, document: Version, base: str) -> tuple[Write, ...]:
    """The deletions of the content of a DocumentReference that is deleted, unless another version of the document still
    holds it: both end together (DOC-17). `base`: the FHIR base url of this server."""
    patient = document.facts.patient
    if document.type != "DocumentReference" or patient is None:
        return ()
    where = Eq("lineage", document.facts.lineage)
    others = await snapshot.search(Plan(("DocumentReference",), where, patients=(patient,), limit=_MOST), visible=TRUE)
    kept = {link for each in others if each.id != document.id for link in content_links(orjson.loads(each.body), base)}
    found = []
    for link in dict.fromkeys(content_links(orjson.loads(document.body), base)):
        type_, _, id_ = link.partition("/")
        content = await snapshot.read(type_, id_, visible=TRUE) if type_ in ("Binary", "Bundle") else None
        if content and not content.deleted and link not in kept and (type_ == "Binary" or _is_held(content)):
            found.append(Write(type_, id_, content.version + 1, b"", content.facts, deleted=True))
    return tuple(found)


def _is_held(version: Version) -> bool:
    return version.type == "Bundle" and version.facts.lineage.startswith("DocumentReference/")
