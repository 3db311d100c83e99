"""The leak catalogue (spec access §8) on writes, on what carries other resources, and on operations: one test an id.

H is a masked document, `never` an id that was never given; the caller is a care team doctor, who sees all else.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from fhir_server.auth.tokens import issue, revoke
from fhir_server.demo.build import DAY, actors
from tests.conftest import Caller
from tests.interactions.test_folders import folder
from tests.leaks import stores, test_hidden_is_absent
from tests.leaks.test_hidden_is_absent import NEVER, OBSERVATION, Scene, same
from tests.leaks.test_review_findings import document, made
from tests.oauth import office
from tests.scenarios.test_the_patient_decides import CDA, mask

TITLE = "Titre qui ne se dit pas"
PATCH = {
    "json": ("application/json-patch+json", b'[{"op": "test", "path": "/status", "value": "%s"}]'),
    "xml": (
        "application/xml-patch+xml",
        b'<diff xmlns:f="http://hl7.org/fhir"><replace sel="f:DocumentReference/f:status/@value">%s</replace></diff>',
    ),
    "path": (
        "application/fhir+json",
        b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},'
        b'{"name":"path","valueString":"DocumentReference.status"},{"name":"value","valueCode":"%s"}]}]}',
    ),
}


@contextmanager
def opened(folder: Path, **chosen: Any) -> Iterator[Scene]:
    """H, Q and a document that stays visible."""
    with test_hidden_is_absent.opened(folder, **chosen) as scene:
        yield scene


@pytest.fixture(scope="module", params=stores.STORES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """On each store."""
    folder = tmp_path_factory.mktemp("writes")
    with opened(folder, **stores.chosen(request.param, folder)) as scene:
        yield scene


def fetched(caller: Caller, url: str) -> list[dict[str, Any]]:
    """The resources of a search."""
    answer = caller.get(url)
    assert answer.status_code == 200, answer.text
    return [each["resource"] for each in answer.json().get("entry", ())]


@pytest.mark.leak("L03", "L04", "L55")
def test_l03_l04_a_version_that_was_hidden_stays_hidden(scene: Scene) -> None:
    """A document that its author unmasks is seen from then on: not the versions of before."""
    house, patient = scene.house, scene.house.cast["patient"]
    label = [{"coding": [{"system": _TRE_A07, "code": "MASQUE_PS"}]}]
    place = made(house.lgc.post("DocumentReference", document(patient, securityLabel=label)))
    same(scene.doctor.get(place), scene.doctor.get(f"DocumentReference/{NEVER}"))
    patch = orjson.dumps([{"op": "remove", "path": "/securityLabel"}])
    kind = {"Content-Type": "application/json-patch+json"}
    assert house.lgc.request("PATCH", place, content=patch, headers=kind).status_code == 200
    assert scene.doctor.get(place).status_code == 200
    same(scene.doctor.get(f"{place}/_history/1"), scene.doctor.get(f"DocumentReference/{NEVER}/_history/1"))
    told = scene.doctor.get(f"{place}/_history")
    assert [each["response"]["etag"] for each in told.json()["entry"]] == ['W/"2"']
    assert told.json()["total"] == 1
    assert len(house.patient.get(f"{place}/_history").json()["entry"]) == 2


@pytest.mark.leak("L09")
@pytest.mark.parametrize("kind", PATCH)
@pytest.mark.parametrize("status", ["current", "superseded"])
def test_l09_a_patch_of_a_hidden_document_tests_nothing(scene: Scene, kind: str, status: str) -> None:
    """Whether the test would hold or not, in each language of patches: the answer about no document."""
    content_type, body = PATCH[kind]
    answers = [
        scene.doctor.request("PATCH", url, content=body % status.encode(), headers={"Content-Type": content_type})
        for url in (scene.hidden, f"DocumentReference/{NEVER}")
    ]
    same(*answers)
    assert answers[0].status_code == 404
    assert scene.house.patient.get(scene.hidden).json()["status"] == "current"


@pytest.mark.leak("L18", "L19", "L16")
def test_l18_a_hundred_hidden_rows_do_not_fill_the_first_page(scene: Scene) -> None:
    """The one visible row, between fifty hidden ones before it and fifty after, is on page one, and is all there is."""
    subject = {"reference": scene.house.cast["patient"]}
    name = uuid4().hex
    code = {"coding": [{"system": "urn:t", "code": name}]}
    masked = {"security": [{"system": _TRE_A07, "code": "MASQUE_PS"}]}
    rows = [{**OBSERVATION, "subject": subject, "code": code, "meta": masked} for _ in range(100)]
    rows.insert(50, {**OBSERVATION, "subject": subject, "code": code})
    entries = [{"resource": each, "request": {"method": "POST", "url": "Observation"}} for each in rows]
    pushed = scene.house.lgc.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert pushed.status_code == 200, pushed.text
    for sort in ("_lastUpdated", "-_lastUpdated", "_id", "code"):
        url = f"Observation?patient={scene.house.cast['patient']}&code=urn:t|{name}&_count=1&_sort={sort}"
        page = scene.doctor.get(f"{url}&_total=accurate").json()
        assert len(page["entry"]) == 1
        assert page["total"] == 1
        assert all(each["relation"] != "next" for each in page["link"])


_TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"


@pytest.mark.leak("L20")
def test_l20_the_next_page_obeys_what_was_said_since_the_first(scene: Scene) -> None:
    """A document masked between two pages is on none of the rest; a link is of no use without a live token."""
    house, patient = scene.house, scene.house.cast["patient"]
    name = f"paged{uuid4().hex}"
    places = [made(house.lgc.post("DocumentReference", document(patient, description=name))) for _ in range(4)]
    url = f"DocumentReference?patient={patient}&status=current&description={name}&_sort=_id&_count=1"
    first = scene.doctor.get(url).json()
    shown = f"DocumentReference/{first['entry'][0]['resource']['id']}"
    [masked, *left] = sorted(each for each in places if each != shown)
    mask(house, masked)
    after = next(each["url"] for each in first["link"] if each["relation"] == "next")
    at, rest = after, []
    while at:
        page = scene.doctor.get(at).json()
        rest += [f"DocumentReference/{each['resource']['id']}" for each in page["entry"]]
        at = next((each["url"] for each in page["link"] if each["relation"] == "next"), "")
    assert rest == left
    with office(house) as desk:
        now = 4_000_000_000_000_000
        token = desk.ledger(lambda ledger: issue(ledger, actors(house.cast)["care_team"], ttl=DAY, now=now))
        second = Caller(scene.doctor.http, token, "")
        assert second.get(after).status_code == 200
        assert desk.ledger(lambda ledger: revoke(ledger, token))
        assert second.get(after).status_code == 401


@pytest.mark.leak("L39")
def test_l39_what_carries_a_hidden_document_is_hidden_or_says_nothing_of_it(scene: Scene) -> None:
    """Provenance, Composition and List are as hidden as what they carry; a folder loses the entry, and its narrative;
    what others wrote beside a reference, also in what is contained, is not kept."""
    house, patient = scene.house, scene.house.cast["patient"]
    who = {"reference": house.lgc.reference}
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": TITLE},
        "subject": {"reference": patient},
        "date": "2026-01-01",
        "author": [who],
        "title": TITLE,
        "section": [{"title": TITLE, "entry": [{"reference": scene.hidden}]}],
    }
    provenance = {
        "resourceType": "Provenance",
        "target": [{"reference": scene.visible}, {"reference": scene.hidden}],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": who}],
    }
    plain = {**folder(patient, scene.hidden), "code": {"text": TITLE}}
    for carrier in (composition, provenance, plain):
        url = made(house.lgc.post(carrier["resourceType"], carrier))
        same(scene.doctor.get(url), scene.doctor.get(f"{carrier['resourceType']}/{NEVER}"))
        one = f"{carrier['resourceType']}?_id={url.partition('/')[2]}"
        assert scene.doctor.get(one).json().get("entry") is None
        assert house.lgc.get(url).status_code == 200
    shared = made(house.lgc.post("List", folder(patient, scene.hidden, scene.visible)))
    seen = scene.doctor.get(shared)
    assert [each["item"]["reference"] for each in seen.json()["entry"]] == [scene.visible]
    assert TITLE not in seen.text
    assert scene.id not in seen.text
    id_, filter = shared.partition("/")[2], f"item eq {scene.hidden}".replace(" ", "%20")
    documents = f"DocumentReference?patient={patient}&status=current"
    lists = f"List?patient={patient}&status=current&code=submissionset"
    asked = (
        f"item={scene.hidden}",
        f"item=Observation/x,{scene.hidden}",
        f"_content=Titre&_id={id_}",
        f"_text=Titre&_id={id_}",
    )
    for each in (*asked, f"_filter={filter}", f"_has:List:item:item={scene.hidden}"):
        where = documents if each.startswith("_has") else lists
        assert fetched(scene.doctor, f"{where}&{each}") == [], each
    for each in (
        f"item={scene.visible}",
        f"item={scene.hidden},{scene.visible}",
        "item:DocumentReference.status=current",
    ):
        assert [found["id"] for found in fetched(scene.doctor, f"{lists}&{each}&_id={id_}")] == [id_]
    assert [found["id"] for found in fetched(house.patient, f"List?item={scene.hidden}&_id={id_}")] == [id_]
    by_entry = f"{documents}&_has:List:item:item={scene.visible}"
    assert [f"DocumentReference/{found['id']}" for found in fetched(scene.doctor, by_entry)] == [scene.visible]
    inside = {"resourceType": "Observation", "id": "i", **_pointing(scene.hidden)}
    telling = {**OBSERVATION, "subject": {"reference": patient}, **_pointing(scene.hidden), "contained": [inside]}
    telling["hasMember"] = [{"reference": "#i"}]
    told = scene.doctor.get(made(house.lgc.post("Observation", telling)))
    assert told.status_code == 200
    assert TITLE not in told.text
    assert "urn:x-of-h" not in told.text


def _pointing(url: str) -> dict[str, Any]:
    """An observation derived from a document, of which its reference tells."""
    reference = {"reference": url, "display": TITLE, "identifier": {"system": "urn:x-of-h", "value": "1"}}
    return {"status": "final", "code": {"text": "x"}, "derivedFrom": [reference]}


@pytest.mark.leak("L40")
def test_l40_a_chain_of_replacements_is_hidden_as_one(scene: Scene) -> None:
    """Masking the first hides the second, and a third that is pushed afterwards; what is appended tells no more than an
    id."""
    house, patient = scene.house, scene.house.cast["patient"]
    chain = [made(house.lgc.post("DocumentReference", document(patient)))]
    for place in range(2):
        if place:
            mask(house, chain[0])
        relates = [{"code": "replaces", "target": {"reference": chain[-1], "display": TITLE}}]
        chain.append(made(house.lgc.post("DocumentReference", document(patient, relatesTo=relates))))
    for each in chain:
        same(scene.doctor.get(each), scene.doctor.get(f"DocumentReference/{NEVER}"))
    target = {"reference": chain[0], "display": TITLE, "identifier": {"system": "urn:x-of-h", "value": "1"}}
    appended = made(
        house.lgc.post("DocumentReference", document(patient, relatesTo=[{"code": "appends", "target": target}]))
    )
    told = scene.doctor.get(appended).json()["relatesTo"]
    assert told == [{"code": "appends", "target": {"reference": chain[0]}}]


@pytest.mark.leak("L45", "L28")
def test_l45_no_refusal_names_what_is_hidden(scene: Scene) -> None:
    """Each request that a hidden document could refuse is refused, or taken, as if there were none."""
    house, patient = scene.house, scene.house.cast["patient"]
    master, other = ({"system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.25.{uuid4().int}"} for _ in range(2))
    hidden = made(house.lgc.post("DocumentReference", document(patient, masterIdentifier=master)))
    mask(house, hidden)
    by_identifier = {"code": "replaces", "target": {"identifier": master}}
    for one, two in (
        (document(patient, masterIdentifier=master), document(patient, masterIdentifier=other)),
        (
            document(patient, relatesTo=[{"code": "replaces", "target": {"reference": hidden}}]),
            document(patient, relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{NEVER}"}}]),
        ),
        (
            document(patient, relatesTo=[by_identifier]),
            document(patient, relatesTo=[{"code": "replaces", "target": {"identifier": other}}]),
        ),
        (document(patient, id=hidden.partition("/")[2]), document(patient, id=NEVER)),
    ):
        answers = [scene.doctor.post("DocumentReference", each) for each in (one, two)]
        assert answers[0].status_code == answers[1].status_code
        if answers[0].status_code >= 400:
            assert answers[0].content == answers[1].content
            assert hidden.partition("/")[2] not in answers[0].text
        for each in answers:
            if each.status_code == 201:
                assert scene.doctor.delete(made(each)).status_code == 204
    directive = {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": scene.other}}]}
    from fhir_server.demo.family import consent

    answers = [
        house.patient.post("Consent", consent(patient, "mask", each))
        for each in (
            directive,
            {**directive, "data": [{"meaning": "instance", "reference": {"reference": f"Observation/{NEVER}"}}]},
        )
    ]
    same(*answers)
    assert answers[0].status_code == 422


NOT_OFFERED = {
    "L47": ["{patient}/$summary", "Patient/$summary"],
    "L48": ["Composition/{id}/$document", "{hidden}/$document", "DocumentReference/$docref?patient={patient}"],
    "L49": ["$export", "Patient/$export", "{patient}/$export", "Group/{id}/$export"],
    "L50": ["{hidden}/$validate", "DocumentReference/$validate", "Observation/$validate"],
    "L51": ["{hidden}/$meta", "{hidden}/$meta-add", "{hidden}/$meta-delete", "DocumentReference/$meta", "$meta"],
    "L52": ["Observation/$lastn", "Observation/$stats", "Patient/$match", "{patient}/$match"],
    "L53": ["$graphql", "{patient}/$graphql", "{hidden}/$graphql"],
    "L54": ["Subscription/{id}/$status", "Subscription/$get-ws-binding-token", "$subscription-status"],
}


@pytest.mark.leak(*NOT_OFFERED)
@pytest.mark.parametrize("leak", NOT_OFFERED)
def test_an_operation_that_is_not_offered_tells_nothing(scene: Scene, leak: str) -> None:
    """L47 to L54: 501, the same for what is hidden, visible and nowhere, by GET and POST; the CapabilityStatement lists
    none of them."""
    told = scene.doctor.get("metadata").json()["rest"][0]
    places = [told, *told["resource"]]
    offered = {each["name"] for place in places for each in place.get("operation", ())}
    for url in NOT_OFFERED[leak]:
        for method in ("GET", "POST"):
            answers = [
                scene.doctor.request(method, url.format(patient=patient, hidden=each, id=each.partition("/")[2]))
                for each in (scene.hidden, scene.visible, f"DocumentReference/{NEVER}")
                for patient in (scene.house.cast["patient"], scene.house.cast["child"], f"Patient/{NEVER}")
            ]
            assert {each.status_code for each in answers} == {501}
            for each in answers:
                same(answers[0], each)
        assert url.partition("$")[2].partition("?")[0] not in offered


@pytest.mark.leak("L49", "L54")
def test_nothing_is_prepared_for_later(scene: Scene) -> None:
    """L49, L54: no export is begun and none can be fetched; a subscription is nobody's to make, so none is told."""
    house = scene.house
    begun = scene.doctor.get("$export", Prefer="respond-async")
    assert begun.status_code == 501
    assert "content-location" not in begun.headers
    for caller in (scene.doctor, house.patient, house.app, house.lgc, house.admin):
        subscription = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "x",
            "criteria": f"DocumentReference?patient={house.cast['patient']}",
            "channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:9/"},
        }
        assert caller.post("Subscription", subscription).status_code == 403


