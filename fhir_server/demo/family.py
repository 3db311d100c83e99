"""The people of the demonstration. All are invented; INS and RPPS are of the test ranges (spec access §1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_CORE: Final = "https://hl7.fr/ig/fhir/core"
_TEST_INS: Final = "urn:oid:1.2.250.1.213.1.4.10"
_RPPS: Final = "https://rpps.esante.gouv.fr"
_FINESS: Final = "https://finess.esante.gouv.fr"
_PROFESSION: Final = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
_SPECIALTY: Final = "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
_COMMUNE: Final = "https://mos.esante.gouv.fr/NOS/TRE_R13-CommuneOM/FHIR/TRE-R13-CommuneOM"


@dataclass(frozen=True, slots=True)
class Person:
    """A patient of the demonstration. `given_names`: all of the birth certificate; `commune`: INSEE code."""

    key: str
    ins: str
    family: str
    given_names: str
    gender: str
    born: str
    commune: str
    city: str

    @property
    def given(self) -> str:
        """The first birth given name."""
        return self.given_names.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Professional:
    """A professional with one exercice. `profession`: TRE_G15; `specialty`: TRE_R38 or empty; `regulates`: may regulate
    emergency calls (Centre 15)."""

    key: str
    rpps: str
    family: str
    given: str
    profession: str
    specialty: str
    structure: str
    regulates: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    """A structure by its FINESS number."""

    key: str
    finess: str
    name: str
    sector: str


PATIENTS: Final = (
    Person(
        "patient", "279035121518989", "PAT-TROIS", "DOMINIQUE MARIE-LOUISE", "female", "1979-03-28", "51215", "DOMPREMY"
    ),
    Person("mother", "277076322082910", "NESSI", "RUTH ISABELLE", "female", "1977-07-14", "63220", "MEILHAUD"),
    Person("child", "124018852493334", "DECOURCY", "LOU", "male", "2024-01-19", "88524", "VITTEL"),
)
STRUCTURES: Final = (
    Structure("cabinet", "990000001", "Cabinet médical des Tilleuls", "SA07"),
    Structure("hospital", "990000002", "Centre hospitalier de Valmont", "SA01"),
    Structure("laboratory", "990000003", "Laboratoire du Parc", "SA25"),
    Structure("cabinet_nord", "990000005", "Cabinet médical du Nord", "SA07"),
    Structure("pharmacy", "990000004", "Pharmacie de la Halle", "SA33"),
)
PROFESSIONALS: Final = (
    Professional("medecin_traitant", "99900000011", "MARTIN", "Claire", "10", "SM54", "cabinet"),
    Professional("other_doctor", "99900000022", "PETIT", "Hugo", "10", "SM54", "cabinet_nord"),
    Professional("nurse", "99900000033", "LEROY", "Inès", "60", "", "cabinet"),
    Professional("pharmacist", "99900000044", "MOREAU", "Paul", "21", "", "pharmacy"),
    Professional("regulator", "99900000055", "SIMON", "Alice", "10", "SM54", "hospital", regulates=True),
    Professional("care_team", "99900000066", "GARNIER", "Nadia", "10", "SM04", "hospital"),
    Professional("biologist", "99900000077", "ROUX", "Karim", "10", "SM03", "laboratory"),
)


def patient(person: Person, general_practitioner: str = "") -> dict[str, Any]:
    """The Patient, with the traits that a deposit is matched on and a validated INS (PAT-1 to PAT-5)."""
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "extension": [
            {
                "url": f"{_CORE}/StructureDefinition/fr-core-identity-reliability",
                "extension": [
                    {
                        "url": "identityStatus",
                        "valueCoding": {"system": f"{_CORE}/CodeSystem/fr-core-cs-v2-0445", "code": "VALI"},
                    }
                ],
            },
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                "valueAddress": {
                    "extension": [
                        {
                            "url": f"{_CORE}/StructureDefinition/fr-core-address-insee-code",
                            "valueCoding": {"system": _COMMUNE, "code": person.commune},
                        }
                    ],
                    "city": person.city,
                },
            },
        ],
        "identifier": [
            {
                "use": "official",
                "type": {"coding": [{"system": f"{_CORE}/CodeSystem/fr-core-cs-v2-0203", "code": "INS-NIR-TEST"}]},
                "system": _TEST_INS,
                "value": person.ins,
            }
        ],
        "active": True,
        "name": [
            {
                "extension": [
                    {
                        "url": f"{_CORE}/StructureDefinition/fr-core-patient-birth-list-given-name",
                        "valueString": person.given_names,
                    }
                ],
                "use": "official",
                "family": person.family,
                "given": [person.given],
            },
            {"use": "usual", "family": person.family, "given": [person.given]},
        ],
        "gender": person.gender,
        "birthDate": person.born,
    }
    if general_practitioner:
        resource["generalPractitioner"] = [{"reference": general_practitioner}]
    return resource


def organization(structure: Structure) -> dict[str, Any]:
    """The Organization under its FINESS number."""
    return {
        "resourceType": "Organization",
        "identifier": [{"system": _FINESS, "value": structure.finess}],
        "active": True,
        "name": structure.name,
    }


def practitioner(person: Professional) -> dict[str, Any]:
    """The Practitioner under the RPPS number."""
    qualifications = [{"code": {"coding": [{"system": _PROFESSION, "code": person.profession}]}}]
    if person.specialty:
        qualifications.append({"code": {"coding": [{"system": _SPECIALTY, "code": person.specialty}]}})
    return {
        "resourceType": "Practitioner",
        "identifier": [{"system": _RPPS, "value": person.rpps}],
        "active": True,
        "name": [{"family": person.family, "given": [person.given]}],
        "qualification": qualifications,
    }


def practitioner_role(person: Professional, practitioner: str, organization: str) -> dict[str, Any]:
    """The exercice: this professional in that structure."""
    return {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": {"reference": practitioner},
        "organization": {"reference": organization},
        "code": [{"coding": [{"system": _PROFESSION, "code": person.profession}]}],
    }


def related_person(child: str, parent: Person) -> dict[str, Any]:
    """The mother as legal representative of her child."""
    relationship = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}
    return {
        "resourceType": "RelatedPerson",
        "identifier": [{"system": _TEST_INS, "value": parent.ins}],
        "active": True,
        "patient": {"reference": child},
        "relationship": [{"coding": [relationship]}],
        "name": [{"family": parent.family, "given": [parent.given]}],
    }


def care_team(patient: str, members: list[str], since: str) -> dict[str, Any]:
    """The équipe de soins (PRO-6). `members`: PractitionerRole references; `since`: an ISO date."""
    return {
        "resourceType": "CareTeam",
        "identifier": [{"system": "https://example.org/fhir-server/care-team", "value": "valmont-1"}],
        "status": "active",
        "name": "Équipe de cardiologie de Valmont",
        "subject": {"reference": patient},
        "period": {"start": since},
        "participant": [{"member": {"reference": member}, "period": {"start": since}} for member in members],
    }


def consent(patient: str, policy: str, provision: dict[str, Any]) -> dict[str, Any]:
    """A directive of the closed set (access §3.4). `policy`: `care-team`, `app-share` …"""
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "performer": [{"reference": patient}],
        "sourceAttachment": {"title": "Démonstration"},
        "policy": [{"uri": f"https://example.org/fhir-server/policy/{policy}"}],
        "provision": provision,
    }


def named(reference: dict[str, Any]) -> list[dict[str, Any]]:
    """Consent.provision.actor naming one recipient."""
    role = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
    return [{"role": {"coding": [role]}, "reference": reference}]
