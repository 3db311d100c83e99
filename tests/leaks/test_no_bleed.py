"""I2, I7, I9, I18: what a caller is given is theirs, however it is asked for, and whoever asks at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Caller
from tests.leaks.test_review_findings import document, made
from tests.leaks.test_search_leaks import Scene, observation, opened
from tests.scenarios.test_the_patient_decides import mask

WHO = ("care_team", "medecin_traitant", "patient", "app", "nurse", "pharmacist", "other_doctor", "mother", "lgc")
TYPES = ("Observation", "Encounter", "DocumentReference", "Patient")
CHAINS = (
    "encounter.status=finished",
    "subject:Patient.gender=female",
    "_has:Provenance:target:recorded=gt2000",
    "encounter._has:Observation:encounter:code=urn:t|c",
    "_has:Observation:encounter:code=urn:t|c",
    "_has:Observation:encounter:value-quantity=gt50",
    "_has:Encounter:patient:_has:Observation:encounter:code=urn:t|c",
    "relatesto:DocumentReference.status=current",
)
INCLUDES = ("_include=*", "_revinclude=Observation:encounter", "_revinclude=Provenance:target", "_include:iterate=*")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The record of the searches, with more to page through: every third document masked."""
    folder: Path = tmp_path_factory.mktemp("bleed")
    with opened(folder) as scene:
        for number in range(9):
            place = made(scene.house.lgc.post("DocumentReference", document(scene.patient)))
            made(scene.house.lgc.post("Observation", observation(scene.patient, f"n{number}")))
            if number % 3 == 0:
                mask(scene.house, place)
        yield scene


def asked(scene: Scene, type_: str, *more: str) -> str:
    """A search that everybody may ask."""
    whose = f"_id={scene.patient.partition('/')[2]}" if type_ == "Patient" else f"patient={scene.patient}"
    status = ["status=current,superseded"] if type_ == "DocumentReference" else []
    return f"{type_}?{'&'.join([whose, *status, *more])}"


def shown(answer: httpx.Response) -> list[str]:
    """The resources of a Bundle, as "Type/id"."""
    found = [each["resource"] for each in answer.json().get("entry", ())]
    return [f"{each['resourceType']}/{each['id']}" for each in found if each["resourceType"] != "OperationOutcome"]


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    who=st.sampled_from(WHO),
    type_=st.sampled_from(TYPES),
    more=st.lists(st.sampled_from((*CHAINS, *INCLUDES)), max_size=3, unique=True),
)
def test_what_is_seen_is_what_a_read_shows(scene: Scene, who: str, type_: str, more: list[str]) -> None:
    """I2, I9: by whatever criteria and includes it came, each resource is one that this caller reads; and of no other
    record."""
    caller: Caller = scene.house.callers[who]
    answer = caller.get(asked(scene, type_, *more))
    assert answer.status_code in (200, 400, 403), answer.text
    found = shown(answer) if answer.status_code == 200 else []
    assert all(caller.get(each).status_code == 200 for each in found)
    assert {scene.q, scene.house.cast["child"]}.isdisjoint(found)
    if who == "care_team":
        assert {scene.h, scene.c}.isdisjoint(found)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    who=st.sampled_from(("care_team", "patient", "nurse", "lgc")),
    type_=st.sampled_from(("Observation", "DocumentReference")),
    size=st.integers(1, 7),
    sort=st.sampled_from(("", "&_sort=-_lastUpdated", "&_sort=_id", "&_sort=-status,_id", "&_sort=date")),
)
def test_pages_of_any_size_are_the_visible_set(scene: Scene, who: str, type_: str, size: int, sort: str) -> None:
    """I7: full pages, in the order of the whole, that concatenate to it; and the total is their number."""
    caller: Caller = scene.house.callers[who]
    url = asked(scene, type_) + sort
    whole = caller.get(f"{url}&_count=500&_total=accurate")
    pages: list[list[str]] = []
    at: str | None = f"{url}&_count={size}"
    while at:
        page = caller.get(at)
        assert page.status_code == 200, page.text
        pages.append(shown(page))
        at = next((each["url"] for each in page.json()["link"] if each["relation"] == "next"), None)
    assert [each for page in pages for each in page] == shown(whole)
    assert all(len(page) == size for page in pages[:-1])
    assert whole.json()["total"] == len(shown(whole))


def test_callers_at_once_get_what_they_get_alone(scene: Scene) -> None:
    """I18: the same requests of many callers, in every order at once, over connections that they share."""
    urls = [
        asked(scene, "Observation", "_count=3", "_sort=code"),
        asked(scene, "DocumentReference", "_total=accurate"),
        asked(scene, "Encounter", "_revinclude=Observation:encounter", "_include=*"),
        f"{scene.patient}/$everything",
        f"{scene.patient}/$access-log?_count=1",
        scene.patient,
        scene.h,
        scene.c,
        f"{scene.c}/_history",
        "_history?_count=5",
    ]
    turns: list[tuple[str, str]] = [(who, url) for who in WHO for url in urls]

    def said(http: httpx.Client, turn: tuple[str, str]) -> tuple[int, Any]:
        who, url = turn
        answer = Caller(http, scene.house.callers[who].token, who).get(url)
        # The log grows by this very request.
        return answer.status_code, None if "access-log" in url else answer.content

    with httpx.Client(base_url=scene.house.base + "/", timeout=60) as http:
        alone = {turn: said(http, turn) for turn in turns}
        shuffled = [turns[(place * 37) % len(turns)] for place in range(len(turns))]
        with ThreadPoolExecutor(16) as threads:
            for order in (turns, shuffled, shuffled[::-1]):
                together = list(threads.map(lambda turn: said(http, turn), order))
                assert dict(zip(order, together, strict=True)) == alone
    assert len({content for (_, url), (_, content) in alone.items() if url == urls[0]}) >= 4
