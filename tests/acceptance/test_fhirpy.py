"""fhirpy (PyPI), asynchronous and synchronous, drives the guarded server with a token of the médecin traitant."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

from tests.acceptance.records import GLUCOSE, LOINC, MARK, glucose, transaction
from tests.conftest import House


def sync(house: House, actor: str = "medecin_traitant", **headers: str) -> SyncFHIRClient:
    """A client that holds the token of that actor, and sends those headers with every request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SyncFHIRClient(house.base, authorization=f"Bearer {house.callers[actor].token}", extra_headers=named)


def asynchronous(house: House, actor: str = "medecin_traitant") -> AsyncFHIRClient:
    """The same, on asyncio."""
    return AsyncFHIRClient(house.base, authorization=f"Bearer {house.callers[actor].token}")


def wait(task: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end."""
    return asyncio.run(task)


def test_the_synchronous_client_writes_reads_changes_and_deletes(house: House) -> None:
    """create, read, update, history, delete: the resource is what the client believes it is."""
    client, patient = sync(house), house.cast["patient"]
    result = client.resource("Observation", **glucose(patient, 1, 91.5, "fhirpy-sync"))
    result.save()
    assert result.id
    assert result["meta"]["versionId"] == "1"
    again = client.reference("Observation", result.id).to_resource()
    assert again.serialize() == result.serialize()
    result["status"] = "amended"
    result.save()
    assert result["meta"]["versionId"] == "2"
    versions = client.execute(f"Observation/{result.id}/_history", method="get")
    assert [each["resource"]["status"] for each in versions["entry"]] == ["amended", "final"]
    result.delete()
    with pytest.raises(ResourceNotFound):
        client.reference("Observation", result.id).to_resource()


def test_the_asynchronous_client_pages_through_a_search_with_chain_and_include(house: House) -> None:
    """A transaction of 7; pages of 3 give each once; chain and include lead to the patient."""
    client, patient = asynchronous(house), house.cast["patient"]

    async def story() -> None:
        answer = await client.execute("", method="post", data=transaction(patient, "fhirpy-async", 7))
        assert [each["response"]["status"].split()[0] for each in answer["entry"]] == ["201"] * 7
        search = client.resources("Observation").search(patient=patient, identifier=f"{MARK}|fhirpy-async").sort("date")
        values = [each["valueQuantity"]["value"] async for each in search.limit(3)]
        assert values == [90, 91, 92, 93, 94, 95, 96]
        assert await search.count() == 7
        chained = search.search(subject__Patient__family="pat-trois", date__ge="2026-03-03").include(
            "Observation", "patient"
        )
        bundle = await chained.fetch_raw()
        matches = [each for each in bundle["entry"] if each["search"]["mode"] == "match"]
        included = [each for each in bundle["entry"] if each["search"]["mode"] == "include"]
        assert len(matches) == 5
        assert [f"Patient/{each['resource']['id']}" for each in included] == [patient]
        found = await search.search(
            code=f"{LOINC}|{GLUCOSE}", value_quantity="0.92|http://unitsofmeasure.org|g/L"
        ).first()
        assert found["valueQuantity"]["value"] == 92

    wait(story())


def test_an_update_of_a_version_that_is_gone_is_refused(house: House) -> None:
    """If-Match with the first version, after the second was written: 412, which fhirpy knows by another name."""
    first = sync(house).resource("Observation", **glucose(house.cast["patient"], 2, 95, "fhirpy-if-match"))
    first.save()
    client = sync(house, If_Match='W/"1"')
    client.resource("Observation", **first.serialize()).save()
    with pytest.raises(MultipleResourcesFound, match="OperationOutcome"):
        client.resource("Observation", **first.serialize()).save()
    assert sync(house).reference("Observation", first.id).to_resource()["meta"]["versionId"] == "2"


def test_conditional_create_and_update_by_the_client(house: House) -> None:
    """get_or_create sends a conditional POST, update a conditional PUT: one resource, two versions."""
    client, patient = asynchronous(house), house.cast["patient"]

    async def story() -> None:
        search = client.resources("Observation").search(patient=patient, identifier=f"{MARK}|fhirpy-conditional")
        first = client.resource("Observation", **glucose(patient, 3, 100, "fhirpy-conditional"))
        changed = client.resource("Observation", **glucose(patient, 3, 101, "fhirpy-conditional"))
        made, new = await search.update(first)
        assert new
        kept, new = await search.update(changed)
        assert not new
        assert (kept.id, kept["meta"]["versionId"]) == (made.id, "2")

    wait(story())


def test_everything_of_a_patient(house: House) -> None:
    """$everything through the client's execute: the patient first, and what was written about them."""
    client, patient = sync(house), house.cast["patient"]
    client.resource("Observation", **glucose(patient, 4, 97, "fhirpy-everything")).save()
    bundle = client.execute(f"{patient}/$everything", method="get")
    types = [each["resource"]["resourceType"] for each in bundle["entry"]]
    assert bundle["type"] == "searchset"
    assert types[0] == "Patient"
    assert "Observation" in types


def test_fhirpy_patch_is_no_patch_of_r4_and_changes_nothing(house: House) -> None:
    """fhirpy sends the changed members as application/json (a merge patch); R4 has JSON Patch, XML Patch and FHIRPath
    Patch (http.html#patch), each under its own media type: 415, said in FHIR."""
    client = sync(house)
    result = client.resource("Observation", **glucose(house.cast["patient"], 5, 98, "fhirpy-patch"))
    result.save()
    with pytest.raises(OperationOutcome):
        client.patch("Observation", result.id, status="amended")
    assert client.reference("Observation", result.id).to_resource()["meta"]["versionId"] == "1"


def test_what_the_patient_hides_the_clients_do_not_find(house: House) -> None:
    """A doctor outside the care team sees none of it through the same client: hidden is absent."""
    patient = house.cast["patient"]
    sync(house).resource("Observation", **glucose(patient, 6, 99, "fhirpy-hidden")).save()
    asked = {"patient": patient, "identifier": f"{MARK}|fhirpy-hidden"}
    outside = sync(house, "other_doctor").resources("Observation").search(**asked)
    inside = sync(house).resources("Observation").search(**asked)
    assert inside.count() == 1
    assert outside.count() == 0


def test_is_valid_asks_for_an_operation_that_is_not_built(house: House) -> None:
    """fhirpy's is_valid is POST [type]/$validate: 501, said in FHIR, until the operation is there."""
    result = sync(house).resource("Observation", **glucose(house.cast["patient"], 7, 99, "fhirpy-validate"))
    with pytest.raises(OperationOutcome, match="not-supported"):
        result.is_valid()
