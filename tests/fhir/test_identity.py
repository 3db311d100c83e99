"""INS, professional and structure numbers, strict traits: the statements ID-1 to ID-6, PRO-3 and PAT-8."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir import identity
from fhir_server.fhir.identity import INS_NIA, INS_NIR, INS_NIR_DEMO, INS_NIR_TEST, Traits

GOOD = ("279035121518989", "277076322082910", "124018852493334", "185052A00401171", "285122B03300572")
WRONG_KEYS = {"123456789012345": "11", "276059205062865": "83"}

departments = st.one_of(st.from_regex(r"[0-9]{2}", fullmatch=True), st.sampled_from(["2A", "2B"]))
bodies = st.builds(
    lambda head, department, tail: head + department + tail,
    st.from_regex(r"[0-9]{5}", fullmatch=True),
    departments,
    st.from_regex(r"[0-9]{6}", fullmatch=True),
)
names = st.text(st.sampled_from("ÉéèÇŒœß'’-‐ ABCxyz"), min_size=1, max_size=20)


def patient(**changes: Any) -> dict[str, Any]:
    """A Patient in the French shape with all strict traits."""
    official = {
        "use": "official",
        "family": "D'ALEMBERT-PRÉVOST",
        "given": ["Marie-Noëlle"],
        "extension": [{"url": identity.BIRTH_GIVEN_NAMES, "valueString": "Marie-Noëlle Anne"}],
    }
    insee = {"url": identity.INSEE_CODE, "valueCoding": {"code": "63220"}}
    place = {"url": identity.BIRTH_PLACE, "valueAddress": {"extension": [insee]}}
    whole = {"extension": [place], "name": [official], "gender": "female", "birthDate": "1977-07-14"}
    return {"resourceType": "Patient", **whole, **changes}


@pytest.mark.parametrize("value", GOOD)
def test_the_good_vectors_have_no_fault(value: str) -> None:
    """ID-2: five right numbers, two of them Corsican."""
    assert identity.ins_faults(value) == ()
    assert identity.ins_key(value[:13]) == value[13:]


@pytest.mark.parametrize(("value", "key"), WRONG_KEYS.items())
def test_the_bad_vectors_have_a_wrong_key(value: str, key: str) -> None:
    """ID-2: two wrong keys, and what they should be."""
    assert "key" in identity.ins_faults(value)
    assert identity.ins_key(value[:13]) == key


def test_corsica_counts_as_19_and_18() -> None:
    """ID-1: 2A is read as 19 and 2B as 18 in the department alone."""
    assert identity.ins_key("185052A004011") == f"{97 - 1850519004011 % 97:02d}"
    assert identity.ins_key("285122B033005") == f"{97 - 2851218033005 % 97:02d}"


@given(bodies)
def test_the_key_of_any_body_makes_a_right_number(body: str) -> None:
    """ID-2: the computed key round-trips and lies between 01 and 97."""
    key = identity.ins_key(body)
    assert 1 <= int(key) <= 97
    assert "key" not in identity.ins_faults(body + key)
    assert "shape" not in identity.ins_faults(body + key)


@given(bodies, st.integers(0, 14), st.sampled_from("0123456789"))
def test_any_single_digit_changed_is_detected(body: str, position: int, digit: str) -> None:
    """ID-2: 97 is prime and divides neither a difference of digits nor a power of ten, Corsica included."""
    right = body + identity.ins_key(body)
    changed = right[:position] + digit + right[position + 1 :]
    if changed != right:
        assert identity.ins_faults(changed)
        assert {"shape", "key"} & set(identity.ins_faults(changed))


@given(bodies, st.integers(0, 11))
def test_two_neighbours_swapped_are_detected(body: str, position: int) -> None:
    """A transposition changes the number by nine times a difference of digits times a power of ten."""
    right = body + identity.ins_key(body)
    pair = right[position : position + 2]
    changed = right[:position] + pair[::-1] + right[position + 2 :]
    if changed != right:
        assert {"shape", "key"} & set(identity.ins_faults(changed))


def test_the_key_does_not_tell_2a_from_19() -> None:
    """The limit of ID-1: the two departments are one number, and so are 2B and 18."""
    assert identity.ins_key("1850519004011") == identity.ins_key("185052A004011")
    assert identity.ins_key("2851218033005") == identity.ins_key("285122B033005")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "27903512151898",
        "2790351215189890",
        "2790351215189A9",
        "27903512151898 ",
        "279032a21518989",
        "A79035121518989",
    ],
)
def test_what_is_not_15_characters_of_the_right_kind_has_no_shape(value: str) -> None:
    """ID-1: letters elsewhere, small letters, blanks and other lengths."""
    assert identity.ins_faults(value) == ("shape",)


@pytest.mark.parametrize(
    "body", ["", "279035121518", "27903512151898", "279032a215189", "27903 1215189", "2790351215 89"]
)
def test_a_key_is_computed_for_13_characters_only(body: str) -> None:
    """ID-1."""
    with pytest.raises(ValueError, match="13 characters"):
        identity.ins_key(body)


def test_arabic_indic_digits_are_not_digits() -> None:
    """Only ASCII digits make an INS."""
    assert identity.ins_faults("٢٧٩٠٣٥١٢١٥١٨٩٨٩") == ("shape",)


@pytest.mark.parametrize("body", ["3790351215189", "2791351215189", "2794351215189", "2790300215189", "2790351215000"])
def test_an_impossible_structure_is_a_fault_of_its_own(body: str) -> None:
    """ID-3: sex 3, months 13 and 43, department 00, order 000."""
    assert identity.ins_faults(body + identity.ins_key(body)) == ("structure",)


@pytest.mark.parametrize("body", ["7790351215189", "8792051215189", "2794251215189", "2795051215189", "2790399215189"])
def test_provisional_numbers_and_pseudo_months_are_accepted(body: str) -> None:
    """ID-3: sexes 7 and 8, months 20 to 42 and 50 to 99, births abroad."""
    assert identity.ins_faults(body + identity.ins_key(body)) == ()


@pytest.mark.parametrize("system", [INS_NIR, INS_NIA])
def test_a_wrong_key_is_an_error_for_a_real_person_in_strict_mode(system: str) -> None:
    """ID-4: an error under .8 and .9, naming the identifier, without the number in its text."""
    (issue,) = identity.judge_ins(system, "276059205062865", expression="Patient.identifier[0]")
    assert (issue.severity, issue.code, issue.expression) == ("error", "value", "Patient.identifier[0]")
    assert "276059205062865" not in issue.text


@pytest.mark.parametrize("system", [INS_NIR_TEST, INS_NIR_DEMO])
def test_a_wrong_key_is_a_warning_for_nobody(system: str) -> None:
    """ID-4: a warning under .10 and .11 in both modes."""
    for strict in (True, False):
        (issue,) = identity.judge_ins(system, "276059205062865", strict=strict)
        assert issue.severity == "warning"


def test_lenient_forgives_blanks_and_small_letters_and_warns_of_the_rest() -> None:
    """ID-1 and ID-4."""
    assert identity.judge_ins(INS_NIR, "1 85 05 2a 004 011 71", strict=False) == ()
    assert [issue.severity for issue in identity.judge_ins(INS_NIR, "12", strict=False)] == ["warning"]
    assert [issue.severity for issue in identity.judge_ins(INS_NIR, "1 85 05 2a 004 011 71")] == ["error"]
    assert [issue.severity for issue in identity.judge_ins(INS_NIR_TEST, "12")] == ["error"]


def test_a_patient_identifier_has_its_french_type_and_use() -> None:
    """Domain §1: type code and use by system; an unknown system has neither."""
    typed = identity.patient_identifier(INS_NIA, GOOD[0])
    assert (typed["use"], typed["type"]["coding"][0]["code"]) == ("temp", "INS-NIA")
    assert identity.patient_identifier("urn:oid:1.2.3", "7") == {"system": "urn:oid:1.2.3", "value": "7"}


@pytest.mark.parametrize(
    ("value", "system", "number"),
    [
        ("810000000012", identity.RPPS, "10000000012"),
        ("0750000001", identity.ADELI, "750000001"),
    ],
)
def test_a_national_professional_number_is_split_and_kept(value: str, system: str, number: str) -> None:
    """Domain §1: the raw IdNat_PS stays, RPPS or ADELI stand beside it; no Luhn test (ID-5)."""
    raw, own = identity.professional_identifiers(value)
    assert (raw["system"], raw["value"], raw["use"]) == (identity.IDNPS, value, "official")
    assert (own["system"], own["value"]) == (system, number)


@pytest.mark.parametrize("value", ["3630000008/12", "81000000001", "8100000000123", "", "X", "6100000000/1"])
def test_other_professional_numbers_are_kept_raw(value: str) -> None:
    """Forms with a slash, and wrong lengths, are not split."""
    (raw,) = identity.professional_identifiers(value)
    assert raw["value"] == value


@pytest.mark.parametrize(
    ("value", "system", "code"),
    [
        ("1630000008", identity.FINESS, None),
        ("12A0000008", identity.FINESS, None),
        ("2123456782", identity.SIRENE, "SIREN"),
        ("312345678200012", identity.SIRENE, "SIRET"),
        ("0750000001", "https://adelirang.esante.gouv.fr", "INTRN"),
        ("41000000001201", "https://rppsrang.esante.gouv.fr", "INTRN"),
    ],
)
def test_a_national_structure_number_is_split_and_kept(value: str, system: str, code: str | None) -> None:
    """Domain §1: SIREN and SIRET share a system and differ by type; a FINESS does not say which kind it is."""
    raw, own = identity.structure_identifiers(value)
    assert raw["value"] == value
    assert (own["system"], own["value"]) == (system, value[1:])
    assert own.get("type", {}).get("coding", [{}])[0].get("code") == code


def test_a_structure_number_of_a_wrong_length_is_kept_raw() -> None:
    """`101238887`: prefix 1 and eight digits."""
    assert len(identity.structure_identifiers("101238887")) == 1


def test_rpps_and_its_national_form_compare_equal() -> None:
    """PRO-3."""
    national = {"system": identity.IDNPS, "value": "810000000012"}
    assert identity.rpps_of(national) == identity.rpps_of({"system": identity.RPPS, "value": "10000000012"})
    assert identity.rpps_of({"system": identity.IDNPS, "value": "0750000001"}) is None
    assert identity.rpps_of({"system": "urn:oid:1.2", "value": "10000000012"}) is None
    assert identity.rpps_of({}) is None


def test_the_traits_of_a_french_patient() -> None:
    """PAT-8: the five strict traits and the first of the names."""
    assert identity.traits_of(patient()) == Traits(
        "D'ALEMBERT-PRÉVOST", "Marie-Noëlle Anne", "Marie-Noëlle", "1977-07-14", "female", "63220"
    )
    assert identity.traits_of({}) == Traits()
    assert identity.traits_of({}).missing() == ("birth_family", "first_given", "birth_date", "sex")


def test_the_first_name_is_derived_from_the_list() -> None:
    """PAT-8: without a given name of its own, the first of the list."""
    listed = {"use": "official", "family": "A", "extension": patient()["name"][0]["extension"]}
    assert identity.traits_of({"name": [listed]}).first_given == "Marie-Noëlle"
    several = identity.traits_of({"name": [{"use": "official", "given": ["Jean", "Luc"]}]})
    assert (several.first_given, several.given_names) == ("Jean", "Jean Luc")


def test_names_are_compared_without_case_accents_and_marks() -> None:
    """PAT-8."""
    assert identity.normal_name("d’Alembert‐Prévost") == "D ALEMBERT PREVOST"
    assert identity.normal_name("  Œuvrard  née ") == "OEUVRARD NEE"
    plain = patient(name=[{"use": "official", "family": "d alembert prevost", "given": ["MARIE NOELLE"]}])
    assert identity.differing_traits(identity.traits_of(patient()), identity.traits_of(plain)) == []


@given(names)
def test_a_normal_name_is_normal(name: str) -> None:
    """Normalising twice changes nothing, and case never matters."""
    assert identity.normal_name(identity.normal_name(name)) == identity.normal_name(name)
    assert identity.normal_name(name.lower()) == identity.normal_name(name.upper())


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"birthDate": "1977-07-15"}, ["birth_date"]),
        ({"birthDate": "1977"}, ["birth_date"]),
        ({"gender": "male"}, ["sex"]),
        ({"extension": []}, []),
        ({"name": [{"use": "usual", "family": "VERNET", "given": ["X"]}]}, ["birth_family", "first_given"]),
        ({"birthDate": None}, ["birth_date"]),
    ],
)
def test_each_trait_that_differs_is_named(changes: dict[str, Any], differing: list[str]) -> None:
    """A required trait one side lacks differs; an unknown birth place does not."""
    one, other = identity.traits_of(patient()), identity.traits_of(patient(**changes))
    assert identity.differing_traits(one, other) == differing
    assert identity.differing_traits(other, one) == differing


def test_a_list_of_names_agrees_with_one_that_goes_on() -> None:
    """`Marie-Noëlle` and `Marie-Noëlle Anne` agree, `Marie-Noëlle Lise` does not."""
    one = Traits("A", "Marie-Noëlle Anne", "Marie-Noëlle", "1977-07-14", "female")
    shorter = Traits("A", "MARIE NOELLE", "Marie-Noëlle", "1977-07-14", "female")
    other = Traits("A", "Marie-Noëlle Lise", "Marie-Noëlle", "1977-07-14", "female")
    assert identity.differing_traits(one, shorter) == identity.differing_traits(shorter, one) == []
    assert identity.differing_traits(one, other) == ["given_names"]


def test_a_sex_not_determined_has_two_names_in_r4() -> None:
    """`other` and `unknown` do not differ; both differ from a known sex."""
    one, other = Traits("A", None, "B", "1977", "other"), Traits("A", None, "B", "1977", "unknown")
    assert identity.differing_traits(one, other) == []
    assert identity.differing_traits(one, Traits("A", None, "B", "1977", "male")) == ["sex"]
