"""What the document or its envelope hides stays hidden, and what nobody understands is hidden from all."""

from __future__ import annotations

import pytest
from lxml import etree

from importers.cda.labels import CONFIDENTIALITY, MOST_RESTRICTIVE, VISIBILITY, security_labels
from importers.issues import Notes

HIDDEN = [(VISIBILITY, code) for code in MOST_RESTRICTIVE]


def labels(*said: tuple[str, str], visibility: tuple[str, ...] = ()) -> tuple[list[tuple[str, str]], list[str]]:
    """The (system, code) pairs of a document that says these (code, OID), and the codes of the notes."""
    notes = Notes()
    elements = [
        etree.fromstring(f'<confidentialityCode code="{code}" {f"""codeSystem="{oid}" """ if oid else ""}/>'.encode())
        for code, oid in said
    ]
    found = [coding for each in security_labels(elements, visibility, notes) for coding in each["coding"]]
    return [(each["system"], each["code"]) for each in found], [each.coding[1] for each in notes.issues if each.coding]


@pytest.mark.parametrize("code", "NRVULM")
def test_a_degree_of_confidentiality_is_itself(code: str) -> None:
    """The six codes of v3-Confidentiality, with or without their OID."""
    assert labels((code, "2.16.840.1.113883.5.25")) == ([(CONFIDENTIALITY, code)], [])
    assert labels((code, "")) == ([(CONFIDENTIALITY, code)], [])


def test_the_labels_are_the_union_of_document_and_envelope() -> None:
    """Each once; the alias of a code is the code; a degree under the wrong system gets the right one (COD-9)."""
    found, notes = labels(
        ("N", "2.16.840.1.113883.5.25"), visibility=("MASQUE_PS", "INVISIBLE_REP_LEGAUX", "MASQUE_PS")
    )
    assert found == [
        (CONFIDENTIALITY, "N"),
        (VISIBILITY, "MASQUE_PS"),
        (VISIBILITY, "INVISIBLE_REPRESENTANTS_LEGAUX"),
    ]
    assert notes == []
    assert labels(("N", "1.2.250.1.213.1.1.4.13"), ("INVISIBLE_PATIENT", "1.2.250.1.213.1.1.4.13"))[0] == [
        (CONFIDENTIALITY, "N"),
        (VISIBILITY, "INVISIBLE_PATIENT"),
    ]


@pytest.mark.parametrize("visibility", ["MASQUE", "masque_ps", "VISIBLE", " "])
def test_an_unknown_visibility_hides_the_document_from_all(visibility: str) -> None:
    """Rule 14: all three labels, and a warning."""
    found, notes = labels(("N", "2.16.840.1.113883.5.25"), visibility=(visibility,))
    assert found == [(CONFIDENTIALITY, "N"), *HIDDEN]
    assert notes == ["unknown-visibility"]


def test_an_unknown_confidentiality_of_the_document_hides_it_too() -> None:
    """Code D of older European documents, and a code of a foreign system, which is kept beside."""
    assert labels(("D", "2.16.840.1.113883.5.25")) == (HIDDEN, ["unknown-visibility"])
    found, notes = labels(("N", "1.2.3.4"))
    assert found == [*HIDDEN, ("urn:oid:1.2.3.4", "N")]
    assert notes == ["unknown-system", "unknown-visibility"]
    assert labels(("N", "YY")) == (HIDDEN, ["bad-oid", "unknown-visibility"])


def test_no_confidentiality_is_read_as_normal() -> None:
    """COD-10: N, which hides nothing; it is noted."""
    null = [etree.fromstring(b'<confidentialityCode nullFlavor="NI"/>')]
    assert security_labels(null, (), Notes()) == [{"coding": [{"system": CONFIDENTIALITY, "code": "N"}]}]
    assert labels() == ([(CONFIDENTIALITY, "N")], ["no-confidentiality"])
    assert labels(visibility=("MASQUE_PS",)) == ([(VISIBILITY, "MASQUE_PS")], [])
