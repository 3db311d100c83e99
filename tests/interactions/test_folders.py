"""Submission sets and folders: hidden entries are dropped on output, and one without a visible entry is not there
(access §3.1, L39)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from fhir_server.demo.family import consent
from fhir_server.errors import NotFound
from fhir_server.interactions.folders import as_asked
from fhir_server.search.predicate import Eq, RefersTo, conj
from tests.interactions.test_announcement import MASKED, Room, in_a_room, labelled

HIDDEN = "Titre qui ne se dit pas"
WAYS = {"care_team": 7, "medecin_traitant": 7, "patient": 7, "biologist": 6}


def folder(patient: str, *documents: str, code: str = "submissionset") -> dict[str, Any]:
    """An MHD List that names these documents, and tells of them in its narrative."""
    system = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
    return {
        "resourceType": "List",
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{HIDDEN}</div>'},
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": patient},
        "entry": [{"item": {"reference": each}} for each in documents],
    }


def test_only_criteria_that_find_folders_by_their_entries_are_added_to() -> None:
    """All others are the very same, so that nothing is made anew at each search."""
    plain = conj(Eq("rtype", "List"), RefersTo("subject", "Patient/p"))
    by_item = conj(plain, RefersTo("item", "DocumentReference/d"))
    assert as_asked(plain, ("List",)) is plain
    assert as_asked(by_item, ("Observation",)) == by_item
    assert as_asked(by_item, ("List",)) != by_item


async def shown(room: Room, who: str, url: str) -> list[list[str]]:
    """The entries of a folder as somebody gets them, by read, vread, search, include, history, everything."""
    id_, patient = url.partition("/")[2], room.cast["patient"]
    ways = [f"{url}/_history/1", f"List?patient={patient}&_id={id_}", f"List?_id={id_}", f"{url}/_history"]
    if who != "biologist":
        # Who only deposits does not see the Patient, so not everything of theirs.
        ways.append(f"{patient}/$everything?_count=500")
    ways.append(f"DocumentReference?patient={patient}&status=current&_revinclude=List:item&_count=100")
    found = [orjson.loads((await room.ask(who, "GET", url)).body)]
    for way in ways:
        said = orjson.loads((await room.ask(who, "GET", way)).body)
        resources = [each["resource"] for each in said["entry"]] if said["resourceType"] == "Bundle" else [said]
        found += [each for each in resources if each["resourceType"] == "List" and each["id"] == id_]
    assert len(found) == 1 + len(ways)
    assert all(("text" in each) == (len(each["entry"]) == 2) for each in found)
    return [[each["item"]["reference"] for each in one["entry"]] for one in found]


def test_hidden_entries_are_dropped_wherever_a_folder_leaves(tmp_path: Path) -> None:
    """With its narrative, which may name them; whole for those who see all of it; gone when all of it is hidden."""

    async def scene(room: Room) -> None:
        patient = room.cast["patient"]
        first, second = await room.push("biologist"), await room.push("biologist")
        made = await room.ask("biologist", "POST", "List", folder(patient, first, second))
        url = made.location.partition("/_history")[0]
        for who in ("care_team", "medecin_traitant", "patient", "biologist"):
            assert await shown(room, who, url) == [[first, second]] * WAYS[who]
        assert await labelled(room, "biologist", first, MASKED) == 200
        assert await shown(room, "care_team", url) == [[second]] * WAYS["care_team"]
        for who in ("medecin_traitant", "patient", "biologist"):
            assert await shown(room, who, url) == [[first, second]] * WAYS[who]
        data = [{"meaning": "instance", "reference": {"reference": second}}]
        mask = consent(patient, "mask", {"type": "deny", "data": data})
        assert await room.outcome("patient", "POST", "Consent", mask) == 201
        assert await room.outcome("care_team", "GET", url) is NotFound
        assert await room.outcome("care_team", "GET", f"{url}/_history/1") is NotFound
        assert await room.total("care_team", "List") == 0
        assert await shown(room, "medecin_traitant", url) == [[first, second]] * 7

    in_a_room(tmp_path, scene)


def test_deleting_what_was_hidden_brings_no_folder_to_light(tmp_path: Path) -> None:
    """I8: a folder of hidden entries alone stays hidden when they go."""

    async def scene(room: Room) -> None:
        hidden = await room.push("biologist", MASKED)
        made = await room.ask("biologist", "POST", "List", folder(room.cast["patient"], hidden, code="folder"))
        url = made.location.partition("/_history")[0]
        assert await room.outcome("care_team", "GET", url) is NotFound
        assert await room.outcome("biologist", "GET", url) == 200
        assert await room.outcome("biologist", "DELETE", hidden) == 204
        for who in ("care_team", "biologist", "patient"):
            assert await room.outcome(who, "GET", url) is NotFound

    in_a_room(tmp_path, scene)
