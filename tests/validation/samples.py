"""Valid resources of our own, between them every shape of FHIR JSON that the checks tell apart."""

from __future__ import annotations

from typing import Any

NARRATIVE = {
    "status": "generated",
    "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p class="x">Vu le <b>3 mai</b><br/></p></div>',
}

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "camille",
    "meta": {"versionId": "1", "lastUpdated": "2026-05-03T08:00:00.123Z", "profile": ["http://example.org/profile|1"]},
    "language": "fr-FR",
    "text": NARRATIVE,
    "extension": [
        {"url": "http://example.org/birth-place", "valueAddress": {"city": "Lyon", "country": "FR"}},
        {
            "url": "http://example.org/identity",
            "extension": [{"url": "status", "valueCoding": {"system": "http://example.org", "code": "VALI"}}],
        },
    ],
    "identifier": [{"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.8", "value": "285057800104243"}],
    "active": True,
    "name": [
        {
            "use": "official",
            "family": "Durand",
            "given": ["Camille", None],
            "_given": [None, {"extension": [{"url": "http://example.org/x", "valueBoolean": True}]}],
        }
    ],
    "telecom": [{"system": "phone", "value": "+33 1 23 45 67 89", "rank": 1}],
    "gender": "female",
    "birthDate": "1985-05",
    "_birthDate": {"extension": [{"url": "http://example.org/time", "valueDateTime": "1985-05-03T04:05:06.7+02:00"}]},
    "deceasedBoolean": False,
    "multipleBirthInteger": 2,
    "contact": [{"relationship": [{"text": "mère"}], "name": {"text": "Anne Durand"}}],
    "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr"}]}, "preferred": True}],
    "generalPractitioner": [{"reference": "Practitioner/p1", "type": "Practitioner"}],
    "link": [{"other": {"reference": "RelatedPerson/r1"}, "type": "seealso"}],
}

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}], "text": "Pression"},
    "subject": {"reference": "Patient/camille", "display": "Camille"},
    "effectivePeriod": {"start": "2026-05-03", "end": "2026-05-03T10:00:00Z"},
    "issued": "2026-05-03T10:00:00Z",
    "valueQuantity": {"value": 120.50, "comparator": "<", "unit": "mmHg", "system": "http://unitsofmeasure.org"},
    "referenceRange": [{"low": {"value": 90}, "high": {"value": 140}, "text": "usuel"}],
    "component": [
        {"code": {"text": "a"}, "valueTime": "10:30:00"},
        {"code": {"text": "b"}, "valueSampledData": {"origin": {"value": 0}, "period": 10, "dimensions": 1}},
        {"code": {"text": "c"}, "_valueString": {"extension": [{"url": "http://example.org/why", "valueCode": "x"}]}},
    ],
}

MEDICATION_REQUEST: dict[str, Any] = {
    "resourceType": "MedicationRequest",
    "contained": [
        {"resourceType": "Medication", "id": "med", "code": {"text": "Paracétamol"}},
        {
            "resourceType": "Provenance",
            "id": "who",
            "target": [{"reference": "#"}],
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"identifier": {"value": "10001234567"}}}],
        },
    ],
    "status": "active",
    "intent": "order",
    "medicationReference": {"reference": "#med"},
    "subject": {"reference": "Patient/camille"},
    "dosageInstruction": [
        {
            "timing": {"repeat": {"boundsDuration": {"value": 3, "code": "d", "system": "http://unitsofmeasure.org"}}},
            "doseAndRate": [
                {"doseQuantity": {"value": 1}, "rateRatio": {"numerator": {"value": 1}, "denominator": {"value": 2}}}
            ],
        }
    ],
    "substitution": {"allowedBoolean": True},
}

QUESTIONNAIRE: dict[str, Any] = {
    "resourceType": "Questionnaire",
    "status": "draft",
    "item": [
        {
            "linkId": "1",
            "type": "group",
            "item": [{"linkId": "1.1", "type": "string", "initial": [{"valueString": "a"}]}],
        }
    ],
}

ALLERGY: dict[str, Any] = {
    "resourceType": "AllergyIntolerance",
    "clinicalStatus": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]
    },
    "patient": {"identifier": {"system": "urn:oid:1.2.3", "value": "x"}},
    "onsetAge": {"value": 12, "system": "http://unitsofmeasure.org", "code": "a"},
    "reaction": [{"manifestation": [{"text": "toux"}]}],
}

DOCUMENT_REFERENCE: dict[str, Any] = {
    "resourceType": "DocumentReference",
    "status": "current",
    "content": [{"attachment": {"contentType": "application/pdf", "data": "JVBERi0xLjQ=", "size": 8}}],
    "context": {"related": [{"reference": "urn:uuid:0b5903af-a008-4780-8179-52c268784af8"}]},
}

TRANSACTION: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:0b5903af-a008-4780-8179-52c268784af8",
            "resource": PATIENT,
            "request": {"method": "POST", "url": "Patient"},
        },
        {"resource": OBSERVATION, "request": {"method": "PUT", "url": "Observation/o1"}},
        {"request": {"method": "DELETE", "url": "Observation/o2"}},
    ],
}

PARAMETERS: dict[str, Any] = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "resource", "resource": ALLERGY},
        {
            "name": "operation",
            "part": [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Patient"}],
        },
    ],
}

SAMPLES: tuple[dict[str, Any], ...] = (
    PATIENT,
    OBSERVATION,
    MEDICATION_REQUEST,
    QUESTIONNAIRE,
    ALLERGY,
    DOCUMENT_REFERENCE,
    TRANSACTION,
    PARAMETERS,
)
