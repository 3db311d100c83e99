"""ebRIM: what is written is read, and the odd ways others write it are read too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from lxml import etree
from metadata_worlds import codes, identifiers, institutions, persons, registries

from fhir_server.errors import Invalid
from importers import hl7v2
from importers.ebrim import registry
from importers.export.ebrim import submit_objects_request
from importers.metadata import Code, Identifier, Institution, Person, Registry, of_entry
from importers.submission import open_submission

RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(registries())
def test_metadata_that_are_written_are_read_as_they_were(written: Registry) -> None:
    """Every attribute of entry, set, folder and association; reserved characters of HL7 v2 and XML included."""
    data = submit_objects_request(written)
    assert registry(etree.fromstring(data)) == written
    assert submit_objects_request(written) == data


@given(identifiers, persons, institutions, codes)
def test_the_types_of_hl7_v2_are_read_as_they_are_written(
    identifier: Identifier, person: Person, institution: Institution, code: Code
) -> None:
    """CX, XCN, XON, coded values."""
    assert hl7v2.identifier(hl7v2.write_identifier(identifier)) == identifier
    assert hl7v2.person(hl7v2.write_person(person)) == person
    assert hl7v2.institution(hl7v2.write_institution(institution)) == institution
    assert hl7v2.code(hl7v2.write_code(code)) == code


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH", Identifier("279035121518989", "1.2.250.1.213.1.4.10", "NH")),
        ("1234^^^&1.2.3", Identifier("1234", "1.2.3")),
        ("1234^^^1.2.3", Identifier("1234", "1.2.3")),
        (" 1234 ^^^ &1.2.3&ISO ", Identifier("1234", "1.2.3")),
        ("0123^^^&1.2.250.1.213.1.4.2&ISO^INS-C^^20110101", Identifier("0123", "1.2.250.1.213.1.4.2", "INS-C")),
        ("$patientId", Identifier("$patientId")),
        ("^^^&1.2.3&ISO", None),
    ],
)
def test_an_identifier_is_read_however_it_is_written(written: str, expected: Identifier | None) -> None:
    """Without ISO, with blanks, old INS-C, placeholders."""
    assert hl7v2.identifier(written) == expected


def test_french_professionals_structures_and_roles_are_read() -> None:
    """XCN, XON and both forms of a role."""
    doctor = "801234567897^MULLER^Charles^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"
    key = Identifier("801234567897", "1.2.250.1.71.4.2.1", "IDNPS")
    assert hl7v2.person(doctor) == Person(key, "MULLER", "Charles", name_type="D")
    structure = Identifier("1750803447", "1.2.250.1.71.4.2.2", "IDNST")
    assert hl7v2.institution("Clinique^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^1750803447") == Institution(
        "Clinique", structure
    )
    role = Code("G15_10/SM26", "1.2.250.1.213.1.1.4.5", "Médecin")
    assert hl7v2.code("G15_10/SM26^Médecin^1.2.250.1.213.1.1.4.5") == role
    assert hl7v2.code("HCP^^^&2.16.756.5&ISO") == Code("HCP", "2.16.756.5")
    assert hl7v2.code("483") == Code("483")


def test_a_request_without_one_list_of_objects_is_refused() -> None:
    """None, or two."""
    for lists in ("", f'<RegistryObjectList xmlns="{RIM}"/>' * 2):
        with pytest.raises(Invalid):
            registry(etree.fromstring(f"<SubmitObjectsRequest>{lists}</SubmitObjectsRequest>"))


def test_associations_that_lead_out_of_the_message_stay_with_their_entry() -> None:
    """A replacement names its target by entryUUID."""
    xml = f"""<r xmlns="{RIM}"><RegistryObjectList><ExtrinsicObject id=" new "/><ExtrinsicObject id="other"/>
      <Association associationType="urn:ihe:iti:2007:AssociationType:RPLC" sourceObject="new"
        targetObject="urn:uuid:old"/>
      <Association sourceObject="new"/></RegistryObjectList></r>"""
    found = registry(etree.fromstring(xml))
    new, other = (of_entry(each, found) for each in found.entries)
    assert [(each.kind, each.target) for each in new.associations] == [("RPLC", "urn:uuid:old")]
    assert other.associations == ()


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "media_type", "size", "title"),
    [
        ("ITI-41_request_raw_http.txt", "application/fhir+json", 6705, "Vaccination - FSME-Immun 0.25 ml Junior"),
        ("ehdsi_testSubmitHcer.xml", "text/xml", 5490, None),
    ],
)
def test_published_requests_are_opened(
    shared_data: Path, name: str, media_type: str, size: int, title: str | None
) -> None:
    """XOP below HTTP lines and before a line of a log; inline base64."""
    (found,) = open_submission((shared_data / "cda" / "ebrim" / name).read_bytes())
    assert found.refused is None
    assert found.metadata
    assert found.document
    assert len(found.document) == size
    assert (found.metadata.entry.mime_type, found.metadata.entry.title) == (media_type, title)
    assert found.metadata.submission_set
    assert [each.kind for each in found.metadata.associations] == ["HasMember"]


@pytest.mark.shared_data
def test_published_metadata_without_bytes_are_refused_but_read(shared_data: Path) -> None:
    """Placeholders are read as they are."""
    (found,) = open_submission((shared_data / "cda" / "ebrim" / "openxds_submit_document.xml").read_bytes())
    assert found.refused
    assert found.refused.coding
    assert found.refused.coding[1] == "no-content"
    assert found.metadata
    assert found.metadata.entry.unique_id == "$XDSDocumentEntry.uniqueId"
    assert found.metadata.entry.legal_authenticator
    assert found.metadata.entry.legal_authenticator.family == "DePinto"
    assert [each[:6] for each in found.metadata.entry.source_patient_info] == [
        "PID-3|",
        "PID-5|",
        "PID-8|",
        "PID-7|",
        "PID-11",
    ]
