"""Every `entry` of a body to the handler of its template: mapped, narrative only or failed, exactly one of them.

Source: importers page §6 rule 10, §7 and §9.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from lxml import etree

from fhir_server.errors import TooLarge
from importers.cda.elements import children
from importers.cda.entries.entry import Attached, Entry, Source
from importers.cda.entries.statement import NAMES, Statement
from importers.tables import table


class Bucket(StrEnum):
    """What became of an entry."""

    MAPPED = "mapped"
    NARRATIVE_ONLY = "narrative-only"
    FAILED = "failed"


class Outcome(NamedTuple):
    """One entry in the report: its path, its line, a template of its statement that says what it is, its bucket.

    `made`: the ids of the resources made of it.
    """

    path: str
    line: int
    template: str | None
    bucket: Bucket
    made: tuple[str, ...] = ()


class Converted(NamedTuple):
    """What an entry became: its resources and contents, why its section is empty, its line in the report."""

    resources: list[dict[str, Any]]
    attached: list[Attached]
    empty_reason: str | None
    outcome: Outcome


# Sections whose observations without a known template are more than simple observations.
_OBSERVATIONS: Final = {"8716-3": "vital-sign", "30954-2": "result"}
_VACCINATING: Final = frozenset({"IMMUNIZ", "INITIMMUNIZ", "BOOSTER"})
_PLANNED: Final = frozenset({"INT", "RQO", "PRP", "PRMS", "ARQ"})


@cache
def _index() -> tuple[Mapping[str, tuple[int, str, str]], Mapping[str, str]]:
    content = table("entry_templates")
    rows = {template: (rank, kind, template) for rank, (template, kind) in enumerate(content["rows"])}
    return rows, content["families"]


@lru_cache(maxsize=4096)
def kind_of(templates: tuple[str, ...]) -> str | None:
    """What a statement is by its templates: the kind of the one that stands first in the table; None for none."""
    rows, families = _index()
    found = [row for each in templates if (row := rows.get(each))]
    if found:
        return min(found)[1]
    return next((kind for each in templates for prefix, kind in families.items() if each.startswith(prefix)), None)


@lru_cache(maxsize=4096)
def telling_template(templates: tuple[str, ...]) -> str | None:
    """The template that says what a statement is; the last one, which is the most specific, where none is known."""
    rows = _index()[0]
    found = [row for each in templates if (row := rows.get(each))]
    return min(found)[2] if found else next(reversed(templates), None)


def kind_by_class(statement: Statement, section: str | None) -> str | None:
    """What a coded statement without known template is taken for, by its class, its mood and the code of its section.

    Nothing but an observation, a procedure and a substance administration is guessed.
    """
    medicinal = statement.name == "substanceAdministration" and statement.first("consumable") is not None
    if statement.code is None and not medicinal:
        return None
    planned = statement.mood in _PLANNED
    if statement.name == "substanceAdministration":
        if statement.code in _VACCINATING or section == "11369-6":
            return None if planned else "immunization"
        return "prescription" if planned else "medication"
    if planned or statement.mood not in ("EVN", "DEF"):
        return None
    if statement.name == "observation":
        return _OBSERVATIONS.get(section or "", "simple-observation")
    return "procedure" if statement.name == "procedure" else None


def convert_entry(
    element: etree._Element, section: str | None, path: str, source: Source, *, another: bool = False
) -> Converted:
    """What becomes of one `entry`, at that path, of the section with that code.

    Of a section about somebody else nothing is mapped. A handler that raises loses this entry only.
    """
    entry, statement = Entry(source), None
    try:
        inner = None if another else next((each for each in element if each.tag in NAMES), None)
        if inner is not None:
            statement = Statement(inner, kind_of)
            if statement.kind is None:
                # The template of a laboratory act stands on the entry, not on the act.
                roots = [each.get("root", "") for each in children(element, "templateId")]
                statement.kind = kind_of(tuple(roots)) or kind_by_class(statement, section)
            entry.convert(statement)
        bucket = Bucket.MAPPED if entry.made or entry.attached or entry.covered else Bucket.NARRATIVE_ONLY
    except TooLarge:
        # A cap is one of the whole document.
        raise
    except Exception:
        # Whatever it was: the narrative of the entry is in its section, and the other entries go on.
        source.notes.add("entry-failed", element)
        return Converted([], [], None, _outcome(element, path, statement, Bucket.FAILED))
    finally:
        if statement:
            statement.release()
    made = tuple(each["id"] for each in entry.made)
    return Converted(entry.made, entry.attached, entry.empty_reason, _outcome(element, path, statement, bucket, made))


def _outcome(
    element: etree._Element, path: str, statement: Statement | None, bucket: Bucket, made: tuple[str, ...] = ()
) -> Outcome:
    template = telling_template(statement.templates) if statement else None
    line = element.sourceline
    return Outcome(path, line if isinstance(line, int) else 0, template, bucket, made)
