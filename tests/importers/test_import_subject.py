"""Whose a document is by its metadata: written and read back, the identity is the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir import identity as identities
from fhir_server.fhir.identity import differing_traits, traits_of
from importers.metadata import DocumentEntry, Identifier
from importers.subject import identity_of, source_patient_info

NAMES = st.text(st.characters(categories=("Lu", "Ll"), include_characters="'-^&| "), min_size=1, max_size=20).filter(
    lambda name: name.strip() == name and name.strip("^&| '-")
)


@given(family=NAMES, first=NAMES, more=st.lists(NAMES, max_size=2), place=st.sampled_from(["", "51215", "2A004"]))
def test_an_identity_survives_its_way_through_the_metadata(
    family: str, first: str, more: list[str], place: str
) -> None:
    """Names with separators of HL7 v2 in them, lists of given names, the commune of birth."""
    listed = " ".join((first, *more))
    name = {"use": "official", "family": family, "given": [first]}
    name["extension"] = [{"url": identities.BIRTH_GIVEN_NAMES, "valueString": listed}]
    patient = {"resourceType": "Patient", "name": [name], "gender": "female", "birthDate": "1979-03-28"}
    patient["identifier"] = [{"system": identities.INS_NIR_TEST, "value": "279035121518989"}]
    if place:
        insee = {"url": identities.INSEE_CODE, "valueCoding": {"system": "urn:x", "code": place}}
        patient["extension"] = [{"url": identities.BIRTH_PLACE, "valueAddress": {"extension": [insee]}}]
    ins = Identifier("279035121518989", "1.2.250.1.213.1.4.10", "NH")
    found = identity_of(DocumentEntry("e", patient_id=ins, source_patient_info=source_patient_info(patient)))
    assert found.ins == ((identities.INS_NIR_TEST, "279035121518989"),)
    assert differing_traits(found.traits, traits_of(patient)) == []
    assert found.traits.birth_place == (place or None)


@pytest.mark.parametrize(
    ("values", "family", "first"),
    [
        (("PID-5|DURAND^MARIE^^^^^D", "PID-5|MARTIN^MARIE^^^^^L"), "MARTIN", "MARIE"),
        (("PID-5|DURAND^MARIE^^^^^D~MARTIN^MARIE^^^^^L",), "MARTIN", "MARIE"),
        (("PID-5|MARTIN^MARIE",), "MARTIN", "MARIE"),
    ],
)
def test_the_legal_name_is_the_one_of_birth(values: tuple[str, ...], family: str, first: str) -> None:
    """Type L before others; a name without a type stands for it."""
    found = identity_of(DocumentEntry("e", source_patient_info=values)).traits
    assert (found.birth_family, found.first_given) == (family, first)


def test_what_is_not_said_is_not_made_up() -> None:
    """A birth date that is none, a sex that is none, an identifier without authority."""
    entry = DocumentEntry("e", patient_id=Identifier("1"), source_patient_info=("PID-7|1979", "PID-8|X", "nonsense"))
    found = identity_of(entry)
    assert (found.ins, found.other_ids, found.traits.birth_date, found.traits.sex) == ((), (), None, None)
