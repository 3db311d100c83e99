"""The patient of a document is its recordTarget, under one INS, with the strict traits (importers §6, 1 and 2)."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from fhir_server.errors import Invalid
from fhir_server.fhir.identity import BIRTH_GIVEN_NAMES, INS_NIR, INS_NIR_TEST, Traits
from importers.cda.datatypes import Key
from importers.cda.document import read
from importers.cda.patient import PatientIdentity, compare, read_patient, verify
from importers.issues import ISSUES, REJECTIONS, Notes

TEST, REAL = "1.2.250.1.213.1.4.10", "1.2.250.1.213.1.4.8"
GENDER, BIRTH = '<administrativeGenderCode code="F"/>', '<birthTime value="19770714"/>'
NAME = '<name><family qualifier="BR">ROCHE</family><given>ALINE MARIE</given></name>'


def target(ids: str = "", person: str = NAME + GENDER + BIRTH) -> str:
    """A recordTarget."""
    return f"<recordTarget><patientRole>{ids}<patient>{person}</patient></patientRole></recordTarget>"


def ins(value: str, root: str = TEST) -> str:
    """An id that is an INS."""
    return f'<id root="{root}" extension="{value}"/>'


def identity(*targets: str, notes: Notes | None = None) -> PatientIdentity:
    """The identity of a document that is all recordTarget."""
    whole = f'<ClinicalDocument xmlns="urn:hl7-org:v3">{"".join(targets)}</ClinicalDocument>'
    return read_patient(etree.fromstring(whole.encode()), notes or Notes())


def rejected(one: PatientIdentity, code: str, **policy: bool) -> Invalid:
    """The identity is rejected with that code."""
    with pytest.raises(Invalid) as error:
        verify(one, **policy)
    assert error.value.issues[0].coding == (REJECTIONS, code)
    return error.value


def test_the_whole_identity_of_a_french_document(level1: bytes) -> None:
    """Identifiers, traits; the guardian inside the patient, who has an INS too, is nowhere."""
    one = read(level1).identity
    assert one.ins == (Key(INS_NIR_TEST, "277076322082910"),)
    assert one.other_ids == (Key("urn:oid:1.2.250.1.999.1", "IPP-7"),)
    assert one.traits == Traits("ROCHE", "ALINE MARIE-PIERRE", "ALINE", "1977-07-14", "female", "63220")
    assert [name["use"] for name in one.patient["name"]] == ["official", "usual"]
    assert "279035121518989" not in repr(one.patient)


def test_only_the_patient_role_is_the_patient() -> None:
    """INS of a guardian, an author, a legalAuthenticator, a provider: none of them counts."""
    guardian = f"<guardian>{ins('279035121518989')}</guardian>"
    others = "".join(
        f"<{name}><{role}>{ins('279035121518989')}</{role}></{name}>"
        for name, role in (
            ("author", "assignedAuthor"),
            ("legalAuthenticator", "assignedEntity"),
            ("informant", "relatedEntity"),
            ("participant", "associatedEntity"),
        )
    )
    provider = f"<providerOrganization>{ins('279035121518989')}</providerOrganization>"
    whole = target(person=NAME + GENDER + BIRTH + guardian).replace("</patientRole>", f"{provider}</patientRole>")
    one = identity(others, whole)
    assert one.ins == ()
    rejected(one, "903")


def test_no_recordtarget_is_no_ins() -> None:
    """903, in lenient mode as in strict mode."""
    rejected(identity(), "903")
    rejected(identity(), "903", strict=False)


@pytest.mark.parametrize(
    "targets",
    [
        (target(ins("277076322082910")), target(ins("277076322082910"))),
        (target(ins("277076322082910")).replace("</patientRole>", "</patientRole><patientRole/>"),),
        (target(ins("277076322082910")).replace("</patient>", "</patient><patient/>"),),
    ],
)
def test_a_document_about_two_patients_is_refused(targets: tuple[str, ...]) -> None:
    """906, even if one seems empty or both the same."""
    with pytest.raises(Invalid) as error:
        identity(*targets)
    assert error.value.issues[0].coding == (REJECTIONS, "906")


def test_two_ins_are_one_too_many() -> None:
    """906; the same one twice is one."""
    rejected(identity(target(ins("277076322082910") + ins("277076322082910", REAL))), "906")
    assert verify(identity(target(ins("277076322082910") * 2))).ins == Key(INS_NIR_TEST, "277076322082910")


def test_a_wrong_key_is_refused_for_a_real_person_in_strict_mode_only() -> None:
    """906 that says the key is wrong, where, and not which number; else a warning."""
    one = identity(target(ins("276059205062865", REAL)))
    error = rejected(one, "906")
    (issue,) = error.issues
    assert "clé" in issue.text
    assert issue.code == "value"
    assert issue.expression == "/ClinicalDocument/recordTarget/patientRole"
    assert "276059205062865" not in repr(error.issues)
    for lenient in (verify(one, strict=False), verify(identity(target(ins("276059205062865"))))):
        assert [(each.severity, each.coding) for each in lenient.issues] == [("warning", (ISSUES, "doubtful-ins"))]


def test_lenient_reads_an_ins_with_blanks() -> None:
    """ID-1: the verdict holds the 15 characters."""
    one = identity(target(ins("2 77 07 63 220 829 10", REAL)))
    assert verify(one, strict=False).ins == Key(INS_NIR, "277076322082910")
    rejected(one, "906")


def test_production_knows_no_ins_of_tests() -> None:
    """906 for .10 and .11; .8 passes."""
    rejected(identity(target(ins("277076322082910"))), "906", production=True)
    rejected(identity(target(ins("277076322082910", "1.2.250.1.213.1.4.11"))), "906", production=True)
    assert verify(identity(target(ins("277076322082910", REAL))), production=True).issues == ()


@pytest.mark.parametrize(
    ("person", "missing"),
    [
        (GENDER + BIRTH, "birth_family, first_given"),
        ("<name><family>ROCHE</family><given>ALINE</given></name>" + GENDER + BIRTH, "birth_family, first_given"),
        ('<name><family qualifier="CL">ROCHE</family></name>' + GENDER + BIRTH, "birth_family, first_given"),
        ('<name><family qualifier="BR">ROCHE</family></name>' + GENDER + BIRTH, "first_given"),
        (NAME + BIRTH, "sex"),
        (NAME + '<administrativeGenderCode nullFlavor="UNK" code="F"/>' + BIRTH, "sex"),
        (NAME + '<administrativeGenderCode code="X"/>' + BIRTH, "sex"),
        (NAME + GENDER, "birth_date"),
        (NAME + GENDER + '<birthTime nullFlavor="UNK"/>', "birth_date"),
    ],
)
def test_an_incomplete_identity_is_refused(person: str, missing: str) -> None:
    """905 names what is missing; a name of unknown kind is not taken for the birth name."""
    error = rejected(identity(target(ins("277076322082910"), person)), "905")
    assert error.issues[0].diagnostics.endswith(f"({missing})")


NAMES: list[tuple[str, list[dict[str, Any]]]] = [
    (
        '<given qualifier="BR">RUTH</given><given>RUTH LÉA</given><family qualifier="BR">NESSI</family>'
        '<family qualifier="SP">DECOURCY</family><family qualifier="CL">DECOURCY</family>',
        [
            {"use": "official", "family": "NESSI", "given": ["RUTH"], "all": "RUTH LÉA"},
            {"use": "usual", "family": "DECOURCY", "given": ["RUTH"]},
        ],
    ),
    (
        '<family qualifier="BR">A</family><family qualifier="CL">B</family><family qualifier="SP">C</family>'
        '<given qualifier="BR">Jean</given><given qualifier="CL">Luc</given><given qualifier="CL">Marc</given>'
        "<prefix>M</prefix>",
        [
            {"use": "official", "family": "A", "given": ["Jean"]},
            {"use": "usual", "family": "B", "given": ["Luc", "Marc"], "prefix": ["M"]},
            {"use": "usual", "family": "C"},
        ],
    ),
    (
        '<family qualifier="BR">A</family><family qualifier="SP">C</family><given>Léa</given>',
        [
            {"use": "official", "family": "A", "given": ["Léa"], "all": "Léa"},
            {"use": "usual", "family": "C", "given": ["Léa"]},
        ],
    ),
    ('<family qualifier="CL">B</family><given>Léa</given>', [{"use": "usual", "family": "B", "given": ["Léa"]}]),
    (
        '<family qualifier="BR">A</family><given>Jean</given><given>Luc</given><suffix>DR</suffix>',
        [{"use": "official", "family": "A", "given": ["Jean"], "all": "Jean Luc", "suffix": ["DR"]}],
    ),
    ("<family>A</family><given>Jean</given>", [{"family": "A", "given": ["Jean"]}]),
    ("", []),
]


@pytest.mark.parametrize(("parts", "expected"), NAMES)
def test_birth_name_and_used_name_are_two_names(parts: str, expected: list[dict[str, Any]]) -> None:
    """Rule 2: BR official with one given name and the list of all, CL usual, SP as CL."""
    found = identity(target(person=f"<name>{parts}</name>")).patient.get("name", [])
    for name in found:
        for extension in name.pop("extension", []):
            assert extension["url"] == BIRTH_GIVEN_NAMES
            name["all"] = extension["valueString"]
    assert found == expected


def test_a_list_of_given_names_without_the_first_is_completed() -> None:
    """As some senders write it; it is noted."""
    notes = Notes()
    parts = '<given qualifier="BR">RUTH</given><given>ISABELLE</given><family qualifier="BR">NESSI</family>'
    one = identity(target(person=f"<name>{parts}</name>"), notes=notes)
    assert (one.traits.first_given, one.traits.given_names) == ("RUTH", "RUTH ISABELLE")
    assert [each.coding[1] for each in notes.issues if each.coding] == ["given-names"]


@pytest.mark.parametrize(("code", "gender"), [("M", "male"), ("F", "female"), ("UN", "other"), ("U", "unknown")])
def test_the_gender(code: str, gender: str) -> None:
    """HL7 v3 codes as FHIR codes."""
    person = f'<administrativeGenderCode code="{code}"/>'
    assert identity(target(person=person)).patient["gender"] == gender


@pytest.mark.parametrize(
    ("addr", "code", "district"),
    [
        ("<county>63220</county><city>MAZOIRES</city>", "63220", None),
        ("<county>2A004</county>", "2A004", None),
        ("<county>99109</county>", "99109", None),
        ("<county>Puy-de-Dôme</county><city>MAZOIRES</city>", None, "Puy-de-Dôme"),
        ("<postalCode>92100</postalCode>", None, None),
    ],
)
def test_the_birth_place_is_the_county_only_if_it_is_a_commune(
    addr: str, code: str | None, district: str | None
) -> None:
    """A postal code is never taken for a code of the Code officiel géographique."""
    one = identity(target(person=f"<birthplace><place><addr>{addr}</addr></place></birthplace>"))
    assert one.traits.birth_place == code
    assert one.patient["extension"][0]["valueAddress"].get("district") == district


def test_what_differs_from_the_record_is_named_without_its_value(level1: bytes) -> None:
    """PAT-8, then 904 by the caller."""
    one = read(level1).identity
    assert compare(one, one.patient) == []
    assert compare(one, {**one.patient, "gender": "male", "birthDate": "1977-07-15"}) == ["birth_date", "sex"]
    assert compare(one, {}) == ["birth_family", "first_given", "birth_date", "sex"]
