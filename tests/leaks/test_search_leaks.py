"""The leak catalogue (spec access §8) on the ways of searching: one test an id, over HTTP.

A visible encounter V and a masked one H; A and B are visible observations of V and H, C a masked one of V, Q another
patient's. The caller is a care team doctor, who sees all of the record but H and C.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.demo.build import Cast, actors
from tests.conftest import Caller, House, open_house
from tests.leaks import stores
from tests.leaks.test_hidden_is_absent import NEVER, same
from tests.leaks.test_review_findings import made
from tests.scenarios.test_the_patient_decides import mask

V3 = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def observation(subject: str, code: str, **more: Any) -> dict[str, Any]:
    """An observation with a code, a value of 5 kg unless another is given, and a narrative that says the code."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": subject},
        "code": {"coding": [{"system": "urn:t", "code": code}], "text": code},
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">word{code}</div>'},
        "valueQuantity": {"value": 5, "unit": "kg"},
        **more,
    }


def encounter(subject: str) -> dict[str, Any]:
    """An encounter."""
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": V3, "code": "AMB"},
        "subject": {"reference": subject},
    }


@dataclass
class Scene:
    """Who asks, whose record, and what is in it."""

    house: House
    doctor: Caller
    patient: str
    v: str
    h: str
    a: str
    b: str
    c: str
    q: str

    def found(self, url: str, caller: Caller | None = None) -> list[str]:
        """What a search finds and includes, as "Type/id"."""
        answer = (caller or self.doctor).get(url)
        assert answer.status_code == 200, answer.text
        resources = [each["resource"] for each in answer.json().get("entry", ()) if each["search"]["mode"] != "outcome"]
        return [f"{each['resourceType']}/{each['id']}" for each in resources]


def guests(cast: Cast) -> Mapping[str, Actor]:
    """The patient, with tokens of less."""
    patient = actors(cast)["patient"]
    return {
        "observer": replace(patient, scopes=("patient/Observation.rs",)),
        "reader": replace(patient, scopes=("patient/*.r",)),
        "searcher": replace(patient, scopes=("patient/*.s",)),
        "partial": replace(patient, scopes=("patient/Encounter.rs", "patient/Observation.rs?code=urn:t|a")),
    }


@contextmanager
def opened(folder: Path, **chosen: Any) -> Iterator[Scene]:
    """V, H, A, B, C, Q."""
    for house in open_house(folder, guests, max_included=2, **chosen):
        patient, lab = house.cast["patient"], house.lgc
        v, h = (made(lab.post("Encounter", encounter(patient))) for _ in range(2))
        a = made(lab.post("Observation", observation(patient, "a", encounter={"reference": v})))
        b = made(lab.post("Observation", observation(patient, "b", encounter={"reference": h})))
        value = {"valueQuantity": {"value": 99, "unit": "kg"}}
        c = made(lab.post("Observation", observation(patient, "c", encounter={"reference": v}, **value)))
        q = made(lab.post("Observation", observation(house.cast["child"], "q")))
        mask(house, h)
        mask(house, c)
        yield Scene(house, house.care_team, patient, v, h, a, b, c, q)


