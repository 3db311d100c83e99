"""The leak catalogue (spec access §8), as far as this version's interactions go: one test an id, over HTTP.

H is a masked document, Q another patient's, `never` an id that was never given. The caller is a care team doctor,
who reads everything else in the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.demo.family import consent, named
from tests.conftest import Caller, House, open_house
from tests.leaks import stores
from tests.record.test_import_document import numbered, send
from tests.scenarios.test_the_patient_decides import mask, pushed

NEVER = "00000000-0000-4000-8000-000000000000"
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


@dataclass
class Scene:
    """A record with a hidden document in it, and one who may not see it."""

    house: House
    doctor: Caller
    hidden: str
    content: str
    other: str
    visible: str

    @property
    def id(self) -> str:
        """The id of the hidden document."""
        return self.hidden.partition("/")[2]

    @property
    def search(self) -> str:
        """The search that the hidden document would be in."""
        return f"DocumentReference?patient={self.house.cast['patient']}&status=current,superseded"


@contextmanager
def opened(folder: Path, **chosen: Any) -> Iterator[Scene]:
    """H, Q and a document that stays visible."""
    for house in open_house(folder, **chosen):
        hidden = pushed(send(house.lgc, numbered(1)).json())
        visible = pushed(send(house.lgc, numbered(2)).json())
        content = house.patient.get(hidden).json()["content"][0]["attachment"]["url"]
        mask(house, hidden)
        other = house.lgc.post("Observation", {**OBSERVATION, "subject": {"reference": house.cast["child"]}})
        assert other.status_code == 201
        yield Scene(house, house.care_team, hidden, content, "Observation/" + other.json()["id"], visible)


@pytest.fixture(scope="module", params=stores.STORES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """On each store."""
    folder = tmp_path_factory.mktemp("leaks")
    with opened(folder, **stores.chosen(request.param, folder)) as scene:
        yield scene


def same(one: httpx.Response, other: httpx.Response) -> None:
    """Indistinguishable but for the request id."""
    assert one.status_code == other.status_code
    assert one.content == other.content
    keep = [(k, v) for k, v in one.headers.items() if k not in ("x-request-id", "date")]
    assert keep == [(k, v) for k, v in other.headers.items() if k not in ("x-request-id", "date")]


READS = {
    "L01": ("GET", "{}", {}),
    "L02": ("HEAD", "{}", {}),
    "L03": ("GET", "{}/_history/1", {}),
    "L04": ("GET", "{}/_history", {}),
    "L06": ("GET", "{}", {"If-None-Match": 'W/"1"'}),
    "L07": ("GET", "{}", {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    "L10": ("DELETE", "{}", {}),
    "L60": ("GET", "{}", {"Range": "bytes=0-10"}),
}


@pytest.mark.leak("L01", "L02", "L03", "L04", "L06", "L07", "L10", "L60")
@pytest.mark.parametrize("leak", READS)
def test_a_request_for_a_hidden_document_is_that_for_none(scene: Scene, leak: str) -> None:
    """L01 L02 L03 L04 L06 L07 L10 L60: status, headers and bytes of an id that never was."""
    method, url, headers = READS[leak]
    hidden = scene.doctor.request(method, url.format(scene.hidden), headers=dict(headers))
    never = scene.doctor.request(method, url.format("DocumentReference/" + NEVER), headers=dict(headers))
    same(hidden, never)
    assert hidden.status_code == 404


@pytest.mark.leak("L05")
def test_l05_a_deleted_hidden_document_is_not_gone_but_absent(scene: Scene) -> None:
    """L05: 410 is for those who could read it."""
    house = scene.house
    document = pushed(send(house.lgc, numbered(5)).json())
    mask(house, document)
    assert house.lgc.delete(document).status_code == 204
    same(scene.doctor.get(document), scene.doctor.get("DocumentReference/" + NEVER))
    assert house.patient.get(document).status_code == 410


@pytest.mark.leak("L08")
def test_l08_an_update_of_a_hidden_document_is_no_conflict(scene: Scene) -> None:
    """L08: 404, also with a wrong If-Match."""
    body = scene.house.patient.get(scene.hidden).json()
    for headers in ({}, {"If-Match": 'W/"9"'}):
        hidden = scene.doctor.put(scene.hidden, body, **headers)
        never = scene.doctor.put("DocumentReference/" + NEVER, {**body, "id": NEVER}, **headers)
        same(hidden, never)
        assert hidden.status_code == 404


@pytest.mark.leak("L11")
def test_l11_a_push_by_a_blocked_doctor_is_not_echoed(scene: Scene) -> None:
    """L11: stored, and nothing read back, by an echo or afterwards: a block holds for one's own deposits too."""
    house, patient = scene.house, scene.house.cast["patient"]
    rpps = {"identifier": {"system": "https://rpps.esante.gouv.fr", "value": "99900000055"}}
    block = house.patient.post("Consent", consent(patient, "block", {"type": "deny", "actor": named(rpps)}))
    assert block.status_code == 201
    try:
        own = {**OBSERVATION, "subject": {"reference": patient}}
        answer = house.regulator.post("Observation", own, Prefer="return=representation")
        assert answer.status_code == 201
        assert answer.content == b""
        place = answer.headers["location"].partition("/_history")[0].partition("/fhir/")[2]
        assert house.regulator.get(place).status_code == 404
        assert house.patient.get(place).status_code == 200
    finally:
        ended = {**block.json(), "status": "inactive"}
        assert house.patient.put("Consent/" + ended["id"], ended).status_code == 200
    assert house.regulator.get(place).status_code == 200


