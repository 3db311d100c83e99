"""What Pro Santé Connect says of a professional becomes one caller for each activity, and no more than it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.auth.contexts import REGULATION
from fhir_server.auth.professionals import professionals
from fhir_server.consent import openings
from tests.auth.outside import exercice, professional


def test_one_exercice_with_one_activity_is_one_caller() -> None:
    """Profession, speciality, structure and sector are those of the exercice; the keys name person and structure."""
    (actor,) = professionals(professional(exercice(raisonSocialeSite="Cabinet des Tilleuls")))
    assert (actor.role, actor.name, actor.profession, actor.specialty) == ("ps", "Claire MARTIN", "10", "SM54")
    assert (actor.structure, actor.structure_name, actor.sector) == ("990000001", "Cabinet des Tilleuls", "SA07")
    assert actor.keys == {"rpps:99900000011", "org:990000001"}


def test_each_activity_of_each_exercice_is_a_candidate_of_its_own() -> None:
    """Three places of work are three callers, told apart by their structure."""
    second = exercice(profession="60", numeroFinessSite="990000002")
    second["activities"].append({"codeSecteurDactivite": "SA01", "numeroFinessSite": "990000003"})
    found = professionals(professional(exercice(), second))
    assert [(each.profession, each.structure) for each in found] == [
        ("10", "990000001"),
        ("60", "990000002"),
        ("60", "990000003"),
    ]


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"SubjectNameID": "899900000011"},
        professional(rpps="1"),
        professional(SubjectNameID="099900001", otherIds=[]),
        professional(SubjectNameID="899900000022"),
        professional(exercice(category="E")),
        professional(exercice(profession="")),
        {**professional(), "SubjectRefPro": {"exercices": [{**exercice(), "activities": []}]}},
        {**professional(), "SubjectRefPro": "médecin"},
    ],
    ids=[
        "nothing",
        "no exercice",
        "no RPPS number",
        "an ADELI number",
        "two numbers",
        "a student",
        "no profession",
        "no activity",
        "another shape",
    ],
)
def test_who_practises_nowhere_as_anybody_is_nobody(claims: dict[str, Any]) -> None:
    """No candidate: the login is refused."""
    assert professionals(claims) == ()


def test_the_number_may_stand_among_the_others() -> None:
    """As RPPS or as IdNat_PS."""
    for number in ("99900000011", "899900000011"):
        claims = professional(SubjectNameID="", otherIds=[{"identifiant": number, "origine": "RPPS"}])
        assert "rpps:99900000011" in professionals(claims)[0].keys


def test_a_structure_is_named_by_its_best_number() -> None:
    """FINESS of the site before SIRET; the IdNat_Struct is read; every number is a key."""
    (actor,) = professionals(professional(exercice(numeroSiretSite="12345678901234")))
    assert actor.structure == "990000001"
    assert {"org:990000001", "org:12345678901234"} <= actor.keys
    (actor,) = professionals(professional(exercice(numeroFinessSite="", ancienIdentifiantDeLaStructure="1990000002")))
    assert actor.structure == "990000002"
    (actor,) = professionals(
        professional(exercice(numeroFinessSite="", identifiantTechniqueDeLaStructure="R10100000198386"))
    )
    assert actor.keys == {"rpps:99900000011", "org:R10100000198386"}


@pytest.mark.parametrize(
    ("said", "may"), [("VRAI", True), (True, True), ("FAUX", False), (False, False), (None, False)]
)
def test_regulation_is_a_right_of_those_of_whom_it_is_said(said: object, may: bool | None) -> None:
    """Acces_Regulation_Medicale gives the key that Centre 15 asks for."""
    (actor,) = professionals(professional(Acces_Regulation_Medicale=said))
    assert (REGULATION in actor.keys) is bool(may)
    assert REGULATION == openings.REGULATION


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(professional())), json))
def test_whatever_is_sent_is_read_or_gives_nobody(claims: dict[str, Any]) -> None:
    """No shape of the claims is a fault; nobody without profession and number comes of any."""
    for actor in professionals({**professional(), **claims}):
        assert actor.profession
        assert any(key.startswith("rpps:") for key in actor.keys)
