"""Labels are spelt right on the way in, and say what the server has found (COD-9, DOC-8)."""

from __future__ import annotations

from fhir_server.consent.labels import CONFIDENTIALITY, TRE_A07, canonical_labels, stated

MISSPELT = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument"


def test_misspelt_systems_are_put_right_and_nothing_else_is_touched() -> None:
    """N inside TRE_A07 is a confidentiality; text and display stay."""
    resource = {
        "resourceType": "DocumentReference",
        "meta": {"profile": ["p"], "security": [{"system": "1.2.250.1.213.1.1.4.13", "code": "MASQUE_PS"}]},
        "securityLabel": [
            {"coding": [{"system": MISSPELT, "code": "N", "display": "Normal"}], "text": "normal"},
            {"text": "free"},
        ],
    }
    assert canonical_labels(resource) == {
        "meta": {"profile": ["p"], "security": [{"system": TRE_A07, "code": "MASQUE_PS"}]},
        "securityLabel": [
            {"coding": [{"system": CONFIDENTIALITY, "code": "N", "display": "Normal"}], "text": "normal"},
            {"text": "free"},
        ],
    }


def test_a_resource_with_right_labels_or_none_does_not_change() -> None:
    """Its bytes are kept as they came."""
    assert canonical_labels({"resourceType": "Observation"}) == {}
    right = [{"coding": [{"system": TRE_A07, "code": "MASQUE_PS"}]}]
    assert canonical_labels({"resourceType": "DocumentReference", "securityLabel": right}, 1) == {}


def test_what_is_taken_over_from_a_replaced_document_is_said_in_the_new_one() -> None:
    """A document that is masked says so, in its own place or in meta.security."""
    added = canonical_labels({"resourceType": "DocumentReference", "securityLabel": []}, 5)
    assert [each["coding"][0]["code"] for each in added["securityLabel"]] == [
        "MASQUE_PS",
        "INVISIBLE_REPRESENTANTS_LEGAUX",
    ]
    added = canonical_labels({"resourceType": "Observation", "meta": {"profile": ["p"]}}, 1)
    assert added == {"meta": {"profile": ["p"], "security": [{"system": TRE_A07, "code": "MASQUE_PS"}]}}


def test_labels_of_other_systems_say_nothing_about_visibility() -> None:
    """HTEST and the like pass."""
    security = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}]
    assert stated({"resourceType": "Observation", "meta": {"security": security}}) == (0, frozenset())
