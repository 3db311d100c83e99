"""The public French CDA examples: every one is stored, or refused for a reason the guides give."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.app import services
from fhir_server.context import Services
from fhir_server.record.incoming import Wanted, prepared
from fhir_server.record.migration import IMPORTER, Outcome, import_one
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE
from fhir_server.settings import Settings

CODES = {"900", "901", "902", "903", "904", "905", "906", "conflict"}


async def _alone(path: Path, folder: Path) -> tuple[Outcome, dict[str, int]]:
    """Import one document into an empty record, making its patient; how many resources are in it then."""
    async with services(Settings(store=f"sqlite:{folder / path.name}.db")) as parts:
        outcome = await import_one(parts, path, create_patient=True, mode="migration", dry_run=False)
        return outcome, await parts.store.system().counts()


@pytest.mark.shared_data
def test_each_document_alone_is_stored_whole_or_refused_with_a_code(shared_data: Path, tmp_path: Path) -> None:
    """No exception, and few refusals: 906 for identities that are wrong under a real INS, or for an id that is none.

    What is in the record is what the conversion made, resource for resource; every entry is accounted for.
    """

    async def all_() -> list[tuple[Outcome, dict[str, int]]]:
        return [await _alone(path, tmp_path) for path in sorted((shared_data / "cda" / "fr").rglob("*.xml"))]

    found = asyncio.run(all_())
    assert len(found) == 100
    refused = {each.path.name: each.codes for each, _ in found if each.refused}
    assert {code for codes in refused.values() for code in codes} <= {"906"}
    assert len(refused) <= 12
    for outcome, stored in found:
        if not outcome.refused:
            made = prepared(outcome.path.read_bytes(), None, Wanted(strict=False)).conversion
            assert stored == Counter(["Patient", *(each["resourceType"] for each in made.resources)]), outcome.path.name
            [report] = [each.report for each in outcome.documents]
            assert report
            entries = report.entries
            assert entries.total == entries.mapped + entries.narrative_only + entries.failed == len(report.outcomes)
            assert entries.failed == 0


@pytest.mark.shared_data
def test_the_whole_folder_into_one_record_mixes_nothing(shared_data: Path, tmp_path: Path) -> None:
    """Ids and versions that collide are refused with a code; a second run stores nothing new."""

    async def twice() -> tuple[list[Outcome], list[Outcome]]:
        async with services(Settings(store=f"sqlite:{tmp_path / 'record.db'}")) as parts:
            paths = sorted((shared_data / "cda" / "fr").rglob("*.xml"))
            runs = [
                [await import_one(parts, each, create_patient=True, mode="strict", dry_run=False) for each in paths]
                for _ in range(2)
            ]
            return runs[0], runs[1]

    first, second = asyncio.run(twice())
    assert {code for each in first if each.refused for code in each.codes} <= CODES
    stored = {each.path for each in first if not each.refused}
    assert len(stored) > 60
    assert {each.path for each in second if each.status == "unchanged"} >= stored


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Vague-2__RIS__transmission_initiale_cr_imagerie", "Vague-2__RIS__remplacement_cr_imagerie"),
        ("V2.0__ORU__Transmission-initiale-ORU__CR_Bio_CDA_Niv1_v1", "V2.0__ORU__Remplacement-ORU__CR_Bio_CDA_Niv1_v2"),
        ("V2.0__ORU__Transmission-initiale-ORU__CR_Bio_CDA_Niv3_v1", "V2.0__ORU__Remplacement-ORU__CR_Bio_CDA_Niv3_v2"),
    ],
)
def test_a_clean_chain_ends_with_its_newest_version_current(
    shared_data: Path, tmp_path: Path, first: str, second: str
) -> None:
    """The replaced document is superseded; the other order of the two gives the same record (in a migration)."""
    folder = shared_data / "cda" / "fr" / "hl7v2-exemples"

    async def chain(mode: str, *names: str) -> tuple[list[str], dict[str, str], dict[str, int]]:
        store = f"sqlite:{tmp_path / mode}.db"
        async with services(Settings(store=store, ins_policy="lenient")) as parts:
            outcomes = [
                await import_one(parts, folder / f"{name}.xml", create_patient=True, mode=mode, dry_run=False)
                for name in names
            ]
            documents = {each["masterIdentifier"]["value"]: each["status"] for each in await _documents(parts)}
            return [each.status for each in outcomes], documents, await parts.store.system().counts()

    statuses, documents, counts = asyncio.run(chain("strict", first, second))
    assert statuses == ["created", "superseding"]
    assert list(documents.values()) == ["superseded", "current"]
    backwards, same, again = asyncio.run(chain("migration", second, first))
    assert backwards == ["created", "superseded"]
    assert (same, again) == (documents, counts)


def _expected(shared_data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((shared_data / "cda" / "expected.json").read_text("utf-8"))["documents"]
    return found


@pytest.mark.shared_data
@pytest.mark.parametrize("rank", range(3))
def test_hand_checked_documents_give_the_expected_facts(shared_data: Path, tmp_path: Path, rank: int) -> None:
    """Patient, author, type, and the bytes."""
    expected = _expected(shared_data)[rank]
    path = shared_data / "cda" / expected["file"]

    async def stored() -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
        async with services(Settings(store=f"sqlite:{tmp_path / 'record.db'}")) as parts:
            outcome = await import_one(parts, path, create_patient=True, mode="strict", dry_run=False)
            assert outcome.status == "created"
            [document] = await _documents(parts)
            [patient] = await _all(parts, "Patient")
            return document, await _all(parts, "Binary"), patient

    document, binaries, patient = asyncio.run(stored())
    _check_document(document, expected["documentReference"])
    _check_author(document, expected["author"])
    assert document["subject"]["reference"] == f"Patient/{patient['id']}"
    facts = expected["patient"]
    assert (
        facts["ins"].items()
        <= next(each for each in patient["identifier"] if each["value"] == facts["ins"]["value"]).items()
    )
    official = next(each for each in patient["name"] if each["use"] == "official")
    assert (official["family"], official["given"]) == (facts["family_birth"], [facts["given_first"]])
    assert (patient["gender"], patient["birthDate"]) == (facts["gender"], facts["birthDate"])
    contents = [b64decode(each["data"]) for each in binaries]
    assert contents[0] == path.read_bytes()
    if "pdf" in expected:
        assert len(contents[1]) == expected["pdf"]["bytes"]
        assert hashlib.sha1(contents[1]).hexdigest() == expected["pdf"]["sha1_hex"]


def _check_document(document: dict[str, Any], expected: dict[str, Any]) -> None:
    assert document["masterIdentifier"]["value"] == expected["masterIdentifier"]
    assert document["identifier"][0]["value"] == expected["setId"]
    assert document["status"] == "current"
    assert expected["type"].items() <= document["type"]["coding"][0].items()
    attachment = document["content"][0]["attachment"]
    assert attachment["title"] == expected["title"]
    assert attachment["creation"] == expected["creation"]
    assert document["context"]["facilityType"]["coding"][0]["code"] == expected["facilityType"]
    assert document["context"]["practiceSetting"]["coding"][0]["code"] == expected["practiceSetting"]


def _check_author(document: dict[str, Any], expected: dict[str, Any]) -> None:
    contained = {f"#{each['id']}": each for each in document["contained"]}
    author = contained[document["author"][0]["reference"]]
    person = contained[author["practitioner"]["reference"]]
    identifiers = [(each["system"], each["value"]) for each in person["identifier"]]
    assert (expected["system"], expected["value"]) in identifiers
    assert person["name"][0]["family"] == expected["family"]


async def _documents(parts: Services) -> list[dict[str, Any]]:
    return await _all(parts, "DocumentReference")


async def _all(parts: Services, type_: str) -> list[dict[str, Any]]:
    """What the importer stored, as the store has it, in the order of creation."""
    assert IMPORTER.keys
    async with parts.store.snapshot() as snapshot:
        found = await snapshot.search(Plan((type_,), limit=100), visible=TRUE)
    return [orjson.loads(each.body) for each in found]
