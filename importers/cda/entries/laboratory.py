"""Laboratory acts and panels of results as DiagnosticReport, their results as Observations.

An act is one report. A battery that has a code is an Observation with `hasMember`, one that has none only groups; the
results of an isolate carry its Specimen, so that two isolates with equal codes stay apart. Earlier results that a
laboratory repeats beside a new one (REFR, without template) are not made again: they are those of earlier documents.
Source: CI-SIS FR-Acte, FR-Batterie, FR-Isolat, FR-Resultat (1.2.250.1.213.1.1.3.21, .78, .79, .80), IHE PALM XD-LAB;
importers page §6 rule 13.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import Key, present
from importers.cda.elements import attribute, child
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.observation import (
    STATUSES,
    Context,
    category,
    effective,
    named,
    nested,
    observe,
    within,
)
from importers.cda.entries.specimen import (
    collection_time,
    isolate,
    keys_of,
    product_keys,
    professionals,
    specimen,
    specimen_key,
)
from importers.cda.entries.statement import Statement

SECTIONS: Final = "http://terminology.hl7.org/CodeSystem/v2-0074"

_LABORATORY: Final = {"coding": [{"system": SECTIONS, "code": "LAB"}]}
_REPORTS: Final = {"completed": "final", "active": "partial", "aborted": "cancelled", "nullified": "entered-in-error"}


@dataclass(slots=True)
class _Report:
    """What a report gathers while its act is read."""

    results: list[Reference] = field(default_factory=list)
    specimens: list[Reference] = field(default_factory=list)
    specimen_of: dict[Key, Reference] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    documents: list[Reference] = field(default_factory=list)
    collected: str | None = None


def laboratory_act(statement: Statement, entry: Entry) -> list[Reference]:
    """A DiagnosticReport and its Specimens and Observations."""
    report, code = _Report(), named(statement, entry)
    context = within(Context(), statement, entry)
    _take_samples(statement, entry, report)
    if len(report.specimens) == 1:
        context = replace(context, specimen=report.specimens[0])
    _read(statement, entry, context, report)
    if code is None and statement.kind == "results" and not report.documents:
        # An organizer that has no name only groups: what it is a report of, nobody says.
        return report.results
    if not report.results and not report.documents:
        return []
    validated = [each for each in statement.all("participant") if attribute(each, "typeCode") == "AUTHEN"]
    when = effective(statement, entry) or ({"effectiveDateTime": report.collected} if report.collected else {})
    content: dict[str, Any] = {
        "status": _REPORTS.get(statement.status or "", "unknown"),
        "category": [_LABORATORY] if statement.kind == "lab-act" else [],
        "code": code or {"text": "Examens de biologie médicale"},
        **when,
        "issued": _instant(validated, entry),
        "performer": professionals(entry.performers(statement)),
        "resultsInterpreter": professionals(present(map(entry.source.people.actor, validated))),
        "specimen": report.specimens,
        "result": report.results,
        "conclusion": "\n\n".join(report.comments),
        "presentedForm": [{"url": each["reference"]} for each in report.documents],
    }
    return [entry.add(statement, "DiagnosticReport", content, code=code, when=report.collected)]


def laboratory_results(statement: Statement, entry: Entry) -> list[Reference]:
    """The results of a battery or an isolate that stands alone."""
    report = _Report()
    _place(statement, entry, within(Context(), statement, entry), report)
    return report.results


def _read(statement: Statement, entry: Entry, context: Context, report: _Report) -> None:
    for each in statement.nested:
        _place(each, entry, context, report)


def _place(statement: Statement, entry: Entry, context: Context, report: _Report) -> None:
    """Read one nested statement into the report, whatever it is."""
    match statement.kind:
        case "lab-battery":
            _battery(statement, entry, context, report)
        case "lab-isolate":
            _isolate(statement, entry, context, report)
        case "lab-result":
            own = _own(statement, entry, report)
            report.results += observe(statement, entry, replace(context, specimen=own) if own else context)
        case "comment":
            report.comments += [said for said in (entry.narrative(statement),) if said]
        case "specimen":
            pass
        case "attachment":
            report.documents += entry.convert(statement)
        case _:
            report.results += nested(statement, entry, context)


def _battery(statement: Statement, entry: Entry, context: Context, report: _Report) -> None:
    code = named(statement, entry)
    inner = within(context, statement, entry)
    key = "" if code is None else str(code.get("text") or code["coding"][0]["code"])
    inner = replace(inner, distinct=f"{context.distinct}|{key}" if key else context.distinct)
    if code is None:
        _read(statement, entry, inner, report)
        return
    own = _Report(specimens=report.specimens, specimen_of=report.specimen_of)
    _read(statement, entry, inner, own)
    report.documents += own.documents
    if not own.results:
        report.comments += own.comments
        return
    content: dict[str, Any] = {
        "status": STATUSES.get(statement.status or "", "unknown"),
        "category": category("laboratory"),
        "code": code,
        **inner.effective,
        "performer": list(inner.performers),
        "specimen": context.specimen,
        "note": [{"text": each} for each in own.comments],
        "hasMember": own.results,
    }
    report.results.append(entry.add(statement, "Observation", content, code=code, distinct=context.distinct))


def _isolate(statement: Statement, entry: Entry, context: Context, report: _Report) -> None:
    found = isolate(statement, entry, context.specimen)
    inner = within(context, statement, entry)
    inner = replace(inner, specimen=found or context.specimen, distinct=specimen_key(statement, entry))
    if found:
        _keep(found, keys_of(child(statement.first("specimen"), "specimenRole"), entry), report)
    _read(statement, entry, inner, report)


def _take_samples(statement: Statement, entry: Entry, report: _Report) -> None:
    for each in statement.of_kind("specimen"):
        for made in specimen(each, entry):
            _keep(made, product_keys(each, entry), report)
        taken = collection_time(each, entry)
        moment = taken.get("collectedDateTime") or taken.get("collectedPeriod", {}).get("end")
        report.collected = report.collected or moment


def _keep(made: Reference, keys: list[Key], report: _Report) -> None:
    report.specimens.append(made)
    report.specimen_of.update(dict.fromkeys(keys, made))


def _own(statement: Statement, entry: Entry, report: _Report) -> Reference | None:
    """The specimen that a result names by its identifier."""
    role = child(statement.first("specimen"), "specimenRole")
    return next((report.specimen_of[each] for each in keys_of(role, entry) if each in report.specimen_of), None)


def _instant(validated: list[etree._Element], entry: Entry) -> str | None:
    """When the results were validated, where the time tells the second: R4 wants an instant."""
    times = [child(each, "time") for each in validated]
    moments = [entry.moment(child(each, "high")) or entry.moment(each) for each in times]
    return next((each for each in moments if each and "T" in each), None)
