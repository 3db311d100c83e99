"""fhirclient (PyPI), the SMART Python client, drives the guarded server with a bearer token."""

from __future__ import annotations

from typing import Any

import pytest
from fhirclient.models.bundle import Bundle
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRServer
from requests import HTTPError

from tests.acceptance.records import MARK, glucose, transaction
from tests.conftest import House


def server(house: House) -> FHIRServer:
    """The server as fhirclient knows it. SMART launch is not asked for: the token is given to its session."""
    client = FHIRServer(None, base_uri=house.base)
    client.session.headers["Authorization"] = f"Bearer {house.medecin_traitant.token}"
    return client


@pytest.fixture
def smart(house: House) -> Any:
    """Closed at the end: its session holds a connection."""
    made = server(house)
    yield made
    made.session.close()


def test_the_capability_statement_is_one_that_its_models_accept(smart: FHIRServer) -> None:
    """fhirclient's classes refuse what is not R4: every member of the statement passes them."""
    statement = smart.capabilityStatement
    assert statement.fhirVersion == "4.0.1"
    types = {each.type for each in statement.rest[0].resource}
    assert {"Patient", "Observation", "DocumentReference"} <= types


def test_it_creates_reads_updates_and_deletes(smart: FHIRServer, house: House) -> None:
    """Through the classes of fhirclient, which check both what is sent and what comes back."""
    result = Observation(glucose(house.cast["patient"], 1, 91.5, "fhirclient"))
    created = result.create(smart)
    assert created["meta"]["versionId"] == "1"
    read = Observation.read(created["id"], smart)
    assert read.valueQuantity.value == 91.5
    read.status = "amended"
    assert read.update(smart)["meta"]["versionId"] == "2"
    read.delete(smart)
    with pytest.raises(HTTPError, match="410"):
        Observation.read(created["id"], smart)


def test_it_searches_with_chain_include_and_pages(smart: FHIRServer, house: House) -> None:
    """perform_resources_iter follows the next links to the end; include brings the patient."""
    bundle = Bundle(transaction(house.cast["patient"], "fhirclient-pages", 5))
    smart.post_json("", bundle.as_json())
    struct = {
        "patient": house.cast["patient"],
        "identifier": f"{MARK}|fhirclient-pages",
        "subject:Patient.name": "pat-trois",
        "_count": "2",
    }
    found = list(Observation.where(struct).perform_resources_iter(smart))
    assert sorted(each.valueQuantity.value for each in found) == [90, 91, 92, 93, 94]
    pages = Observation.where(struct | {"_include": "Observation:patient"}).perform_iter(smart)
    kinds = {type(each.resource) for page in pages for each in page.entry}
    assert kinds == {Observation, Patient}


def test_everything_and_history_are_bundles_of_its_models(smart: FHIRServer, house: House) -> None:
    """What the server answers to GET is read by the classes without complaint."""
    everything = Bundle.read_from(f"{house.cast['patient']}/$everything", smart)
    assert isinstance(everything.entry[0].resource, Patient)
    history = Bundle.read_from(f"{house.cast['patient']}/_history", smart)
    assert history.type == "history"
    assert history.entry[-1].resource.meta.versionId == "1"
