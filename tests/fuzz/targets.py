"""What the requests are aimed at: valid resources of the demonstration's people, to be damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

from fhir_server.demo import family
from fhir_server.fhir.definitions import Definitions

Resource: TypeAlias = dict[str, Any]

# The types that are searched.
SEARCHED: Final = (
    *("Observation", "Patient", "DocumentReference", "Consent", "Binary", "AuditEvent", "Bundle", "List"),
    *("Practitioner", "Organization", "PractitionerRole", "CareTeam", "RelatedPerson", "Encounter", "DiagnosticReport"),
    *("MedicationRequest", "RiskAssessment", "ValueSet", "SearchParameter", "Provenance"),
)
# Texts in fixed places make the damage hit their neighbours, not them.
_DAY: Final = "2026-01-10"
_INSTANT: Final = "2026-01-10T09:00:00+01:00"
_LOINC: Final = "http://loinc.org"
_LAB: Final = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}


@dataclass(frozen=True, slots=True)
class Targets:
    """Of one house. `people`: keys of the cast to references; `stored`: every live "Type/id"; `resources`: the same as
    they are; `cursors`: real paging links, relative to the base; `documents`: CDA; `actors`: names, "" for nobody;
    `parameters`: (code, type) of what each of SEARCHED can be searched by; `definitions`: those of R4;
    `links`: (type, code, type) of each way by reference from one of SEARCHED to another."""

    people: dict[str, str]
    stored: tuple[str, ...]
    definitions: Definitions
    resources: tuple[Resource, ...] = ()
    cursors: tuple[str, ...] = ()
    documents: tuple[bytes, ...] = ()
    actors: tuple[str, ...] = ("",)
    parameters: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    links: tuple[tuple[str, str, str], ...] = ()

    def of(self, type: str) -> list[str]:
        """The stored resources of one type."""
        return [each for each in self.stored if each.startswith(type + "/")]

    def resource(self, random: Random) -> Resource:
        """A valid resource of any of the kinds."""
        patient = {"reference": self.people["patient"]}
        doctor = {"reference": self.people["medecin_traitant"]}
        return random.choice(_RESOURCES)(patient, doctor)

    def consent(self, random: Random) -> Resource:
        """A valid directive that takes no right from anyone of the cast."""
        patient = self.people["patient"]
        stranger = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000999"}}
        period = {"start": "2031-01-01", "end": "2031-02-01"}
        treatment = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}
        label = {"system": "https://example.org/fhir-server/CodeSystem/mes-category", "code": "11"}
        policy, provision = random.choice(
            (
                ("block", {"type": "deny", "actor": family.named(stranger), "period": period}),
                (
                    "grant",
                    {"type": "permit", "purpose": [treatment], "actor": family.named(stranger), "period": period},
                ),
                ("mt-rights", {"type": "permit", "actor": family.named(stranger), "period": period}),
                ("hide", {"type": "deny", "securityLabel": [label], "actor": family.named(stranger)}),
                ("mask", {"type": "deny", "data": [self._instance(random)], "actor": family.named(stranger)}),
            )
        )
        return family.consent(patient, policy, provision)

    def _instance(self, random: Random) -> Resource:
        return {"meaning": "instance", "reference": {"reference": random.choice(self.of("DocumentReference"))}}

    def bundle(self, random: Random) -> Resource:
        """A transaction or a batch of two to four entries, the last of which is refused on its own."""
        doctor = self.people["medecin_traitant"]
        entries: list[Resource] = []
        for number in range(random.randrange(1, 4)):
            resource = self.resource(random)
            request = {"method": "POST", "url": resource["resourceType"]}
            full_url = f"urn:uuid:00000000-0000-4000-8000-{number:012}"
            entries.append({"fullUrl": full_url, "resource": resource, "request": request})
        refused = {
            "resource": {"resourceType": "Observation", "status": "nosuch", "subject": {"reference": doctor}},
            "request": {"method": "PUT", "url": "Observation/nosuch", "ifMatch": 'W/"7"'},
        }
        # A transaction falls as a whole; in a batch only the entries that cannot stand are sent.
        kind = random.choice(("transaction", "batch"))
        return {
            "resourceType": "Bundle",
            "type": kind,
            "entry": [*entries, refused] if kind == "transaction" else [refused],
        }


def _observation(patient: Resource, doctor: Resource) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [dict(_LAB)]}],
        "code": {"coding": [{"system": _LOINC, "code": "4548-4"}], "text": "HbA1c"},
        "subject": patient,
        "effectiveDateTime": _INSTANT,
        "performer": [doctor],
        "valueQuantity": {"value": 6.5, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
        "referenceRange": [{"low": {"value": 4}, "high": {"value": 6}, "text": "4 à 6 %"}],
    }


def _condition(patient: Resource, doctor: Resource) -> Resource:
    status = {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
    return {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [status]},
        "code": {"coding": [{"system": "https://smt.esante.gouv.fr/terminologie-cim-10", "code": "I10"}]},
        "subject": patient,
        "onsetDateTime": _DAY,
        "asserter": doctor,
    }


def _allergy(patient: Resource, doctor: Resource) -> Resource:
    return {
        "resourceType": "AllergyIntolerance",
        "type": "allergy",
        "code": {"text": "Arachide"},
        "patient": patient,
        "recorder": doctor,
        "reaction": [{"manifestation": [{"text": "Urticaire"}], "severity": "mild"}],
    }


def _immunization(patient: Resource, doctor: Resource) -> Resource:
    return {
        "resourceType": "Immunization",
        "status": "completed",
        "vaccineCode": {"coding": [{"system": "http://www.whocc.no/atc", "code": "J07BB02"}]},
        "patient": patient,
        "occurrenceDateTime": _DAY,
        "lotNumber": "A1",
        "performer": [{"actor": doctor}],
        "protocolApplied": [{"doseNumberPositiveInt": 1}],
    }


def _document(patient: Resource, doctor: Resource) -> Resource:
    classes = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument"
    return {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3.4.5"},
        "status": "current",
        "type": {"coding": [{"system": _LOINC, "code": "11502-2"}]},
        "category": [{"coding": [{"system": classes, "code": "10"}]}],
        "subject": patient,
        "date": _INSTANT,
        "author": [doctor],
        "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/nosuch"}}],
        "securityLabel": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}
        ],
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/nosuch", "data": "YQ=="}}],
    }


def _appointment(patient: Resource, doctor: Resource) -> Resource:
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "start": _INSTANT,
        "end": "2026-01-10T09:30:00+01:00",
        "participant": [{"actor": each, "status": "accepted"} for each in (patient, doctor)],
    }


def _communication(patient: Resource, doctor: Resource) -> Resource:
    return {
        "resourceType": "Communication",
        "status": "completed",
        "subject": patient,
        "sender": doctor,
        "recipient": [patient],
        "sent": _INSTANT,
        "payload": [{"contentString": "Bonjour"}, {"contentAttachment": {"contentType": "text/plain", "data": "YQ=="}}],
    }


def _patient(patient: Resource, doctor: Resource) -> Resource:
    """Of someone whose INS is held already."""
    return {**family.patient(family.PATIENTS[0], doctor["reference"]), "id": patient["reference"].partition("/")[2]}


def _care_team(patient: Resource, doctor: Resource) -> Resource:
    return family.care_team(patient["reference"], [doctor["reference"]], _DAY)


def _list(patient: Resource, doctor: Resource) -> Resource:
    item = {"reference": "DocumentReference/nosuch"}
    return {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "folder"}]},
        "subject": patient,
        "source": doctor,
        "entry": [{"item": item}],
    }


def _questionnaire_response(patient: Resource, doctor: Resource) -> Resource:
    """The types that nest into themselves, and contained resources."""
    return {
        "resourceType": "QuestionnaireResponse",
        "contained": [{"resourceType": "Practitioner", "id": "p", "name": [{"family": "X"}]}],
        "status": "completed",
        "subject": patient,
        "author": {"reference": "#p"},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>x</p></div>'},
        "extension": [{"url": "http://example.org/x", "extension": [{"url": "y", "valueDecimal": 1.5}]}],
        "item": [{"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"valueDate": _DAY}]}]}],
    }


_RESOURCES: Final = (
    _observation,
    _condition,
    _allergy,
    _immunization,
    _document,
    _appointment,
    _communication,
    _patient,
    _care_team,
    _list,
    _questionnaire_response,
)
