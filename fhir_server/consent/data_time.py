"""The time that the content of a resource is about, which the `dataPeriod` of a directive selects by (access §3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from fhir_server.consent.compartment import values_at
from fhir_server.fhir.dates import date_range

PARIS: Final = ZoneInfo("Europe/Paris")

# R4 elements, the nearest to the care itself first. A type without an entry has no such time.
_ELEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "AllergyIntolerance": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Appointment": ("start", "created"),
    "AppointmentResponse": ("start",),
    "CarePlan": ("period", "created"),
    "CareTeam": ("period",),
    "Claim": ("billablePeriod", "created"),
    "ClinicalImpression": ("effectiveDateTime", "effectivePeriod", "date"),
    "Communication": ("sent",),
    "Composition": ("date",),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Consent": ("dateTime",),
    "Coverage": ("period",),
    "DeviceUseStatement": ("timingDateTime", "timingPeriod", "recordedOn"),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "DocumentManifest": ("created",),
    "DocumentReference": ("context.period", "date"),
    "Encounter": ("period",),
    "EpisodeOfCare": ("period",),
    "ExplanationOfBenefit": ("billablePeriod", "created"),
    "FamilyMemberHistory": ("date",),
    "Flag": ("period",),
    "Goal": ("startDate", "statusDate"),
    "ImagingStudy": ("started",),
    "Immunization": ("occurrenceDateTime", "recorded"),
    "List": ("date",),
    "Media": ("createdDateTime", "createdPeriod", "issued"),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
    "MedicationDispense": ("whenHandedOver", "whenPrepared"),
    "MedicationRequest": ("authoredOn",),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "NutritionOrder": ("dateTime",),
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "Provenance": ("occurredDateTime", "occurredPeriod", "recorded"),
    "QuestionnaireResponse": ("authored",),
    "RiskAssessment": ("occurrenceDateTime", "occurrencePeriod"),
    "ServiceRequest": ("occurrenceDateTime", "occurrencePeriod", "authoredOn"),
    "Specimen": ("collection.collectedDateTime", "collection.collectedPeriod", "receivedTime"),
    "Task": ("executionPeriod", "authoredOn"),
    "VisionPrescription": ("dateWritten",),
}


def data_time(resource: Mapping[str, Any]) -> int | None:
    """Microseconds since 1970 UTC of the beginning of that time, a day taken in Europe/Paris; None when unknown."""
    for path in _ELEMENTS.get(str(resource.get("resourceType")), ()):
        for value in values_at(resource, path):
            found = _beginning(value)
            if found is not None:
                return found
    return None


def _beginning(value: Any) -> int | None:
    """Of a FHIR date or a Period; of one with an end alone, that end."""
    text = value.get("start") or value.get("end") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        return None
    try:
        return date_range(text, zone=PARIS)[0]
    except ValueError:
        return None
