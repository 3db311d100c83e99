"""Who wrote, answers for and keeps a document, contained once each."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from fhir_server.fhir.identity import IDENTIFIER_TYPES, IDNPS, INS_NIR_TEST, RPPS
from importers.cda.actors import Actors
from importers.cda.patient import read_patient
from importers.issues import Notes

PATIENT = (
    '<recordTarget><patientRole><id root="1.2.250.1.213.1.4.10" extension="277076322082910"/><patient><name>'
    '<family qualifier="BR">ROCHE</family></name></patient></patientRole></recordTarget>'
)
PROFESSIONAL = '<id root="1.2.250.1.71.4.2.1" extension="810000000012"/>'
PERSON = "<assignedPerson><name><given>Odile</given><family>TERRAIL</family></name></assignedPerson>"
ORGANIZATION = '<id root="1.2.250.1.71.4.2.2" extension="1630000008"/><name>Cabinet</name>'
OTHER = '<id root="1.2.250.1.213.1.4.10" extension="279035121518989"/>'


class Scene:
    """A document with a patient and one more participation."""

    def __init__(self, content: str) -> None:
        self.document = etree.fromstring(f'<x xmlns="urn:hl7-org:v3">{PATIENT}{content}</x>'.encode())
        self.notes = Notes()
        self.actors = Actors("Patient/p1", read_patient(self.document, self.notes), self.notes)

    def author(self) -> dict[str, Any] | None:
        """The reference of the participation as an author."""
        return self.actors.author(self.document[1])

    def at(self, reference: dict[str, Any] | None) -> dict[str, Any]:
        """The contained resource a reference points to."""
        assert reference is not None
        return next(each for each in self.actors.contained if f"#{each['id']}" == reference["reference"])


def author(content: str, more: str = "") -> Scene:
    """A document with this author."""
    return Scene(f"<author>{more}<assignedAuthor>{content}</assignedAuthor></author>")


def test_a_professional_is_a_role_a_person_and_an_organization() -> None:
    """Role and specialty are split, what was written stays; the function towards the patient is a second code."""
    code = '<code code="G15_10/SM26" codeSystem="1.2.250.1.213.1.1.4.5" displayName="Médecin"/>'
    function = '<functionCode code="PCP" codeSystem="2.16.840.1.113883.5.88"/>'
    content = f"{PROFESSIONAL}{code}<telecom value='tel:1' use='WP'/><addr><city>C</city></addr>{PERSON}"
    scene = author(f"{content}<representedOrganization>{ORGANIZATION}</representedOrganization>", function)
    role = scene.at(scene.author())
    assert role["resourceType"] == "PractitionerRole"
    codes = [[(each["system"].rpartition("/")[2], each["code"]) for each in code["coding"]] for code in role["code"]]
    assert codes == [
        [("TRE-G15-ProfessionSante", "10"), ("urn:oid:1.2.250.1.213.1.1.4.5", "G15_10/SM26")],
        [("urn:oid:2.16.840.1.113883.5.88", "PCP")],
    ]
    (specialty,) = role["specialty"][0]["coding"]
    assert (specialty["system"].rpartition("/")[2], specialty["code"]) == ("TRE-R38-SpecialiteOrdinale", "SM26")
    assert role["telecom"] == [{"system": "phone", "value": "1", "use": "work"}]
    practitioner = scene.at(role["practitioner"])
    assert [each["system"] for each in practitioner["identifier"]] == [IDNPS, RPPS]
    assert practitioner["address"] == [{"city": "C"}]
    assert scene.at(role["organization"])["name"] == "Cabinet"


@pytest.mark.parametrize(
    ("code", "profession", "specialty"),
    [
        ("G15_60", "60", None),
        ("G15_10/C25", "10", None),
        ("G15_10/DSM205", "10", None),
        ("G15_21/SP01", "21", "SP01"),
        ("G16_10/SM26", None, None),
        ("SECRETARIAT_MEDICAL", None, None),
    ],
)
def test_only_an_ordinal_specialty_is_one_of_tre_r38(code: str, profession: str | None, specialty: str | None) -> None:
    """Competences and diplomas are of other systems: they stay in the pair as written."""
    scene = author(f'{PROFESSIONAL}<code code="{code}" codeSystem="1.2.250.1.213.1.1.4.5"/>')
    role = scene.at(scene.author())
    codings = {each["system"].rpartition("/")[2]: each["code"] for each in role["code"][0]["coding"]}
    assert codings.get("TRE-G15-ProfessionSante") == profession
    assert codings["urn:oid:1.2.250.1.213.1.1.4.5"] == code
    assert [each["coding"][0]["code"] for each in role.get("specialty", [])] == ([specialty] if specialty else [])


def test_the_pair_is_split_under_its_own_system_only() -> None:
    """The same letters in another code system mean something else."""
    scene = author(f'{PROFESSIONAL}<code code="G15_10/SM26" codeSystem="1.2.3"/>')
    assert [each["coding"] for each in scene.at(scene.author())["code"]] == [
        [{"system": "urn:oid:1.2.3", "code": "G15_10/SM26"}]
    ]


def test_the_patient_as_author_is_the_contained_patient() -> None:
    """By the INS, whatever name stands there."""
    scene = author(f'<id root="1.2.250.1.213.1.4.10" extension="277076322082910"/>{PERSON}')
    patient = scene.at(scene.author())
    assert (patient["resourceType"], patient["name"][0]["family"]) == ("Patient", "ROCHE")
    assert scene.author() == scene.actors.source_patient()


def test_another_person_as_author_is_related_to_the_subject() -> None:
    """Known by an INS that is not the patient's: never the subject, never a professional."""
    scene = author(OTHER + PERSON)
    person = scene.at(scene.author())
    assert person["resourceType"] == "RelatedPerson"
    assert person["patient"] == {"reference": "Patient/p1"}
    assert person["identifier"][0]["value"] == "279035121518989"


