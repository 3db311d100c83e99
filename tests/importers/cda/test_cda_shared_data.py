"""The published French, European, Italian and American documents, read from beside the project."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from fhir_server.errors import Invalid, NotBuilt
from fhir_server.fhir.identity import BIRTH_GIVEN_NAMES
from importers.cda.document import Parsed, convert, read
from importers.cda.patient import compare, verify

pytestmark = pytest.mark.shared_data

IMPORTED_AT = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)
REJECTIONS = "https://example.org/fhir-server/CodeSystem/import-rejection"
# Whose INS has a wrong key under the system of real people: refused in strict mode (ID-4), read in lenient mode.
WRONG_KEYS = {
    "CSE-CS24_2021.01.xml",
    "CSE-CS24_2024.01.xml",
    "CSE-CS8_2021.01.xml",
    "CSE-CS8_2024.01.xml",
    "CSE-MDE_2023.01.xml",
    "F-PRC-DCI_1.4.xml",
    "OBP-SCM_2021.01.xml",
    "OPH-BRE_2021.01.xml",
}

# The same under the system of tests: a warning.
WRONG_KEYS_OF_TESTS = {"CSE-CS24_2025.01.xml", "CSE-CS8_2025.01.xml", "SDM-MR_2024.01_nouveau-ne.xml"}

Judge = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def french(shared_data: Path) -> dict[str, Parsed]:
    """Every French document, read."""
    files = sorted((shared_data / "cda" / "fr").glob("*/*.xml"))
    return {f"{each.parent.name}/{each.name}": read(each.read_bytes()) for each in files}


def references(resource: dict[str, Any]) -> list[str]:
    """All literal references in a resource."""
    text = json.dumps(resource)
    return [part.partition('"')[0] for part in text.split('"reference": "')[1:]]


def test_every_french_document_becomes_valid_resources(french: dict[str, Parsed], is_r4: Judge) -> None:
    """All 100, for the subject asked for, the bytes as they came, with every contained actor referred to."""
    assert len(french) == 100
    for name, parsed in french.items():
        found = convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT)
        for resource in (*found.resources, parsed.identity.patient):
            is_r4(resource)
        resource = found.document_reference
        assert resource["subject"] == {"reference": "Patient/p1"}, name
        assert found.attachments[0].data == parsed.original, name
        assert {each["id"] for each in resource["contained"]} <= {each[1:] for each in references(resource)}, name
        for required in ("masterIdentifier", "type", "category", "author", "custodian", "authenticator", "identifier"):
            assert required in resource, (name, required)
        assert {"period", "facilityType", "practiceSetting", "sourcePatientInfo"} <= set(resource["context"]), name


def test_every_french_document_is_accepted_or_refused_with_its_code(french: dict[str, Parsed]) -> None:
    """Strict: 906 for the wrong keys and nothing else; lenient: none refused; production: 906 for numbers of tests."""
    refused: Counter[str] = Counter()
    for name, parsed in french.items():
        verify(parsed.identity, strict=False)
        if name.rpartition("/")[2] in WRONG_KEYS:
            with pytest.raises(Invalid) as error:
                verify(parsed.identity)
            assert error.value.issues[0].coding == (REJECTIONS, "906"), name
            refused[name] += 1
        else:
            warned = {each.severity for each in verify(parsed.identity).issues} == {"warning"}
            assert warned == (name.rpartition("/")[2] in WRONG_KEYS_OF_TESTS), name
    assert len(refused) == len(WRONG_KEYS)
    trial = [each for each in french.values() if each.identity.ins[0].system.endswith((".10", ".11"))]
    assert len(trial) > 50
    for parsed in trial:
        with pytest.raises(Invalid):
            verify(parsed.identity, production=True)


def test_the_counts_agree_with_the_inventory(french: dict[str, Parsed], shared_data: Path) -> None:
    """Level, sections, type, id, set, version and parents of every document; every entry counted once."""
    inventory = json.loads((shared_data / "cda" / "inventory.json").read_text(encoding="utf-8"))
    known = {each["file"].removeprefix("fr/"): each for each in inventory["documents"]}
    for name, parsed in french.items():
        row = known[name]
        assert parsed.body.level == row["level"], name
        assert parsed.body.sections == row["sections"], name
        assert str(parsed.names.version) == row["versionNumber"], name
        root = row["id"]["root"]
        urn = f"urn:uuid:{root.lower()}" if "-" in root else f"urn:oid:{root}"
        assert parsed.names.unique_id.value == row["id"].get("extension", urn), name
        assert len(parsed.names.parents) == len(row["relatedDocument"]), name
        assert parsed.type is not None
        assert parsed.type["coding"][0]["code"] == row["typeCode"], name
        assert parsed.size == row["bytes"], name
        entries = etree.fromstring(parsed.original, etree.XMLParser(huge_tree=True)).iter("{urn:hl7-org:v3}entry")
        assert parsed.body.entries == sum(1 for _ in entries), name


def test_the_same_person_is_the_same_in_every_document_that_spells_the_same_birth(french: dict[str, Parsed]) -> None:
    """279035121518989 is one person in 57 documents: no trait differs, though lists of given names vary."""
    same = [each for each in french.values() if each.identity.ins[0].value == "279035121518989"]
    assert len(same) == 55
    differing = {trait for each in same for trait in compare(each.identity, same[0].identity.patient)}
    assert differing <= {"birth_place"}


def document_facts(parsed: Parsed) -> dict[str, Any]:
    """What `expected.json` says of a document, from the resources made of it."""
    found = convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT).document_reference
    contained = {f"#{each['id']}": each for each in found["contained"]}
    attachment, context = found["content"][0]["attachment"], found["context"]
    coding = found["type"]["coding"][0]
    return {
        "masterIdentifier": found["masterIdentifier"]["value"],
        "setId": found["identifier"][0]["value"],
        "version": str(found["extension"][0]["valueInteger"]),
        "status": found["status"],
        "type": {name: coding[name] for name in ("system", "code", "display")},
        "title": attachment["title"],
        "creation": attachment["creation"],
        "language": attachment["language"],
        "contentType": attachment["contentType"],
        "confidentiality": found["securityLabel"][0]["coding"][0]["code"],
        "facilityType": context["facilityType"]["coding"][0]["code"],
        "practiceSetting": context["practiceSetting"]["coding"][0]["code"],
        "custodian": contained[found["custodian"]["reference"]]["identifier"][0]["value"],
        "event": [
            f"{'LOINC' if each['coding'][0]['system'] == 'http://loinc.org' else '?'} {each['coding'][0]['code']}"
            for each in context["event"]
        ],
    }


def patient_facts(parsed: Parsed) -> dict[str, Any]:
    """The same for the patient."""
    patient, traits = parsed.identity.patient, parsed.identity.traits
    (extension,) = patient["name"][0]["extension"]
    assert extension["url"] == BIRTH_GIVEN_NAMES
    return {
        "ins": parsed.identity.ins[0].identifier(),
        "family_birth": patient["name"][0]["family"],
        "given_birth_all": extension["valueString"],
        "given_first": traits.first_given,
        "gender": patient["gender"],
        "birthDate": patient["birthDate"],
        "other_identifiers": [each.identifier() for each in parsed.identity.other_ids],
    }


def author_facts(parsed: Parsed) -> dict[str, Any]:
    """The same for the first author."""
    found = convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT).document_reference
    contained = {f"#{each['id']}": each for each in found["contained"]}
    role = contained[found["author"][0]["reference"]]
    person, organization = (contained[role[name]["reference"]] for name in ("practitioner", "organization"))
    pair = [each["code"] for code in role.get("code", []) for each in code["coding"] if "G15_" in each["code"]]
    return {
        "system": person["identifier"][0]["system"],
        "value": person["identifier"][0]["value"],
        "family": person["name"][0]["family"],
        "given": person["name"][0]["given"][0],
        "role": next(iter(pair), None),
        "organization": organization["identifier"][0]["value"],
    }


def test_the_documents_described_by_hand_give_the_facts_expected(french: dict[str, Parsed], shared_data: Path) -> None:
    """`expected.json`: every fact of header, patient, author and embedded PDF."""
    expected = json.loads((shared_data / "cda" / "expected.json").read_text(encoding="utf-8"))["documents"]
    assert len(expected) == 3
    for row in expected:
        parsed = french[row["file"].removeprefix("fr/")]
        assert hashlib.sha256(parsed.original).hexdigest() == row["sha256"]
        assert parsed.body.level == row["level"]
        assert parsed.body.sections == row.get("sections", parsed.body.sections)
        for facts, name in (
            (document_facts(parsed), "documentReference"),
            (patient_facts(parsed), "patient"),
            (author_facts(parsed), "author"),
        ):
            assert {each: facts[each] for each in row[name]} == row[name], row["file"]
        if "pdf" in row:
            _, body = convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT).attachments
            assert (body.media_type, len(body.data)) == (row["pdf"]["contentType"], row["pdf"]["bytes"])
            assert hashlib.sha1(body.data).hexdigest() == row["pdf"]["sha1_hex"]
            assert body.data.startswith(row["pdf"]["starts_with"].encode())


def test_the_legal_authenticator_of_the_vaccination_record_is_not_its_patient(french: dict[str, Parsed]) -> None:
    """VAC_2023.01: the trap of another person's INS."""
    found = convert(french["ci-sis-3.0/VAC_2023.01.xml"], subject="Patient/p1", imported_at=IMPORTED_AT)
    authenticator = found.document_reference["authenticator"]
    assert authenticator["identifier"]["value"] == "276059205062865"
    assert authenticator["display"] == "Marie DECOURCY"
    assert "276059205062865" not in json.dumps(found.document_reference["contained"])