@pytest.mark.leak("L51")
def test_l51_a_label_is_lowered_by_those_who_may(scene: Scene) -> None:
    """By PATCH or PUT, a colleague is refused on what they see; what is hidden is not there for them."""
    house, patient = scene.house, scene.house.cast["patient"]
    labelled = [{"coding": [{"system": _CONFIDENTIALITY, "code": "R"}]}]
    seen = made(house.lgc.post("DocumentReference", document(patient, securityLabel=labelled)))
    lower = orjson.dumps([{"op": "remove", "path": "/securityLabel"}])
    kind = {"Content-Type": "application/json-patch+json"}
    assert scene.doctor.request("PATCH", seen, content=lower, headers=kind).status_code == 403
    body = scene.doctor.get(seen).json()
    assert scene.doctor.put(seen, {**body, "securityLabel": []} | {"description": "x"}).status_code in (400, 403)
    del body["securityLabel"]
    assert scene.doctor.put(seen, body).status_code == 403
    same(
        scene.doctor.request("PATCH", scene.hidden, content=lower, headers=kind),
        scene.doctor.request("PATCH", f"DocumentReference/{NEVER}", content=lower, headers=kind),
    )
    assert house.patient.get(seen).json()["securityLabel"] == labelled


_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


@pytest.mark.leak("L61", "L60", "L25")
def test_l61_nothing_made_of_a_hidden_document_is_seen(scene: Scene) -> None:
    """A second rendition, its bytes by range, its words: hidden with it."""
    house, patient = scene.house, scene.house.cast["patient"]
    text = {"Content-Type": "text/plain"}
    urls = [made(house.lgc.request("POST", "Binary", content=each, headers=dict(text))) for each in (b"full", b"thumb")]
    content = [{"attachment": {"contentType": "text/plain", "url": each}} for each in urls]
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">motcaché</div>'}
    place = made(house.lgc.post("DocumentReference", document(patient, content=content, text=narrative)))
    words = f"DocumentReference?patient={patient}&status=current&_content=motcaché"
    assert [each["id"] for each in fetched(scene.doctor, words)] == [place.partition("/")[2]]
    assert scene.doctor.get(urls[1]).content == b"thumb"
    mask(house, place)
    for url in urls:
        for headers in ({}, {"Range": "bytes=0-1"}, {"Accept": "application/fhir+json"}, {"If-None-Match": 'W/"1"'}):
            same(scene.doctor.get(url, **headers), scene.doctor.get(f"Binary/{NEVER}", **headers))
        assert house.patient.get(url).status_code == 200
    assert fetched(scene.doctor, words) == []
    assert fetched(scene.doctor, words.replace("_content", "_text")) == []


