"""The fact tables agree with themselves and with the published sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from importers.tables import class_of, format_of, section_code_of, table

LOINC = "http://loinc.org"
TRE_A05 = "https://mos.esante.gouv.fr/NOS/TRE_A05-TypeDocComplementaire/FHIR/TRE-A05-TypeDocComplementaire"


@pytest.mark.parametrize(
    "name", ["code_systems", "document_classes", "ebrim", "entry_templates", "format_codes", "section_codes"]
)
def test_every_table_says_where_it_comes_from(name: str) -> None:
    """A source line each."""
    assert len(table(name)["source"]) > 40


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (LOINC, "11502-2", "10"),
        (LOINC, "11369-6", "52"),
        (LOINC, "60591-5", "11"),
        (LOINC, "57833-6", "42"),
        (TRE_A05, "SYNTH", "11"),
        (TRE_A05, "REMB", "60"),
        (TRE_A05, "FEUILLE-DE-STYLE", "99"),
        (LOINC, "SYNTH", None),
        (LOINC, "1-1", None),
        ("urn:oid:1.2.3", "11502-2", None),
    ],
)
def test_a_document_type_has_the_class_of_the_association_table(system: str, code: str, expected: str | None) -> None:
    """ASS_X04; a code counts under its own system only."""
    assert class_of(system, code) == expected


def test_no_document_type_has_two_classes_and_every_class_has_a_name() -> None:
    """One class a code."""
    content = table("document_classes")
    for classes in content["classes"].values():
        codes = [code for each in classes.values() for code in each]
        assert len(codes) == len(set(codes))
        assert set(classes) <= set(content["names"])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("1.2.250.1.213.1.1.1.37", "urn:asip:ci-sis:vac:2019"),
        ("1.2.250.1.213.1.1.1.5.4", "urn:ans:ci-sis:cse-mde:2023"),
        ("1.2.250.1.213.1.1.1.2.1.3", "urn:asip:ci-sis:dci:2009"),
        ("1.3.6.1.4.1.19376.1.3.3", "urn:ihe:lab:xd-lab:2008"),
        ("1.3.6.1.4.1.19376.1.8.1.1.2.7", "urn:ihe:palm:apsr:2016"),
        ("1.2.250.1.213.1.1.1.5", None),
        ("1.2.250.1.213.1.1.1.1", None),
    ],
)
def test_a_document_template_has_its_format(template: str, expected: str | None) -> None:
    """ASS_A11, and a whole branch of templates for pathology."""
    assert format_of(template) == expected


def test_every_format_has_a_system() -> None:
    """`urn:asip` and `urn:ans` are French, `urn:ihe` IHE's."""
    formats = table("format_codes")
    codes = [*formats["templates"].values(), *formats["mediaTypes"].values(), formats["otherwise"]]
    assert all(any(code.startswith(prefix) for prefix in formats["systems"]) for code in codes)


@pytest.mark.shared_data
def test_every_published_type_has_a_class_and_every_format_is_published(shared_data: Path) -> None:
    """JDV_J07, JDV_J06 and JDV_J10; the ASTM type stands for a signature and has none."""

    def rows(name: str) -> list[list[str]]:
        lines = (shared_data / "fr" / "codes" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        return [line.split("\t") for line in lines if not line.startswith("#")]

    assert [code for system, code, _ in rows("JDV_J07-XdsTypeCode") if class_of(system, code) is None] == ["E1762"]
    names = {code: name for system, code, name in rows("JDV_J06-XdsClassCode") if "TRE_A03" in system}
    assert table("document_classes")["names"] == names
    published = {code: system for system, code, _ in rows("JDV_J10-XdsFormatCode")}
    formats = table("format_codes")
    for code in {*formats["templates"].values(), *formats["mediaTypes"].values(), formats["otherwise"]}:
        assert published[code] == next(uri for prefix, uri in formats["systems"].items() if code.startswith(prefix))


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        (("1.3.6.1.4.1.19376.1.5.3.1.3.19", "1.2.250.1.213.1.1.2.143"), "10160-0"),
        (("1.2.250.1.213.1.1.2.75",), "8716-3"),
        (("1.2.250.1.213.1.1.2.70",), None),
        ((), None),
    ],
)
def test_a_section_template_prescribes_its_code(templates: tuple[str, ...], expected: str | None) -> None:
    """A chapter of laboratory results has the code of its chapter, which no table tells."""
    assert section_code_of(templates) == expected
