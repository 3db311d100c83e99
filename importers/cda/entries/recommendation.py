"""Recommended vaccines as ImmunizationRecommendation, which is never a vaccination.

Source: CI-SIS FR-Vaccin-recommande (1.2.250.1.213.1.1.3.47), IHE PCC Immunization Recommendation; importers page §6
rule 15; https://hl7.org/fhir/R4/valueset-immunization-recommendation-date-criterion.html for the codes of the dates.
"""

from __future__ import annotations

from typing import Any, Final

from importers.cda.datatypes import absent
from importers.cda.elements import child
from importers.cda.entries.entry import Entry, Reference
from importers.cda.entries.immunization import dose_rank, vaccine_code
from importers.cda.entries.statement import Statement

_STATUS: Final = "http://terminology.hl7.org/CodeSystem/immunization-recommendation-status"
_LOINC: Final = "http://loinc.org"
_EARLIEST: Final = ("30981-5", "Earliest date to give")
_LATEST: Final = ("59777-3", "Latest date to give immunization")
_DUE: Final = ("30980-7", "Date vaccine due")


def recommendation(statement: Statement, entry: Entry) -> list[Reference]:
    """One ImmunizationRecommendation with one recommendation; nothing of a vaccine said not to be due."""
    if statement.negated:
        return []
    vaccine, element = vaccine_code(statement, entry), statement.first("effectiveTime")
    low, high = entry.moment(child(element, "low")), entry.moment(child(element, "high"))
    dates = ((_EARLIEST, low), (_DUE, entry.moment(element)), (_LATEST, high))
    rank, series = dose_rank(statement), (entry.concept(statement.first("code")) or {}).get("text")
    said = entry.narrative(statement)
    recommended = {
        "vaccineCode": [vaccine],
        "forecastStatus": {"coding": [{"system": _STATUS, "code": "due"}]},
        "dateCriterion": [_criterion(code, display, when) for (code, display), when in dates if when],
        "description": said,
        "series": series,
        "doseNumberPositiveInt": rank,
    }
    date = entry.recorded(statement) or entry.source.created
    content: dict[str, Any] = {
        "date": date,
        "_date": None if date else absent(None),
        "authority": _authority(statement, entry),
        "recommendation": [{name: value for name, value in recommended.items() if value}],
    }
    return [entry.add(statement, "ImmunizationRecommendation", content, code=vaccine, when=low or high)]


def _criterion(code: str, display: str, when: str) -> dict[str, Any]:
    return {"code": {"coding": [{"system": _LOINC, "code": code, "display": display}]}, "value": when}


def _authority(statement: Statement, entry: Entry) -> Reference | None:
    found = (entry.source.people.organization_of(each) for each in statement.all("author"))
    return next((each for each in found if each), None)
