"""read, vread and history over HTTP."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Caller

OBSERVATION = (
    b'{ "resourceType" : "Observation",\n "status":"final", "code":{"text":"Poids"}, "note":[{"text":"un \\"mot\\""}],'
    b' "valueQuantity": {"value": 70.00, "unit":"kg"}, "meta": {"tag":[{"system":"urn:x","code":"t"}]} }'
)


@pytest.fixture
def observation(open_server: Caller) -> str:
    """The url of a stored Observation."""
    return "Observation/" + str(open_server.post("Observation", OBSERVATION).json()["id"])


def test_a_resource_reads_back_with_the_bytes_that_were_sent(open_server: Caller, observation: str) -> None:
    """`70.00` stays `70.00`, blanks inside members stay, the order stays; id and meta are the server's."""
    answer = open_server.get(observation)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    expected = (
        rb'\{"resourceType":"Observation","id":"[0-9a-f-]{36}","meta":\{"versionId":"1","lastUpdated":"'
        rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","tag":\[\{"system":"urn:x","code":"t"\}\]\},"status":"final",'
        rb'"code":\{"text":"Poids"\},"note":\[\{"text":"un \\"mot\\""\}\],'
        rb'"valueQuantity":\{"value": 70\.00, "unit":"kg"\}\}'
    )
    assert re.fullmatch(expected, answer.content)


def test_etag_and_last_modified_answer_304(open_server: Caller, observation: str) -> None:
    """If-None-Match wins over If-Modified-Since."""
    first = open_server.get(observation)
    assert first.headers["etag"] == 'W/"1"'
    modified = first.headers["last-modified"]
    assert open_server.get(observation, **{"If-None-Match": 'W/"1"'}).status_code == 304
    assert open_server.get(observation, **{"If-None-Match": 'W/"2"'}).status_code == 200
    assert open_server.get(observation, **{"If-Modified-Since": modified}).status_code == 304
    assert open_server.get(observation, **{"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}).status_code == 200
    both = {"If-None-Match": 'W/"2"', "If-Modified-Since": modified}
    assert open_server.get(observation, **both).status_code == 200


def test_head_answers_the_headers_of_get_without_the_body(open_server: Caller, observation: str) -> None:
    """HEAD is GET without its body."""
    head, get = open_server.request("HEAD", observation), open_server.get(observation)
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


def test_every_version_stays_readable_until_and_after_deletion(open_server: Caller, observation: str) -> None:
    """vread of each version, history newest first, 410 for the deleted resource."""
    changed = {**open_server.get(observation).json(), "status": "amended"}
    assert open_server.put(observation, changed).status_code == 200
    assert open_server.delete(observation).status_code == 204
    assert open_server.get(observation).status_code == 410
    assert open_server.get(f"{observation}/_history/1").json()["status"] == "final"
    assert open_server.get(f"{observation}/_history/2").json()["status"] == "amended"
    assert open_server.get(f"{observation}/_history/3").status_code == 410
    assert open_server.get(f"{observation}/_history/4").status_code == 404
    bundle = open_server.get(f"{observation}/_history").json()
    assert bundle["type"] == "history"
    assert [each["request"]["method"] for each in bundle["entry"]] == ["DELETE", "PUT", "POST"]
    assert [each["response"]["etag"] for each in bundle["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']


def test_history_comes_in_pages(open_server: Caller, observation: str) -> None:
    """Following next gives every version once."""
    for status in ("preliminary", "final", "amended", "corrected"):
        open_server.put(observation, {**open_server.get(observation).json(), "status": status})
    url: str | None = f"{observation}/_history?_count=2"
    seen = []
    while url:
        page = open_server.get(url).json()
        seen += [each["resource"]["meta"]["versionId"] for each in page["entry"]]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert seen == ["5", "4", "3", "2", "1"]


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("Observation/never", 404),
        ("Observation/never/_history", 404),
        ("Observation/no spaces", 404),
        ("Observation/" + "x" * 65, 404),
        ("Observations/1", 404),
        ("Observation/1/_history/x", 404),
        ("Observation/1/_history/99999999999999999999", 404),
        ("Observation/1/Patient", 404),
        ("Observation/1/_nothing", 404),
        ("Observation/$lastn", 501),
        ("Observation/1?code=x", 400),
    ],
)
def test_what_is_not_there_is_refused_with_an_outcome(open_server: Caller, url: str, status: int) -> None:
    """Unknown is 404, an operation that is not offered 501, and the body says so in FHIR."""
    answer = open_server.get(url)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.json()["issue"][0]["severity"] == "error"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/fhir+json", 200),
        ("application/json", 200),
        ("*/*", 200),
        ("application/fhir+json; fhirVersion=4.0", 200),
        ("text/html, application/xhtml+xml, */*;q=0.8", 200),
        ("application/fhir+json; fhirVersion=5.0", 406),
        ("text/plain", 406),
    ],
)
def test_the_format_is_negotiated(open_server: Caller, observation: str, accept: str, status: int) -> None:
    """JSON, or 406."""
    assert open_server.get(observation, Accept=accept).status_code == status


def test_the_format_parameter_wins_over_the_header(open_server: Caller, observation: str) -> None:
    """`_format` names what a browser cannot say in a header."""
    assert open_server.get(f"{observation}?_format=json", Accept="text/html").status_code == 200
    assert open_server.get(f"{observation}?_format=xml").headers["content-type"].startswith("application/fhir+xml")
    assert open_server.get(f"{observation}?_format=text/turtle").status_code == 406
