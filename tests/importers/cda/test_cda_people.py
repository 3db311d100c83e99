"""Who took part, as References by identifier (importers §4 and §6 rule 1)."""

from __future__ import annotations

from uuid import uuid5

import pytest
from lxml import etree

from importers.cda.datatypes import Key
from importers.cda.entries.entry import NAMESPACE, name_uuid
from importers.cda.people import People, Reference
from importers.issues import Notes

INS = "1.2.250.1.213.1.4.10"
NAME = "<name><given>Lise</given><family>CARON</family></name>"


def taking_part(content: str) -> Reference | None:
    """The actor of a participation; the patient has the INS 124018852493334."""
    people = People("Patient/p1", (Key(f"urn:oid:{INS}", "124018852493334"),), Notes())
    return people.actor(etree.fromstring(f'<p xmlns="urn:hl7-org:v3">{content}</p>'))


def test_the_patient_is_the_subject() -> None:
    """By his INS, or by his class."""
    patient = f'<assignedAuthor><id root="{INS}" extension="124018852493334"/></assignedAuthor>'
    assert taking_part(patient) == {"reference": "Patient/p1"}
    assert taking_part('<relatedEntity classCode="PAT"/>') == {"reference": "Patient/p1"}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (f'<assignedAuthor><id root="1.2.3" extension="x"/><assignedPerson>{NAME}</assignedPerson></assignedAuthor>',
         "Practitioner"),
        (f"<assignedEntity><assignedPerson>{NAME}</assignedPerson></assignedEntity>", "Practitioner"),
        (f'<assignedEntity><id root="{INS}" extension="277076322082910"/></assignedEntity>', "RelatedPerson"),
        (f'<relatedEntity classCode="PRS"><relatedPerson>{NAME}</relatedPerson></relatedEntity>', "RelatedPerson"),
        ("<assignedAuthor><assignedAuthoringDevice><softwareName>S</softwareName></assignedAuthoringDevice>"
         "</assignedAuthor>", "Device"),
        ("<assignedEntity><representedOrganization><name>CHU</name></representedOrganization></assignedEntity>",
         "Organization"),
    ],
)  # fmt: skip
def test_everybody_else_is_of_a_type_with_a_name_or_an_identifier(content: str, kind: str) -> None:
    """Never the patient, though a relative may bear an INS."""
    found = taking_part(content)
    assert found is not None
    assert found["type"] == kind
    assert "reference" not in found
    assert found.get("display") or found.get("identifier")


def test_nobody_is_nobody() -> None:
    """Null ids and no name."""
    assert taking_part("") is None
    assert taking_part('<assignedEntity><id nullFlavor="UNK"/></assignedEntity>') is None


def test_two_persons_of_one_id_are_two() -> None:
    """Some software gives one id to all."""
    people = People("Patient/p1", (), Notes())
    shown = []
    for family in ("CARON", "PETIT", "CARON"):
        person = f"<assignedPerson><name><family>{family}</family></name></assignedPerson>"
        role = f'<assignedEntity><id root="1.2.3" extension="0"/>{person}</assignedEntity>'
        actor = people.actor(etree.fromstring(f'<p xmlns="urn:hl7-org:v3">{role}</p>'))
        assert actor is not None
        shown.append(actor["display"])
    assert shown == ["CARON", "PETIT", "CARON"]


def test_keys_are_uuids_of_version_5() -> None:
    """The short way gives what the long one gives."""
    for name in ("", "Patient/p1|urn:oid:1.2|Condition|é"):
        assert name_uuid(name) == str(uuid5(NAMESPACE, name))