@pytest.mark.leak("L12", "L13")
def test_l12_l13_searches_do_not_hold_it(scene: Scene) -> None:
    """L12 L13: neither by type nor by its id."""
    found = scene.doctor.get(scene.search + "&_count=100").json()
    assert scene.id not in str(found)
    one, none = (scene.doctor.get(f"DocumentReference?_id={each}").json() for each in (scene.id, NEVER))
    assert one.get("entry") == none.get("entry") is None
    assert one["total"] == none["total"] == 0


@pytest.mark.leak("L15")
def test_l15_a_posted_search_is_the_same_search(scene: Scene) -> None:
    """L15: parameters in the body, the url, or both."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    in_url = scene.doctor.get(scene.search).json()
    posted = scene.doctor.request(
        "POST", "DocumentReference/_search", content=scene.search.partition("?")[2], headers=dict(form)
    ).json()
    both = scene.doctor.request(
        "POST",
        scene.search.replace("?", "/_search?"),
        content=f"_id={scene.id}",
        headers=dict(form),
    ).json()
    assert posted["total"] == in_url["total"]
    assert both["total"] == 0


@pytest.mark.leak("L16", "L17")
def test_l16_l17_totals_count_the_visible(scene: Scene) -> None:
    """L16 L17: one less than the patient's own count."""
    for query in ("&_total=accurate", "&_summary=count", "&_count=0"):
        seen, all_ = (
            caller.get(scene.search + query).json()["total"] for caller in (scene.doctor, scene.house.patient)
        )
        assert seen < all_
        assert seen == len(scene.doctor.get(scene.search + "&_count=100").json()["entry"])


@pytest.mark.leak("L18", "L19")
def test_l18_l19_hidden_documents_take_no_place_on_a_page(scene: Scene) -> None:
    """L18 L19: pages are full, and a next link means that something visible follows (I7)."""
    url: str | None = scene.search + "&_count=1"
    ids = []
    while url:
        page = scene.doctor.get(url).json()
        assert len(page["entry"]) == 1
        ids.append(page["entry"][0]["resource"]["id"])
        url = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)
    everything = scene.doctor.get(scene.search + "&_count=100").json()["entry"]
    assert ids == [each["resource"]["id"] for each in everything]


@pytest.mark.leak("L20")
def test_l20_a_page_link_is_its_callers_alone(scene: Scene) -> None:
    """L20: another caller's, or an altered one, is refused."""
    page = scene.doctor.get(scene.search + "&_count=1").json()
    url = next(each["url"] for each in page["link"] if each["relation"] == "next")
    assert scene.doctor.get(url).status_code == 200
    assert scene.house.nurse.get(url).status_code == 400
    assert scene.doctor.get(url[:-2] + ("AA" if url[-2:] != "AA" else "BB")).status_code == 400
    assert scene.doctor.get(url.replace("_count=1", "_count=2")).status_code == 400


@pytest.mark.leak("L22", "L23", "L28")
@pytest.mark.parametrize(
    ("leak", "criterion"),
    [
        ("L22", "_lastUpdated=ge2020-01-01"),
        ("L23", "type:missing=false"),
        ("L23", "status:not=superseded"),
        ("L28", "identifier=urn:oid:2.25.1"),
    ],
)
def test_criteria_find_what_is_visible_only(scene: Scene, leak: str, criterion: str) -> None:
    """L22 L23 L28: no criterion reaches a hidden row."""
    assert scene.id not in scene.doctor.get(f"{scene.search}&{criterion}&_count=100").text


@pytest.mark.leak("L27")
def test_l27_labels_of_hidden_documents_find_nothing(scene: Scene) -> None:
    """L27: `_security=MASQUE_PS`."""
    masked = send(scene.house.lgc, numbered(27), "?visibility=MASQUE_PS")
    assert masked.status_code in (200, 201)
    for query in ("_security=MASQUE_PS", "security-label=MASQUE_PS"):
        found = scene.doctor.get(f"{scene.search}&{query}")
        assert found.status_code == 200
        assert found.json().get("entry") is None
    # Who sees masked documents finds them so: the criterion is not blind.
    treating = scene.house.medecin_traitant.get(f"{scene.search}&security-label=MASQUE_PS").json()
    assert pushed(masked.json()) in {f"DocumentReference/{each['resource']['id']}" for each in treating["entry"]}


