"""What the clients of the acceptance tests write: results of one analysis on a series of days."""

from __future__ import annotations

from typing import Any

LOINC = "http://loinc.org"
GLUCOSE = "2339-0"
MARK = "https://example.org/acceptance"


def glucose(patient: str, day: int, value: float, mark: str) -> dict[str, Any]:
    """A final result of that day in March 2026, in mg/dL; `mark` finds it again."""
    return {
        "resourceType": "Observation",
        "identifier": [{"system": MARK, "value": mark}],
        "status": "final",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}
        ],
        "code": {"coding": [{"system": LOINC, "code": GLUCOSE}], "text": "Glucose"},
        "subject": {"reference": patient},
        "effectiveDateTime": f"2026-03-{day:02}T08:00:00+01:00",
        "valueQuantity": {"value": value, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
    }


def transaction(patient: str, mark: str, count: int) -> dict[str, Any]:
    """A Bundle that creates `count` of them."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{number:012}",
                "resource": glucose(patient, number + 1, 90.0 + number, mark),
                "request": {"method": "POST", "url": "Observation"},
            }
            for number in range(count)
        ],
    }
