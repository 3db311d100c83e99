"""Where the imported resources come from: one Provenance for the document, one for what its entries became.

Source: https://hl7.org/fhir/R4/provenance.html; importers page §4.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import present
from importers.cda.elements import children
from importers.cda.people import People

_PARTICIPANT_TYPES: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def authors(document: etree._Element, people: People) -> list[dict[str, Any]]:
    """Who wrote a document, as the agents of its Provenances."""
    return [_agent("author", each) for each in present(map(people.actor, children(document, "author")))]


def provenance(
    authors: Iterable[dict[str, Any]], targets: Iterable[str], source: str, recorded: datetime
) -> dict[str, Any]:
    """The Provenance, without id, of the resources at those URLs; `source` is the URL of the DocumentReference."""
    return {
        "resourceType": "Provenance",
        "target": [{"reference": each} for each in targets],
        "recorded": recorded.isoformat(timespec="milliseconds"),
        "agent": [*(dict(each) for each in authors), _agent("assembler", importer())],
        "entity": [{"role": "source", "what": {"reference": source}}],
    }


def importer() -> dict[str, Any]:
    """The importer as a Device."""
    return {"type": "Device", "display": f"fhir-server importer {_version()}"}


def _agent(code: str, who: dict[str, Any]) -> dict[str, Any]:
    return {"type": {"coding": [{"system": _PARTICIPANT_TYPES, "code": code}]}, "who": who}


@cache
def _version() -> str:
    try:
        return version("fhir-server")
    except PackageNotFoundError:
        return "unknown"