@pytest.mark.leak("A19")
def test_a19_xml_fetches_nothing_and_unfolds_nothing(scene: Scene) -> None:
    """Document types are refused, in FHIR and in CDA: no file is read, nobody is called, nothing grows."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        here = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        billion = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
        for doctype in (
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
            f'<!DOCTYPE x [<!ENTITY e SYSTEM "{here}">]>',
            f'<!DOCTYPE x SYSTEM "{here}">',
            f'<!DOCTYPE x [<!ENTITY % p SYSTEM "{here}"> %p; <!ENTITY e "x">]>',
            f'<!DOCTYPE x [<!ENTITY l0 "l">{billion}<!ENTITY e "&l9;">]>',
            '<!DOCTYPE x [<!ENTITY e "a">]>',
        ):
            subject = f'<subject><reference value="{scene.house.cast["patient"]}"/></subject>'
            fhir = (
                f'<?xml version="1.0"?>{doctype}<Observation xmlns="http://hl7.org/fhir"><status value="final"/>'
                f'<code><text value="&e;"/></code>{subject}</Observation>'
            )
            sent = {"content": fhir.encode(), "headers": {"Content-Type": "application/fhir+xml"}}
            refused = scene.house.lgc.request("POST", "Observation", **sent)
            assert refused.status_code == 400
            assert "root:" not in refused.text
            cda = CDA.replace(b"<ClinicalDocument", doctype.encode() + b"<ClinicalDocument", 1)
            cda = cda.replace(b"Lettre de liaison", b"&e;")
            sent = {"content": cda, "headers": {"Content-Type": "application/xml"}}
            refused = scene.house.lgc.request("POST", "$import-document", **sent)
            assert refused.status_code in (400, 422), refused.text
            assert "root:" not in refused.text
        with pytest.raises(TimeoutError):
            listener.accept()