@pytest.mark.leak("L42")
def test_l42_an_entry_of_a_batch_is_a_request_like_another(scene: Scene) -> None:
    """L42: the entry for H is the entry for none."""
    for url in ("{}", "{}/_history"):
        entries = [
            {"request": {"method": "GET", "url": url.format(each)}}
            for each in (scene.hidden, "DocumentReference/" + NEVER)
        ]
        hidden, never = scene.doctor.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()[
            "entry"
        ]
        assert hidden == never


@pytest.mark.leak("L43", "L44")
def test_l43_l44_criteria_of_writes_do_not_find_it(scene: Scene) -> None:
    """L43 L44: a conditional reference fails as for none, a conditional create creates."""
    subject = {"reference": scene.house.cast["patient"]}
    base = {**OBSERVATION, "subject": subject}
    answers = [
        scene.doctor.post("Observation", {**base, "derivedFrom": [{"reference": f"DocumentReference?_id={each}"}]})
        for each in (scene.id, NEVER)
    ]
    same(*answers)
    assert answers[0].status_code == 412
    document = scene.house.patient.get(scene.hidden).json()
    copy = {name: part for name, part in document.items() if name in ("resourceType", "status", "type", "subject")}
    copy["content"] = [{"attachment": {"contentType": "text/plain", "data": "eA=="}}]
    criteria = f"patient={scene.house.cast['patient']}&identifier=urn:oid:2.25.1"
    assert scene.doctor.post("DocumentReference", copy, **{"If-None-Exist": criteria}).status_code == 201


@pytest.mark.leak("L56")
def test_l56_the_metadata_is_the_same_for_everyone(scene: Scene) -> None:
    """L56: no value in it depends on data or caller."""
    assert scene.doctor.get("metadata").content == scene.house.nobody.get("metadata").content


@pytest.mark.leak("L57", "L58")
def test_l57_l58_its_content_is_hidden_with_it(scene: Scene) -> None:
    """L57 L58: the Binary, by an address known from before."""
    for accept in ("application/fhir+json", "text/xml", "*/*"):
        same(scene.doctor.get(scene.content, Accept=accept), scene.doctor.get("Binary/" + NEVER, Accept=accept))


@pytest.mark.leak("L57")
def test_l57_pointing_to_it_does_not_open_it(scene: Scene) -> None:
    """A push is always allowed; one that names hidden content is refused as one that names nothing."""
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": scene.house.cast["patient"]},
    }
    answers = []
    for url in (scene.content, "Binary/" + NEVER):
        content = [{"attachment": {"contentType": "text/xml", "url": url}}]
        answers.append(scene.doctor.post("DocumentReference", {**document, "content": content}))
    same(*answers)
    assert answers[0].status_code == 422


@pytest.mark.leak("L57")
def test_l57_content_of_one_patient_is_not_filed_under_another(scene: Scene) -> None:
    """Not even by one who sees it."""
    content = scene.house.lgc.get(scene.visible).json()["content"][0]["attachment"]["url"]
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": scene.house.cast["child"]},
        "content": [{"attachment": {"contentType": "text/xml", "url": content}}],
    }
    assert scene.house.lgc.post("DocumentReference", document).status_code == 422


@pytest.mark.leak("L59")
def test_l59_uploading_known_content_looks_like_uploading_new(scene: Scene) -> None:
    """L59: the same answer, and another id."""
    kind = {"Content-Type": "text/plain"}
    first, second = (scene.doctor.post("Binary", b"known", **kind) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.headers["location"] != second.headers["location"]


@pytest.mark.leak("L62")
def test_l62_another_patients_resource_is_absent(scene: Scene) -> None:
    """L62: for the patient, an app and a doctor of no gate."""
    for caller in (scene.house.patient, scene.house.app, scene.house.medecin_traitant):
        same(caller.get(scene.other), caller.get("Observation/" + NEVER))


@pytest.mark.leak("L72")
def test_l72_professionals_read_no_log(scene: Scene) -> None:
    """L72: nothing of anyone's log, nor a line by its id."""
    line = scene.house.patient.get(f"AuditEvent?patient={scene.house.cast['patient']}&_count=1").json()["entry"][0]
    same(scene.doctor.get("AuditEvent/" + line["resource"]["id"]), scene.doctor.get("AuditEvent/" + NEVER))
    assert scene.doctor.get(f"AuditEvent?patient={scene.house.cast['patient']}").json().get("entry") is None


def test_a_push_cannot_lower_the_label_of_a_document(scene: Scene) -> None:
    """I17: writing again does not unmask."""
    document = pushed(send(scene.house.lgc, numbered(70), "?visibility=MASQUE_PS").json())
    body = scene.house.lgc.get(document).json()
    body["securityLabel"] = [each for each in body["securityLabel"] if each["coding"][0]["code"] == "N"]
    assert scene.house.lgc.put(document, body).status_code == 200
    assert scene.doctor.get(document).status_code == 404


def test_a_write_cannot_move_a_resource_to_another_record(scene: Scene) -> None:
    """I17."""
    body = scene.house.lgc.get(scene.other).json()
    body["subject"] = {"reference": scene.house.cast["patient"]}
    assert scene.house.lgc.put(scene.other, body).status_code == 422
