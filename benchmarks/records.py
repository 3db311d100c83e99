"""Synthetic French records: the same seed gives the same bytes.

Nobody is described. INS are of the test range (OID 1.2.250.1.213.1.4.10), their keys right; RPPS and FINESS invented.
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any, Final, TypeAlias

Resource: TypeAlias = dict[str, Any]

TEST_INS: Final = "urn:oid:1.2.250.1.213.1.4.10"
RPPS: Final = "https://rpps.esante.gouv.fr"
FINESS: Final = "https://finess.esante.gouv.fr"
PROFESSION: Final = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
CIM10: Final = "https://smt.esante.gouv.fr/terminologie-cim-10"
ATC: Final = "http://www.whocc.no/atc"
DOCUMENT_CLASS: Final = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument"
_FHIR: Final = "http://terminology.hl7.org/CodeSystem"

_FAMILIES: Final = ("MARTIN", "BERNARD", "THOMAS", "PETIT", "DURAND", "LEROY", "MOREAU", "GARCIA", "BLANC", "NOËL")
_WOMEN: Final = ("Camille", "Inès", "Zoé", "Maëlle", "Chloé", "Françoise", "Aurélie", "Hélène")
_MEN: Final = ("Louis", "Gaël", "Noé", "André", "Jérôme", "Mickaël", "Théo", "Loïc")
_COMMUNES: Final = ("75056", "69123", "13055", "31555", "59350", "44109", "51215", "63220")

# LOINC, French title, UCUM, low and high of the reference range, decimals.
_ANALYSES: Final = (
    ("4548-4", "Hémoglobine glyquée HbA1c", "%", 4.0, 6.0, 1),
    ("14749-6", "Glucose", "mmol/L", 3.9, 5.8, 2),
    ("14682-9", "Créatinine", "umol/L", 49.0, 90.0, 0),
    ("2823-3", "Potassium", "mmol/L", 3.5, 5.1, 2),
    ("2951-2", "Sodium", "mmol/L", 136.0, 145.0, 0),
    ("718-7", "Hémoglobine", "g/dL", 12.0, 16.0, 1),
    ("22748-8", "Cholestérol LDL", "mmol/L", 1.5, 4.1, 2),
    ("2000-8", "Calcium", "mmol/L", 2.2, 2.6, 2),
)
_PROBLEMS: Final = (
    ("I10", "Hypertension essentielle (primitive)"),
    ("E11.9", "Diabète sucré de type 2, sans complication"),
    ("J45.9", "Asthme, sans précision"),
    ("M54.5", "Lombalgie basse"),
)
_VACCINES: Final = (
    ("J07BB02", "Vaccin grippal inactivé"),
    ("J07BD52", "Vaccin rougeole, oreillons et rubéole"),
    ("J07AL02", "Vaccin pneumococcique conjugué"),
)
_MEDICATIONS: Final = (
    ("A10BA02", "Metformine"),
    ("C09AA05", "Ramipril"),
    ("N02BE01", "Paracétamol"),
    ("R03AC02", "Salbutamol"),
)
# Of a bundle's entries: observations, conditions, immunizations, prescriptions, documents.
_SHARES: Final = (12, 2, 2, 3, 1)


def organization(number: int = 1) -> Resource:
    """A practice under a FINESS number."""
    return {
        "resourceType": "Organization",
        "identifier": [{"system": FINESS, "value": f"99{number:07}"}],
        "active": True,
        "name": f"Cabinet médical {number}",
    }


def practitioner(number: int = 1) -> Resource:
    """A médecin (TRE_G15 code 10) under an RPPS number."""
    return {
        "resourceType": "Practitioner",
        "identifier": [{"system": RPPS, "value": f"999{number:08}"}],
        "active": True,
        "name": [{"family": _FAMILIES[number % len(_FAMILIES)], "given": [_WOMEN[number % len(_WOMEN)]]}],
        "qualification": [{"code": {"coding": [{"system": PROFESSION, "code": "10"}]}}],
    }


class Records:
    """One stream of records. Methods must be called in the same order to get the same bytes."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._patients = 0
        self._urns = 0
        self._given: set[str] = set()

    def patient(self, general_practitioner: str) -> Resource:
        """The next Patient, with a validated INS of its own."""
        pick = self._random.choice
        self._patients += 1
        woman, born, number = self._person()
        family, given = pick(_FAMILIES), pick(_WOMEN if woman else _MEN)
        return {
            "resourceType": "Patient",
            "identifier": [
                {
                    "use": "official",
                    "type": {
                        "coding": [
                            {
                                "system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203",
                                "code": "INS-NIR-TEST",
                            }
                        ]
                    },
                    "system": TEST_INS,
                    "value": number,
                }
            ],
            "active": True,
            "name": [{"use": "official", "family": family, "given": [given]}],
            "gender": "female" if woman else "male",
            "birthDate": born.isoformat(),
            "address": [{"line": [f"{self._random.randrange(1, 200)} rue des Tilleuls"], "city": "Valmont"}],
            "generalPractitioner": [{"reference": general_practitioner}],
        }

    def _person(self) -> tuple[bool, date, str]:
        """Whether a woman, day of birth, and an INS that no other patient of the stream has."""
        while True:
            woman = self._random.random() < 0.5
            born = date(1930, 1, 1) + timedelta(days=self._random.randrange(33_000))
            number = ins(woman, born, self._random.choice(_COMMUNES), self._patients)
            if number not in self._given:
                self._given.add(number)
                return woman, born, number

    def observation(self, patient: str, performer: str, code: int | None = None) -> Resource:
        """One laboratory result of 1.2 to 1.7 KB. `code`: which analysis; any but the first when None."""
        code = self._random.randrange(1, len(_ANALYSES)) if code is None else code
        loinc, title, unit, low, high, decimals = _ANALYSES[code]
        value = round(self._random.uniform(low * 0.7, high * 1.4), decimals)
        abnormal = "N" if low <= value <= high else "H" if value > high else "L"
        time = self._instant()
        return {
            "resourceType": "Observation",
            "identifier": [{"system": "https://example.org/laboratoire/resultat", "value": self._number(12)}],
            "status": "final",
            "category": [
                {
                    "coding": [
                        {
                            "system": f"{_FHIR}/observation-category",
                            "code": "laboratory",
                            "display": "Laboratory",
                        }
                    ]
                }
            ],
            "code": {"coding": [{"system": LOINC, "code": loinc, "display": title}], "text": title},
            "subject": {"reference": patient},
            "effectiveDateTime": time,
            "issued": time,
            "performer": [{"reference": performer}],
            "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
            "interpretation": [
                {"coding": [{"system": f"{_FHIR}/v3-ObservationInterpretation", "code": abnormal}]},
            ],
            "note": [{"text": " ".join(self._number(5) for _ in range(self._random.randrange(5, 80)))}],
            "referenceRange": [
                {
                    "low": {"value": low, "unit": unit, "system": UCUM, "code": unit},
                    "high": {"value": high, "unit": unit, "system": UCUM, "code": unit},
                    "text": f"{low} à {high} {unit}",
                }
            ],
        }

    def condition(self, patient: str, performer: str) -> Resource:
        """A problem of the list, CIM-10."""
        code, title = self._random.choice(_PROBLEMS)
        return {
            "resourceType": "Condition",
            "clinicalStatus": {"coding": [{"system": f"{_FHIR}/condition-clinical", "code": "active"}]},
            "verificationStatus": {"coding": [{"system": f"{_FHIR}/condition-ver-status", "code": "confirmed"}]},
            "code": {"coding": [{"system": CIM10, "code": code, "display": title}], "text": title},
            "subject": {"reference": patient},
            "onsetDateTime": self._instant()[:10],
            "asserter": {"reference": performer},
        }

    def immunization(self, patient: str, performer: str) -> Resource:
        """A dose, with its lot."""
        code, title = self._random.choice(_VACCINES)
        return {
            "resourceType": "Immunization",
            "status": "completed",
            "vaccineCode": {"coding": [{"system": ATC, "code": code, "display": title}], "text": title},
            "patient": {"reference": patient},
            "occurrenceDateTime": self._instant()[:10],
            "lotNumber": self._number(6),
            "performer": [{"actor": {"reference": performer}}],
        }

    def medication_request(self, patient: str, performer: str) -> Resource:
        """A line of a prescription."""
        code, title = self._random.choice(_MEDICATIONS)
        return {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": {
                "coding": [{"system": ATC, "code": code, "display": title}],
                "text": title,
            },
            "subject": {"reference": patient},
            "authoredOn": self._instant(),
            "requester": {"reference": performer},
            "dosageInstruction": [{"text": f"1 comprimé {self._random.randrange(1, 4)} fois par jour"}],
        }

    def document(self, patient: str, performer: str) -> Resource:
        """A laboratory report (JDV_J07 11502-2, class 10) whose text travels inside."""
        return {
            "resourceType": "DocumentReference",
            "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": self._urn()},
            "status": "current",
            "type": {"coding": [{"system": LOINC, "code": "11502-2", "display": "CR d'examens biologiques"}]},
            "category": [{"coding": [{"system": DOCUMENT_CLASS, "code": "10", "display": "Compte rendu"}]}],
            "subject": {"reference": patient},
            "date": self._instant(),
            "author": [{"reference": performer}],
            "content": [{"attachment": {"contentType": "text/plain", "language": "fr", "data": "Q29tcHRlIHJlbmR1"}}],
        }

    def bundle(self, patient: str, performer: str, entries: int = 150) -> Resource:
        """A transaction of `entries` creates in one record: an Encounter, and what points to it by urn:uuid."""
        encounter = self._urn()
        kinds = (self.observation, self.condition, self.immunization, self.medication_request, self.document)
        sent = [_created(encounter, self._encounter(patient))]
        for kind in self._random.choices(kinds, _SHARES, k=entries - 1):
            resource = kind(patient, performer)
            if kind != self.document:
                resource["encounter"] = {"reference": encounter}
            sent.append(_created(self._urn(), resource))
        return {"resourceType": "Bundle", "type": "transaction", "entry": sent}

    def _encounter(self, patient: str) -> Resource:
        return {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": f"{_FHIR}/v3-ActCode", "code": "AMB"},
            "subject": {"reference": patient},
            "period": {"start": self._instant()},
        }

    def _instant(self) -> str:
        day = date(2016, 1, 1) + timedelta(days=self._random.randrange(3_600))
        return f"{day}T{self._random.randrange(7, 20):02}:{self._random.randrange(60):02}:00+01:00"

    def _number(self, digits: int) -> str:
        return f"{self._random.randrange(10**digits):0{digits}}"

    def _urn(self) -> str:
        self._urns += 1
        return f"urn:uuid:{self._random.getrandbits(32):08x}-0000-4000-8000-{self._urns:012x}"


def ins(woman: bool, born: date, commune: str, order: int) -> str:
    """Fifteen digits: sex, year, month, INSEE commune, order of the birth, and the key 97 - (number mod 97)."""
    number = f"{2 if woman else 1}{born:%y%m}{commune}{order % 1000:03}"
    return f"{number}{97 - int(number) % 97:02}"


def _created(full_url: str, resource: Resource) -> Resource:
    request = {"method": "POST", "url": resource["resourceType"]}
    return {"fullUrl": full_url, "resource": resource, "request": request}
