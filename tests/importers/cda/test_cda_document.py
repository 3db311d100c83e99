"""A whole document becomes one DocumentReference and its bytes (importers §4, §5, §8)."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from fhir_server.errors import Invalid, Malformed, NotBuilt, TooLarge, UnsupportedMediaType
from importers.cda.datatypes import Key
from importers.cda.document import Conversion, Envelope, convert, read
from importers.cda.naming import RelatedDocument
from importers.issues import ISSUES, REJECTIONS
from importers.limits import Limits

IMPORTED_AT = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)
NOS = "https://mos.esante.gouv.fr/NOS/"


def converted(document: bytes, **more: Any) -> Conversion:
    """The conversion for one subject."""
    return convert(read(document), subject="Patient/p1", imported_at=IMPORTED_AT, **more)


def codes(concepts: Any) -> list[list[tuple[str, str]]]:
    """The (system, code) pairs of CodeableConcepts, the system without the root of the French ones."""
    several = concepts if isinstance(concepts, list) else [concepts]
    return [[(each["system"].removeprefix(NOS).partition("/")[0] if NOS in each["system"] else each["system"],
              each["code"]) for each in concept["coding"]] for concept in several]  # fmt: skip


def changed(document: bytes, old: str, new: str) -> bytes:
    """The document with one thing changed, which must have been there."""
    text = document.decode()
    assert old in text
    return text.replace(old, new, 1).encode()


def notes(conversion: Conversion) -> list[str]:
    """The codes of the issues of a report."""
    return [each.coding[1] for each in conversion.report.issues if each.coding]


def test_the_header_of_a_document_is_a_document_reference(level1: bytes) -> None:
    """§5, row by row."""
    found = converted(level1).document_reference
    assert found["masterIdentifier"] == {"system": "urn:oid:1.2.250.1.999.7.3", "value": "CR-2026-0042"}
    assert found["identifier"] == [{"use": "secondary", "system": "urn:oid:1.2.250.1.999.7.2", "value": "CR-2026"}]
    assert found["extension"] == [
        {"url": "https://example.org/fhir-server/StructureDefinition/document-version", "valueInteger": 2}
    ]
    assert found["status"] == "current"
    assert codes(found["type"]) == [[("http://loinc.org", "11488-4")]]
    assert codes(found["category"]) == [[("TRE_A03-ClasseDocument", "10")]]
    assert found["subject"] == {"reference": "Patient/p1"}
    assert found["date"] == "2026-01-06T08:30:00.000+00:00"
    assert found["description"] == "Compte rendu de consultation"
    assert codes(found["securityLabel"]) == [[("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "N")]]
    assert "relatesTo" not in found
    assert "docStatus" not in found


def test_the_actors_are_contained(level1: bytes) -> None:
    """Authors in their order, authenticator, custodian, the patient as described."""
    found = converted(level1).document_reference
    kinds = {f"#{each['id']}": each["resourceType"] for each in found["contained"]}
    assert [kinds[each["reference"]] for each in found["author"]] == ["PractitionerRole", "Device"]
    assert kinds[found["authenticator"]["reference"]] == "PractitionerRole"
    assert kinds[found["custodian"]["reference"]] == "Organization"
    assert kinds[found["context"]["sourcePatientInfo"]["reference"]] == "Patient"
    assert sorted(kinds.values()).count("Organization") == 1


def test_the_context_of_a_document(level1: bytes) -> None:
    """All events, the period of the first act, facility, setting, the numbers the document belongs to."""
    context = converted(level1).document_reference["context"]
    assert codes(context["event"]) == [
        [("http://snomed.info/sct", "11429006")],
        [("http://hl7.org/fhir/sid/icd-10", "I10")],
    ]
    assert context["period"] == {"start": "2026-01-05T09:00:00+01:00", "end": "2026-01-05T09:30:00+01:00"}
    assert codes(context["facilityType"]) == [[("TRE_R02-SecteurActivite", "SA07")]]
    assert codes(context["practiceSetting"]) == [[("TRE_A01-CadreExercice", "AMBULATOIRE")]]
    (encounter,) = converted(level1).discrete
    assert context["encounter"] == [{"reference": f"urn:uuid:{encounter['id']}"}]
    numbers = [each["identifier"] for each in context["related"]]
    assert [each["value"] for each in numbers] == ["DEM-1", "ACN-1", "SEJ-1"]
    assert [each.get("type", {}).get("coding", [{}])[0].get("code") for each in numbers] == [None, "ACSN", "VN"]


def test_the_original_is_kept_byte_for_byte_and_its_body_beside_it(level1: bytes) -> None:
    """Two contents, each with size and SHA-1 of its own bytes, urls to the Binaries."""
    conversion = converted(level1)
    original, body = conversion.attachments
    assert (original.media_type, original.data) == ("text/xml", level1)
    assert body.media_type == "application/pdf"
    assert body.data.startswith(b"%PDF-1.4")
    for attachment, content in zip(conversion.attachments, conversion.document_reference["content"], strict=True):
        found = content["attachment"]
        assert found["url"] == attachment.full_url == f"urn:uuid:{attachment.id}"
        assert found["contentType"] == attachment.media_type
        assert found["size"] == len(attachment.data)
        assert b64decode(found["hash"]) == hashlib.sha1(attachment.data).digest()
        assert (found["language"], found["title"]) == ("fr-FR", "Compte rendu de consultation")
        assert found["creation"] == "2026-01-05T10:15:00+01:00"
    formats = [each["format"]["code"] for each in conversion.document_reference["content"]]
    assert formats == ["urn:ihe:iti:xds-sd:pdf:2008", "urn:ihe:iti:xds:2017:mimeTypeSufficient"]


def test_a_binary_is_read_by_whoever_may_read_its_document(level1: bytes) -> None:
    """securityContext; the data in base64 only when asked for."""
    conversion = converted(level1)
    reference = conversion.document_reference
    binaries = [each for each in conversion.resources if each["resourceType"] == "Binary"]
    for binary, attachment in zip(binaries, conversion.attachments, strict=True):
        assert b64decode(binary["data"]) == attachment.data
        assert binary["securityContext"] == {"reference": f"urn:uuid:{reference['id']}"}


def test_a_level_3_document_is_kept_whole_and_its_entries_counted(level3: bytes) -> None:
    """One content; both entries are mapped."""
    conversion = converted(level3)
    assert [each.data for each in conversion.attachments] == [level3]
    report = conversion.report
    assert (report.kind, report.level, report.sections) == ("cda", 3, 2)
    counts = report.entries
    assert (counts.total, counts.mapped, counts.narrative_only, counts.failed) == (2, 2, 0, 0)
    assert report.milliseconds > 0
    found = conversion.document_reference
    assert found["content"][0]["format"]["code"] == "urn:asip:ci-sis:vac-note:2021"
    assert codes(found["category"]) == [[("TRE_A03-ClasseDocument", "52")]]


def test_a_bare_header_says_what_it_lacks(level3: bytes) -> None:
    """A UUID as document id, no set, no version, no start of service, no setting: noted, not invented."""
    found = converted(level3).document_reference
    uuid = "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e"
    assert found["masterIdentifier"] == {"system": "urn:ietf:rfc:3986", "value": uuid}
    assert "identifier" not in found
    assert found["extension"][0]["valueInteger"] == 1
    assert found["context"]["period"] == {"start": "2025-06-18"}
    assert found["authenticator"]["display"] == "Anne LEROUX"
    assert "reference" not in found["authenticator"]
    details = [each.diagnostics.rpartition("(")[2] for each in converted(level3).report.issues]
    assert notes(converted(level3)) == ["no-service-start", "missing-element", "missing-element"]
    assert details[1:] == ["context.facilityType)", "context.practiceSetting)"]


def test_a_wrapped_document_is_the_inner_one_and_the_whole_file(level3: bytes, wrapped: bytes) -> None:
    """The stylesheet is never run: the bytes are kept, the element is converted, whatever its prefix."""
    conversion, bare = converted(wrapped), converted(level3)
    assert conversion.report.kind == "wrapped-cda"
    assert conversion.attachments[0].data == wrapped
    assert conversion.report.entries == bare.report.entries
    for name in ("type", "category", "author", "context", "contained", "custodian", "securityLabel"):
        assert conversion.document_reference[name] == bare.document_reference[name]
    assert conversion.document_reference["id"] != bare.document_reference["id"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_the_encoding_changes_nothing_but_the_bytes(level1: bytes, encoding: str) -> None:
    """UTF-16 and a byte order mark."""
    rewritten = changed(level1, "UTF-8", encoding.partition("-sig")[0]).decode().encode(encoding)
    found, expected = converted(rewritten).document_reference, converted(level1).document_reference
    assert found["context"] == expected["context"]
    assert found["contained"] == expected["contained"]


def test_every_resource_is_valid_r4(
    level1: bytes, level3: bytes, wrapped: bytes, is_r4: Callable[[dict[str, Any]], None]
) -> None:
    """For two judges."""
    for document in (level1, level3, wrapped):
        for resource in (*converted(document).resources, read(document).identity.patient):
            is_r4(resource)


def test_ids_depend_on_the_document_alone(level1: bytes, level3: bytes) -> None:
    """uuid5 of the uniqueId: not of subject, time or bytes, so that a second deposit is seen as one."""
    one = converted(level1)
    other = convert(
        read(changed(level1, "<city>CLERMONT-FERRAND</city>", "<city>RIOM</city>")),
        subject="Patient/p2",
        imported_at=IMPORTED_AT + timedelta(days=1),
    )
    assert one.document_reference["id"] == other.document_reference["id"]
    assert [each.id for each in one.attachments] == [each.id for each in other.attachments]
    ids = [each["id"] for conversion in (one, converted(level3)) for each in conversion.resources]
    assert len(ids) == len(set(ids))
    namespace = uuid5(NAMESPACE_URL, "urn:fhir-server:importer:1")
    key = "urn:oid:1.2.250.1.999.7.3|CR-2026-0042|DocumentReference"
    assert one.document_reference["id"] == str(uuid5(namespace, key))


def test_converting_twice_gives_the_same(level1: bytes) -> None:
    """A parsed document is not changed by its conversion."""
    parsed = read(level1)
    one, other = (convert(parsed, subject="Patient/p1", imported_at=IMPORTED_AT) for _ in range(2))
    assert one.document_reference == other.document_reference
    assert one.report.issues == other.report.issues


def test_a_conversion_may_be_changed_without_changing_the_next_document(level1: bytes) -> None:
    """No table or constant is handed out."""
    spoilt = converted(level1)
    for content in spoilt.document_reference["content"]:
        content["format"].clear()
        content["attachment"].clear()
    for category in spoilt.document_reference["category"]:
        category["coding"][0].clear()
    fresh = converted(level1).document_reference
    assert all(each["format"]["code"] and each["attachment"]["url"] for each in fresh["content"])
    assert fresh["category"][0]["coding"][0]["code"] == "10"


def test_what_the_caller_needs_to_file_a_document(level1: bytes, level3: bytes) -> None:
    """Lineage, version, parents; alone, a document is its own lineage."""
    parsed = read(level1)
    assert parsed.names.lineage == Key("urn:oid:1.2.250.1.999.7.2", "CR-2026")
    assert parsed.names.version == 2
    assert parsed.names.parents == (
        RelatedDocument(
            "replaces",
            (Key("urn:oid:1.2.250.1.999.7.3", "CR-2026-0041"),),
            Key("urn:oid:1.2.250.1.999.7.2", "CR-2026"),
            1,
        ),
    )
    assert (parsed.media_type, parsed.size) == ("text/xml", len(level1))
    assert b64decode(parsed.sha1) == hashlib.sha1(level1).digest()
    assert parsed.type is not None
    alone = read(level3).names
    assert alone.lineage == alone.unique_id


@pytest.mark.parametrize(
    ("type_code", "code"), [("RPLC", "replaces"), ("APND", "appends"), ("XFRM", "transforms"), ("OTHER", None)]
)
def test_a_parent_is_replaced_appended_or_transformed(level1: bytes, type_code: str, code: str | None) -> None:
    """Another relation is none of R4."""
    parents = read(changed(level1, '"RPLC"', f'"{type_code}"')).names.parents
    assert [each.code for each in parents] == ([code] if code else [])


def test_the_envelope_adds_what_it_hides(level1: bytes) -> None:
    """The document says N, the envelope masks it."""
    found = converted(level1, envelope=Envelope(visibility=("MASQUE_PS",))).document_reference["securityLabel"]
    assert [each["coding"][0]["code"] for each in found] == ["N", "MASQUE_PS"]


@pytest.mark.parametrize(("author", "category"), [("patient", "90"), ("professional", "10")])
def test_a_questionnaire_is_the_patients_only_by_his_hand(level1: bytes, author: str, category: str) -> None:
    """COD-12: 74465-6."""
    document = changed(level1, '"11488-4"', '"74465-6"')
    if author == "patient":
        professional = '<id root="1.2.250.1.71.4.2.1" extension="810000000012"/>'
        document = changed(document, professional, '<id root="1.2.250.1.213.1.4.10" extension="277076322082910"/>')
    assert codes(converted(document).document_reference["category"]) == [[("TRE_A03-ClasseDocument", category)]]


def test_a_type_outside_the_table_has_no_category(level1: bytes) -> None:
    """A warning, never a guess."""
    conversion = converted(changed(level1, '"11488-4"', '"99999-9"'))
    assert "category" not in conversion.document_reference
    assert "unknown-type" in notes(conversion)


@pytest.mark.parametrize(
    ("templates", "body", "code"),
    [
        (("1.3.6.1.4.1.19376.1.3.3",), "application/pdf", "urn:ihe:iti:xds-sd:pdf:2008"),
        (("1.2.250.1.213.1.1.1.37",), "text/html", "urn:asip:ci-sis:vac:2019"),
        (("1.3.6.1.4.1.19376.1.3.3", "1.2.250.1.213.1.1.1.13"), "text/html", "urn:asip:ci-sis:vsm:2012"),
        (("1.2.250.1.213.1.1.1.5", "1.2.250.1.213.1.1.1.5.2"), "text/html", "urn:asip:ci-sis:cse-cs9:2017"),
        (("1.2.3",), "text/html", "urn:asipSante:modelesHorsProfils:2011"),
    ],
)
def test_the_format_is_that_of_an_opaque_body_or_of_the_most_specific_template(
    level1: bytes, templates: tuple[str, ...], body: str, code: str
) -> None:
    """ASS_A12 at level 1, else ASS_A11, French templates first; a format of its own for what is in no profile."""
    said = "".join(f'<templateId root="{each}"/>' for each in templates)
    document = changed(level1, '<templateId root="1.3.6.1.4.1.19376.1.2.20"/>', said)
    document = changed(document, 'mediaType="application/pdf"', f'mediaType="{body}"')
    assert converted(document).document_reference["content"][0]["format"]["code"] == code


def test_a_service_that_ended_before_the_document_keeps_its_end_alone(level1: bytes) -> None:
    """The date of the document is no start of what was over by then."""
    document = changed(level1, '<low value="202601050900+0100"/>', "")
    assert converted(document).document_reference["context"]["period"] == {"end": "2026-01-05T09:30:00+01:00"}


def test_other_standards_and_bad_languages_are_noted(level1: bytes) -> None:
    """An Italian typeId is accepted; a language that is none is left out."""
    document = changed(changed(level1, "POCD_HD000040", "POCD_MT000040UV02"), '"fr-FR"', '"français"')
    conversion = converted(document)
    assert {"unexpected-standard", "bad-language", "missing-element"} <= set(notes(conversion))
    assert "language" not in conversion.document_reference["content"][0]["attachment"]


@pytest.mark.parametrize(
    ("document", "kind", "code"),
    [
        (b"PK\x03\x04", NotBuilt, "not-built"),
        (b"%PDF-1.4", NotBuilt, "not-built"),
        (b"<SubmitObjectsRequest/>", NotBuilt, "not-built"),
        (b'{"resourceType": "Binary"}', UnsupportedMediaType, "not-a-document"),
        (b"", UnsupportedMediaType, "not-a-document"),
        (b"<Bundle/>", Invalid, "not-a-document"),
        (b"<ClinicalDocument/>", Invalid, "not-a-document"),
        (b'<a xmlns="urn:hl7-org:v3"><ClinicalDocument/><ClinicalDocument/></a>', Invalid, "not-a-document"),
        (b"<ClinicalDocument", Malformed, "not-well-formed"),
        (b"<!DOCTYPE a><ClinicalDocument/>", Malformed, "doctype"),
    ],
)
def test_what_is_not_one_document_is_refused(document: bytes, kind: type[Exception], code: str) -> None:
    """With one coded issue, never half-read."""
    with pytest.raises(kind) as error:
        read(document)
    assert [each.coding for each in getattr(error.value, "issues", ())] == [(ISSUES, code)]


@pytest.mark.parametrize("id", ["", '<id nullFlavor="NA"/>', '<id extension="1"/>', '<id root="YY" extension="1"/>'])
def test_a_document_without_a_readable_id_is_refused(level1: bytes, id: str) -> None:
    """906: nothing could be keyed by it."""
    with pytest.raises(Invalid) as error:
        read(changed(level1, '<id root="1.2.250.1.999.7.3" extension="CR-2026-0042"/>', id))
    assert error.value.issues[0].coding == (REJECTIONS, "906")


def test_a_document_beyond_its_caps_is_refused(level1: bytes) -> None:
    """Size first, time at the end of each step."""
    for limits, cap in ((Limits(xml_bytes=100), "limit:xml-bytes"), (Limits(seconds=0), "limit:seconds")):
        with pytest.raises(TooLarge) as error:
            read(level1, limits)
        assert error.value.issues[0].coding == (ISSUES, cap)


@pytest.mark.parametrize("subject", ["", "Practitioner/1", "Patient/a b", "#patient-1", "http://example.org/Patient/1"])
def test_the_subject_is_a_patient_of_this_server(level1: bytes, subject: str) -> None:
    """A mistake of the caller, not of the document."""
    with pytest.raises(ValueError, match="subject"):
        convert(read(level1), subject=subject, imported_at=IMPORTED_AT)
    with pytest.raises(ValueError, match="imported_at"):
        convert(read(level1), subject="Patient/p1", imported_at=datetime(2026, 1, 6))
