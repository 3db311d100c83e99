"""One spelling for everybody who can be named (PRO-3, access §3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.consent.keys import author_keys, key_of, keys_of, link_of, own_keys, person_keys

IDNPS, IDNST = "urn:oid:1.2.250.1.71.4.2.1", "urn:oid:1.2.250.1.71.4.2.2"


@pytest.mark.parametrize(
    ("system", "value", "key"),
    [
        ("https://rpps.esante.gouv.fr", "99900000011", "rpps:99900000011"),
        (IDNPS, "899900000011", "rpps:99900000011"),
        ("https://rpps.esante.gouv.fr", "9990000001", None),
        ("https://finess.esante.gouv.fr", "990000001", "org:990000001"),
        (IDNST, "1990000001", "org:990000001"),
        ("https://sirene.fr", "12345678900011", "org:12345678900011"),
        ("https://example.org/fhir-server/client", "demo-app", "client:demo-app"),
        ("urn:iso:std:iso:3166", "DE", "country:DE"),
        ("urn:other", "x", None),
        ("https://finess.esante.gouv.fr", "", None),
        (None, "x", None),
    ],
)
def test_an_identifier_is_one_key(system: str | None, value: str, key: str | None) -> None:
    """RPPS and IdNat_PS, FINESS and IdNat_Struct, compare equal."""
    assert key_of({"system": system, "value": value}) == key


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("Patient/1", "Patient/1"),
        ("Patient/1/_history/2", "Patient/1"),
        ("https://here.example/fhir/Patient/1", "Patient/1"),
        ("https://there.example/fhir/Patient/1", None),
        ("#1", None),
        ("urn:uuid:1", None),
        ("Patient?identifier=x", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_only_literal_references_to_this_server_are_links(text: Any, link: str | None) -> None:
    """A reference that leads elsewhere names nobody here."""
    assert link_of(text, "https://here.example/fhir") == link


def test_a_reference_names_by_link_and_by_identifier() -> None:
    """Both count."""
    reference = {"reference": "Practitioner/x", "identifier": {"system": IDNPS, "value": "899900000011"}}
    assert keys_of(reference) == {"Practitioner/x", "rpps:99900000011"}
    assert keys_of("Practitioner/x") == frozenset()


def test_the_person_is_told_from_those_they_belong_to() -> None:
    """A professional by number; without one by reference; a structure is own only where it counts as author."""
    keys = frozenset({"rpps:99900000011", "org:990000001", "Organization/o", "Practitioner/x"})
    doctor = Actor("ps", "Practitioner/x", "X", "j", keys)
    assert person_keys(doctor) == {"rpps:99900000011"}
    assert own_keys(doctor, by_structure=True) == {"rpps:99900000011", "org:990000001"}
    assert own_keys(doctor, by_structure=False) == {"rpps:99900000011"}
    assert author_keys(doctor) == {"rpps:99900000011", "org:990000001"}
    assert person_keys(Actor("ps", "Practitioner/x", "X", "j")) == {"Practitioner/x"}
    assert person_keys(Actor("open", "", "", "")) == frozenset()