def test_level_1_bodies_are_the_pdf_they_say(french: dict[str, Parsed]) -> None:
    """Eleven documents, each with two contents that hash to what they say."""
    bodies = [each for each in french.values() if each.body.level == 1]
    assert len(bodies) == 11
    for parsed in bodies:
        found = convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT)
        content = found.document_reference["content"][1]["attachment"]
        assert content["contentType"] == "application/pdf"
        assert b64decode(content["hash"]) == hashlib.sha1(found.attachments[1].data).digest()


@pytest.mark.parametrize("folder", ["eu", "us", "it"])
def test_a_foreign_document_is_read_and_refused_for_want_of_an_ins(
    folder: str, shared_data: Path, is_r4: Judge
) -> None:
    """903; where a caller has matched the patient otherwise, its header converts."""
    files = sorted((shared_data / "cda" / folder).glob("*.xml"))
    assert len(files) >= 5
    for each in files:
        parsed = read(each.read_bytes())
        with pytest.raises(Invalid) as error:
            verify(parsed.identity)
        assert error.value.issues[0].coding == (REJECTIONS, "903"), each.name
        for resource in convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT).resources:
            is_r4(resource)


def test_a_registry_request_is_refused_as_not_built(shared_data: Path) -> None:
    """The three ebRIM samples, one of them a raw HTTP request."""
    files = [each for each in sorted((shared_data / "cda" / "ebrim").iterdir()) if each.suffix in (".xml", ".txt")]
    assert len(files) == 3
    for each in files:
        with pytest.raises(NotBuilt):
            read(each.read_bytes())
