"""fhirclient (PyPI), the SMART Python client, is let in by a patient: standalone launch, PKCE, refresh (SMART 2.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.documentreference import DocumentReference

from fhir_server.demo.people import REDIRECTS
from tests.conftest import House
from tests.portal.desk import Desk, open_desk


@pytest.fixture(scope="module")
def desk(house: House) -> Iterator[Desk]:
    """A house in which people log in."""
    made = open_desk(house)
    yield made
    for each in made.browsers:
        each.http.close()


@pytest.fixture
def smart(desk: Desk) -> Iterator[Any]:
    """The application, which knows the FHIR base and its own registration; nothing else."""
    client = FHIRClient(
        settings={
            "app_id": "demo-app",
            "api_base": desk.house.base,
            "redirect_uri": REDIRECTS[0],
            "scope": "openid fhirUser launch/patient offline_access patient/*.rs",
        }
    )
    yield client
    client.server.session.close()


def test_it_is_let_in_for_everything_and_reads_the_patient(smart: FHIRClient, desk: Desk) -> None:
    """It finds authorize and token by the CapabilityStatement, proves itself by PKCE, and gets the patient chosen."""
    assert not smart.ready
    browser = desk.browser()
    page = browser.open(smart.authorize_url)
    assert "Carnet de santé (démonstration)" in page.text
    browser.log_in("demo-patient", desk.passwords["demo-patient"])
    browser.press("Let it in", share="all", offline="yes", until="day")
    smart.handle_callback(browser.left_for)
    assert smart.ready
    assert smart.patient_id == desk.house.cast.id("patient")
    assert smart.patient.birthDate.isostring == "1979-03-28"
    found = list(DocumentReference.where({"patient": smart.patient_id}).perform_resources_iter(smart.server))
    assert found
    first = smart.server.auth.access_token
    smart.server.auth.expires_at = None
    assert smart.reauthorize()
    assert smart.server.auth.access_token != first
    assert smart.patient_id == desk.house.cast.id("patient")
    assert list(DocumentReference.where({"patient": smart.patient_id}).perform_resources_iter(smart.server))


def test_who_refuses_is_not_let_in(smart: FHIRClient, desk: Desk) -> None:
    """The client understands the error, and has nothing."""
    browser = desk.browser()
    browser.open(smart.authorize_url)
    browser.log_in("demo-patient", desk.passwords["demo-patient"])
    browser.press("Refuse")
    with pytest.raises(Exception, match=r"(?i)denied"):
        smart.handle_callback(browser.left_for)
    assert not smart.ready
