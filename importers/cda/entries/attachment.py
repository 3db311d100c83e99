"""Documents and images that a body carries as base64: each a Binary, never executed nor inlined.

Source: CI-SIS FR-Document-attache (1.2.250.1.213.1.1.3.18), FR-Image-illustrative (1.2.250.1.213.1.1.3.103), CDA R2
`observationMedia`; importers page §3 and §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from importers.cda.body import read_content
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.statement import Statement

_UNTITLED: Final = "Document"


def attachment(statement: Statement, entry: Entry) -> list[Reference]:
    """The Binaries under an organizer, or the one of a medium; the narrative links to them by their ID."""
    titles = [title for each in statement.nested if (title := _title(each, entry))]
    return [
        found
        for each in _media(statement)
        if (found := _binary(each, " ".join(titles) or entry.narrative(each) or _UNTITLED, entry))
    ]


def _media(statement: Statement) -> Iterator[Statement]:
    if statement.name in ("observationMedia", "regionOfInterest"):
        yield statement
    for each in statement.nested:
        yield from _media(each)


def _title(statement: Statement, entry: Entry) -> str | None:
    if statement.name != "observation":
        return None
    found = entry.value(statement.first("value")) or {}
    title: str | None = found.get("valueString") or found.get("valueCodeableConcept", {}).get("text")
    return title


def _binary(statement: Statement, title: str, entry: Entry) -> Reference | None:
    value, source = statement.first("value"), entry.source
    # The value of a region of interest is a list of points.
    if value is None or (statement.name == "regionOfInterest" and value.get("representation") != "B64"):
        return None
    content = read_content(value, statement.element, source.limits, source.notes, lenient=True)
    return entry.attach(content, statement.element.get("ID"), title) if content else None