def test_the_same_ins_under_another_system_is_another_person() -> None:
    """ID-6."""
    scene = author('<id root="1.2.250.1.213.1.4.8" extension="277076322082910"/>' + PERSON)
    assert scene.at(scene.author())["resourceType"] == "RelatedPerson"


def test_a_device_as_author() -> None:
    """Model and software, owned by the organisation."""
    names = "<manufacturerModelName>M</manufacturerModelName><softwareName>S</softwareName>"
    scene = author(
        f"<id root='1.2.3' extension='7'/><assignedAuthoringDevice>{names}</assignedAuthoringDevice>"
        f"<representedOrganization>{ORGANIZATION}</representedOrganization>"
    )
    device = scene.at(scene.author())
    assert device["deviceName"] == [{"name": "M", "type": "model-name"}, {"name": "S", "type": "user-friendly-name"}]
    assert scene.at(device["owner"])["resourceType"] == "Organization"


def test_an_author_of_whom_only_the_organization_is_known_is_the_organization() -> None:
    """And one of whom nothing is known is none."""
    scene = author(f"<id nullFlavor='NA'/><representedOrganization>{ORGANIZATION}</representedOrganization>")
    assert scene.at(scene.author())["resourceType"] == "Organization"
    assert author("<id nullFlavor='NA'/>").author() is None
    assert Scene("<author/>").author() is None


def test_whoever_is_not_a_professional_answers_by_identifier() -> None:
    """R4 has no person as authenticator: an identifier and a name, contained nowhere."""
    scene = Scene(f"<legalAuthenticator><assignedEntity>{OTHER}{PERSON}</assignedEntity></legalAuthenticator>")
    assert scene.actors.authenticator(scene.document[1]) == {
        "identifier": {
            "use": "official",
            "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": "INS-NIR-TEST"}]},
            "system": INS_NIR_TEST,
            "value": "279035121518989",
        },
        "display": "Odile TERRAIL",
    }
    assert scene.actors.contained == []


def test_a_professional_answers_as_a_role() -> None:
    """The same resource as the author if nothing differs."""
    scene = Scene(f"<author><assignedAuthor>{PROFESSIONAL}{PERSON}</assignedAuthor></author>")
    entity = f"<assignedEntity>{PROFESSIONAL}{PERSON}</assignedEntity>"
    element = etree.fromstring(f'<legalAuthenticator xmlns="urn:hl7-org:v3">{entity}</legalAuthenticator>'.encode())
    assert scene.actors.authenticator(element) == scene.author()
    assert len(scene.actors.contained) == 2
    assert scene.actors.authenticator(None) is None


def test_an_organization_has_nothing_at_home_and_needs_a_name_or_a_number() -> None:
    """org-1, org-2 and org-3 of R4."""
    content = f"{ORGANIZATION}<telecom value='tel:1' use='HP'/><addr use='H'><city>C</city></addr>"
    scene = Scene(f"<o>{content}</o><o><telecom value='tel:1'/></o>")
    organization = scene.at(scene.actors.organization(scene.document[1]))
    assert organization["telecom"] == [{"system": "phone", "value": "1"}]
    assert organization["address"] == [{"city": "C"}]
    assert scene.actors.organization(scene.document[2]) is None
    assert scene.actors.organization(None) is None


def test_the_same_organization_is_contained_once() -> None:
    """And another one beside it."""
    scene = Scene(f"<o>{ORGANIZATION}</o><o>{ORGANIZATION}</o><o><name>Autre</name></o>")
    references = [scene.actors.organization(element) for element in scene.document[1:]]
    assert references == [{"reference": f"#organization-{n}"} for n in (1, 1, 2)]
    assert [each["id"] for each in scene.actors.contained] == ["organization-1", "organization-2"]