@pytest.fixture(scope="module", params=stores.STORES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """On each store."""
    folder = tmp_path_factory.mktemp("searching")
    with opened(folder, **stores.chosen(request.param, folder)) as scene:
        yield scene


@pytest.mark.leak("L14", "L15")
def test_l14_a_search_of_several_types_is_a_search_like_another(scene: Scene) -> None:
    """L14 L15: `_type`, by GET and by POST; a professional names the patient, and what is hidden is not there."""
    url = f"?_type=Observation,Encounter&patient={scene.patient}&_count=100"
    found = scene.found(url)
    assert {scene.v, scene.a, scene.b} <= set(found)
    assert {scene.h, scene.c, scene.q}.isdisjoint(found)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = scene.doctor.request(
        "POST", "_search?_type=Observation,Encounter", content=f"patient={scene.patient}", headers=form
    )
    assert posted.json()["total"] == len(found)
    assert scene.doctor.get("?_type=Observation").status_code == 400
    assert scene.doctor.get("").status_code == 400
    everything = set(scene.found("?_count=500", scene.house.patient))
    assert {scene.h, scene.c} <= everything
    assert scene.q not in everything


@pytest.mark.leak("L38")
@pytest.mark.parametrize("hidden", ["h", "c", "q"])
def test_l38_compartments_hold_what_is_visible(scene: Scene, hidden: str) -> None:
    """L38: of the patient, of another patient, of encounters and people."""
    gone = getattr(scene, hidden)
    for path in ("Observation", "Encounter", "*"):
        assert gone not in scene.found(f"{scene.patient}/{path}?_count=200")
    assert {scene.a, scene.b, scene.v} <= set(scene.found(f"{scene.patient}/*?_count=200"))


@pytest.mark.leak("L38")
def test_l38_the_compartment_of_what_is_hidden_is_that_of_nothing(scene: Scene) -> None:
    """B lies in H's compartment; for who does not see H there is no such compartment."""
    assert scene.found(f"{scene.v}/Observation") == [scene.a]
    same_but_self = [scene.doctor.get(f"{each}/Observation").json() for each in (scene.h, f"Encounter/{NEVER}")]
    assert [(each["total"], each.get("entry")) for each in same_but_self] == [(0, None), (0, None)]
    assert scene.found(f"{scene.h}/Observation", scene.house.patient) == [scene.b]
    for url in (f"{scene.house.cast['child']}/Observation", f"Patient/{NEVER}/*"):
        assert scene.found(url) == []
    assert scene.doctor.get(f"{scene.doctor.reference}/Observation").status_code == 400
    assert scene.found(f"{scene.doctor.reference}/Observation?patient={scene.patient}") == []
    assert scene.doctor.get(f"Location/{NEVER}/Observation").status_code == 404


@pytest.mark.leak("L21")
@pytest.mark.parametrize("key", ["code", "-code", "date", "value-quantity,-_lastUpdated", "_id", "-encounter"])
def test_l21_the_order_is_that_of_the_visible(scene: Scene, key: str) -> None:
    """L21: the pages of one row each are the page of all, and C takes no place in it."""
    url = f"Observation?patient={scene.patient}&_sort={key}"
    everything = scene.found(f"{url}&_count=100")
    pages: list[str] = []
    at: str | None = f"{url}&_count=1"
    while at:
        answer = scene.doctor.get(at).json()
        assert len(answer["entry"]) == 1
        pages += [f"Observation/{each['resource']['id']}" for each in answer["entry"]]
        at = next((each["url"] for each in answer["link"] if each["relation"] == "next"), None)
    assert pages == everything
    assert scene.c not in pages


@pytest.mark.leak("L23", "L24", "L25", "L26", "L31")
@pytest.mark.parametrize(
    ("leak", "criterion", "found"),
    [
        ("L23", "code:missing=false", "ab"),
        ("L23", "code:not=urn:t|a", "b"),
        ("L24", '_filter=code eq "urn:t|c"', ""),
        ("L24", '_filter=value-quantity gt 50 or code eq "urn:t|a"', "a"),
        ("L25", "_text=wordc", ""),
        ("L25", "_text=worda", "a"),
        ("L25", "_content=wordc", ""),
        ("L31", "value-quantity=gt50", ""),
        ("L31", "combo-code-value-quantity=urn:t|c$gt50", ""),
        ("L26", "_elements=code&code=urn:t|c", ""),
        ("L26", "_summary=data&code=urn:t|c", ""),
    ],
)
def test_criteria_find_what_is_visible(scene: Scene, leak: str, criterion: str, found: str) -> None:
    """L23 L24 L25 L26 L31: no criterion reaches C."""
    url = f"Observation?patient={scene.patient}&_count=100&{criterion}".replace(" ", "%20").replace('"', "%22")
    ours = {getattr(scene, each) for each in "abchq"}
    assert ours & set(scene.found(url)) == {getattr(scene, each) for each in found}


@pytest.mark.leak("L29")
def test_l29_a_chain_into_a_patient_who_is_not_visible_finds_nothing(scene: Scene) -> None:
    """L29: a doctor without the gate sees an own deposit, and cannot guess the patient's name by it."""
    name = uuid4().hex
    own = made(scene.house.other_doctor.post("Observation", observation(scene.patient, name)))
    url = f"Observation?patient={scene.patient}&subject:Patient.family="
    assert scene.found(f"Observation?patient={scene.patient}&code={name}", scene.house.other_doctor) == [own]
    assert scene.found(url + "PAT-TROIS", scene.house.other_doctor) == []
    assert scene.found(url + "PAT-TROIS&_count=100") != []
    chained = f"Observation?patient={scene.patient}&encounter.status=finished"
    assert scene.a in scene.found(chained)
    assert scene.b not in scene.found(chained)


@pytest.mark.leak("L30", "L31", "L32")
def test_l30_l31_l32_reverse_chains_see_no_hidden_rows(scene: Scene) -> None:
    """L30 L31 L32: neither one `_has`, nor its bisection, nor two of them together."""
    url = f"Encounter?patient={scene.patient}&"
    assert scene.found(url + "_has:Observation:encounter:code=urn:t|a") == [scene.v]
    assert scene.found(url + "_has:Observation:encounter:code=urn:t|c") == []
    assert scene.found(url + "_has:Observation:encounter:value-quantity=gt50") == []
    both = "_has:Observation:encounter:code=urn:t|a&_has:Observation:encounter:code=urn:t|c"
    assert scene.found(url + both) == []
    assert scene.found(url + "_has:Observation:encounter:code=urn:t|c", scene.house.patient) == [scene.v]


@pytest.mark.leak("L33", "L34", "L35")
def test_l33_l34_l35_what_is_included_is_visible(scene: Scene) -> None:
    """L33 L34 L35: no hidden target, no hidden source, not by iteration, not by the wildcard, not across patients."""
    b = f"Observation?patient={scene.patient}&code=urn:t|b"
    for include in ("Observation:encounter", "Observation:encounter:Encounter", "*", "Observation:*"):
        found = scene.found(f"{b}&_include={include}")
        assert found[0] == scene.b
        assert scene.h not in found
        assert scene.h in scene.found(f"{b}&_include={include}", scene.house.patient)
    v = f"Encounter?patient={scene.patient}&_id={scene.v.partition('/')[2]}"
    for include in ("Observation:encounter", "Observation:*"):
        found = scene.found(f"{v}&_revinclude={include}")
        assert scene.c not in found
        assert scene.a in found
    around = f"{b}&_include=Observation:subject&_revinclude:iterate=Observation:subject&_include:iterate=*"
    assert {scene.h, scene.c, scene.q}.isdisjoint(scene.found(around))


@pytest.mark.leak("L36")
def test_l36_hidden_rows_take_nothing_of_the_budget(scene: Scene) -> None:
    """L36: two may be included; hidden observations made before do not take their places."""
    lab, v = scene.house.lgc, made(scene.house.lgc.post("Encounter", encounter(scene.patient)))
    for _ in range(4):
        mask(scene.house, made(lab.post("Observation", observation(scene.patient, "x", encounter={"reference": v}))))
    kept = [
        made(lab.post("Observation", observation(scene.patient, "y", encounter={"reference": v}))) for _ in range(2)
    ]
    url = f"Encounter?patient={scene.patient}&_id={v.partition('/')[2]}&_revinclude=Observation:encounter"
    answer = scene.doctor.get(url).json()
    assert scene.found(url) == [v, *kept]
    assert [each["search"]["mode"] for each in answer["entry"]] == ["match", "include", "include"]
    made(lab.post("Observation", observation(scene.patient, "y", encounter={"reference": v})))
    answer = scene.doctor.get(url).json()
    assert [each["search"]["mode"] for each in answer["entry"]] == ["match", "include", "include", "outcome"]
    assert answer["entry"][-1]["resource"]["issue"][0]["code"] == "too-costly"


@pytest.mark.leak("L37")
def test_l37_an_identifier_includes_nothing(scene: Scene) -> None:
    """L37: a logical reference is not resolved."""
    ins = {"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "277076322082910"}
    logical = observation(scene.patient, "i", performer=[{"identifier": ins}])
    url = made(scene.house.lgc.post("Observation", logical))
    one = f"Observation?patient={scene.patient}&_id={url.partition('/')[2]}&_include=Observation:performer"
    assert scene.found(one) == [url]


@pytest.mark.leak("L46")
def test_l46_everything_is_everything_visible(scene: Scene) -> None:
    """L46: and of what is not there, 404 as a read of it."""
    found = scene.found(f"{scene.patient}/$everything")
    assert found[0] == scene.patient
    assert {scene.v, scene.a, scene.b} <= set(found)
    assert {scene.h, scene.c, scene.q}.isdisjoint(found)
    assert {scene.h, scene.c} <= set(scene.found(f"{scene.patient}/$everything", scene.house.patient))
    for caller, patient in (
        (scene.house.other_doctor, scene.patient),
        (scene.house.patient, scene.house.cast["child"]),
    ):
        same(caller.get(f"{patient}/$everything"), caller.get(f"Patient/{NEVER}/$everything"))
        assert caller.get(f"{patient}/$everything").status_code == 404


@pytest.mark.leak("L46")
def test_l46_content_that_no_document_shows_is_not_beside_what_is_visible(scene: Scene) -> None:
    """L46: a visible resource may point to content that is its depositor's alone; `$everything` leaves it there."""
    lab = scene.house.lgc
    content = made(lab.request("POST", "Binary", content=b"x", headers={"Content-Type": "text/plain"}))
    pointing = made(lab.post("Observation", observation(scene.patient, "p", focus=[{"reference": content}])))
    found = scene.found(f"{scene.patient}/$everything")
    assert pointing in found
    assert content not in found


@pytest.mark.leak("L55")
def test_l55_histories_of_types_and_system_are_of_the_visible(scene: Scene) -> None:
    """L55: a professional, who cannot name a patient there, has what is nobody's; the patient has their own."""

    def told(url: str, caller: Caller) -> set[str]:
        entries = caller.get(url).json().get("entry", ())
        return {each["fullUrl"].split("/fhir/")[1] for each in entries}

    assert scene.doctor.get("Observation/_history").status_code == 400
    nobodys = told("_history?_count=500", scene.doctor)
    assert {each.partition("/")[0] for each in nobodys} == {"Practitioner", "PractitionerRole", "Organization"}
    gone = made(scene.house.lgc.post("Observation", observation(scene.house.cast["child"], "gone")))
    scene.house.lgc.delete(gone)
    own = told("_history?_count=500", scene.house.patient)
    assert {scene.h, scene.c, scene.a} <= own
    assert {scene.q, gone}.isdisjoint(own)
    assert {each.partition("/")[0] for each in own}.isdisjoint({"AuditEvent"})
    assert told("Observation/_history", scene.house.representative) == {scene.q, gone}


@pytest.mark.leak("L64")
def test_l64_reading_and_searching_are_rights_apart(scene: Scene) -> None:
    """L64: `.r` does not search, `.s` does not read."""
    house = scene.house
    for url in (
        "Observation",
        "?_type=Observation",
        f"{scene.patient}/Observation",
        "Observation/_history",
        "_history",
    ):
        assert house.reader.get(url).status_code == 403, url
        assert house.searcher.get(url).status_code == 200, url
    for url in (scene.a, f"{scene.a}/_history", f"{scene.patient}/$everything"):
        assert house.searcher.get(url).status_code == 403, url
        assert house.reader.get(url).status_code == 200, url


@pytest.mark.leak("L65")
def test_l65_a_scope_filters_what_is_included_and_chained(scene: Scene) -> None:
    """L65: what the token does not give is dropped from includes; a chain into it is refused, from the token alone."""
    a = f"Observation?_id={scene.a.partition('/')[2]}"
    observer, partial = scene.house.observer, scene.house.partial
    assert scene.found(f"{a}&_include=Observation:encounter", observer) == [scene.a]
    assert observer.get("Observation?encounter.status=finished").status_code == 403
    assert observer.get("Observation?_has:Provenance:target:_id=x").status_code == 403
    assert observer.get("?_type=Observation,Encounter").status_code == 403
    assert {each.partition("/")[0] for each in scene.found("?_count=500", observer)} == {"Observation"}
    v = f"Encounter?_id={scene.v.partition('/')[2]}"
    assert scene.found(f"{v}&_revinclude=Observation:encounter", partial) == [scene.v, scene.a]
    assert scene.found(f"{v}&_revinclude=Observation:encounter", scene.house.patient) == [scene.v, scene.a, scene.c]
    assert scene.found("Encounter?_has:Observation:encounter:code=urn:t|c", partial) == []
    assert {each.partition("/")[0] for each in scene.found("?_count=500", partial)} == {"Encounter", "Observation"}


def test_a_patient_is_named_by_an_identifier_as_by_an_id(scene: Scene) -> None:
    """`patient.identifier=`: what may be read of that record; of one that may not, or none, nothing."""
    ins = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"
    for name in ("patient.identifier", "subject:Patient.identifier"):
        found = scene.found(f"Observation?{name}={ins}&_count=100")
        assert {scene.a, scene.b} <= set(found)
        assert {scene.c, scene.q}.isdisjoint(found)
        assert scene.found(f"Observation?{name}={ins[:-1]}8") == []
        assert scene.found(f"Observation?{name}={ins}", scene.house.pharmacist) == []
        assert scene.doctor.get(f"Observation?{name}=279035121518989").status_code == 400
