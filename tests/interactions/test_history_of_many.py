"""Histories of a type and of everything, and the criteria of all histories, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.fhir.definitions import load_definitions
from fhir_server.validation.validator import Validator
from tests.conftest import Caller
from tests.leaks.test_review_findings import made
from tests.live import running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Caller]:
    """A server of one test's own, without authorization."""
    with (
        running(tmp_path, open=True) as settings,
        httpx.Client(base_url=settings.fhir_base + "/", timeout=30) as http,
    ):
        yield Caller(http, "", "")


def flag(server: Caller, text: str) -> str:
    """A new resource."""
    return made(server.post("Basic", {"resourceType": "Basic", "code": {"text": text}}))


def change(server: Caller, url: str, text: str) -> None:
    """Its next version."""
    assert server.put(url, {**server.get(url).json(), "code": {"text": text}}).status_code == 200


def told(bundle: dict[str, Any]) -> list[tuple[str, str, str]]:
    """method, resource and version of each entry."""
    return [
        (each["request"]["method"], each["fullUrl"].split("/fhir/")[1], each["response"]["etag"][3:-1])
        for each in bundle.get("entry", ())
    ]


def test_the_last_change_comes_first_whatever_it_is_of(server: Caller) -> None:
    """Creation, update and deletion of two types; the type's history leaves the other out; both are valid Bundles."""
    a, b = flag(server, "a"), flag(server, "b")
    patient = made(server.post("Patient", {"resourceType": "Patient"}))
    change(server, a, "aa")
    assert server.delete(b).status_code == 204
    expected = [("DELETE", b, "2"), ("PUT", a, "2"), ("POST", patient, "1"), ("POST", b, "1"), ("POST", a, "1")]
    whole, of_type = server.get("_history").json(), server.get("Basic/_history").json()
    assert told(whole) == expected
    assert told(of_type) == [each for each in expected if each[1] != patient]
    assert (whole["total"], of_type["total"]) == (5, 4)
    deletion, update, *_, creation = whole["entry"]
    assert "resource" not in deletion
    assert (deletion["response"]["status"], update["response"]["status"]) == ("204", "200")
    assert (creation["response"]["status"], creation["request"]["url"]) == ("201", "Basic")
    validator = Validator(load_definitions())
    assert [each for each in validator.validate(whole) if each.severity == "error"] == []


def test_a_resource_whose_id_the_client_chose_was_put_there(server: Caller) -> None:
    """Update as create, and again after a deletion."""
    for _ in range(2):
        assert (
            server.put("Basic/chosen", {"resourceType": "Basic", "id": "chosen", "code": {"text": "x"}}).status_code
            == 201
        )
        assert server.delete("Basic/chosen").status_code == 204
    entries = server.get("Basic/chosen/_history").json()["entry"]
    assert [(each["request"]["method"], each["response"]["status"]) for each in entries] == [
        ("DELETE", "204"),
        ("PUT", "201"),
        ("DELETE", "204"),
        ("PUT", "201"),
    ]


@pytest.mark.parametrize("path", ["_history", "Basic/_history"])
def test_pages_of_a_history_hold_every_change_once_while_others_write(server: Caller, path: str) -> None:
    """What is written meanwhile belongs before the first page, and moves nothing."""
    url = flag(server, "0")
    for number in range(1, 6):
        change(server, url, str(number))
    at: str | None = f"{path}?_count=2"
    seen: list[str] = []
    while at:
        page = server.get(at).json()
        assert "total" not in page
        seen += [version for _, _, version in told(page)]
        flag(server, "meanwhile")
        at = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert seen == ["6", "5", "4", "3", "2", "1"]


@pytest.mark.parametrize("path", ["_history", "Basic/_history", "{}/_history"])
def test_since_and_at_choose_the_versions(server: Caller, path: str) -> None:
    """`_since`: written then or later; `_at`: current at that moment."""
    url = flag(server, "1")
    path = path.format(url)
    times = [server.get(url).json()["meta"]["lastUpdated"]]
    for number in (2, 3):
        time.sleep(0.003)
        change(server, url, str(number))
        times.append(server.get(url).json()["meta"]["lastUpdated"])

    def versions(query: str) -> list[str]:
        answer = server.get(f"{path}?{query}")
        assert answer.status_code == 200, answer.text
        assert query.partition("=")[0] in answer.json()["link"][0]["url"]
        return [version for _, _, version in told(answer.json())]

    assert versions(f"_since={times[0]}") == ["3", "2", "1"]
    assert versions(f"_since={times[1]}") == ["3", "2"]
    assert versions("_since=2100-01-01") == []
    assert versions(f"_at={times[1]}") == ["2"]
    assert versions("_at=2100-01-01") == ["3"]
    assert versions("_at=2000") == []
    assert versions(f"_since={times[1]}&_at={times[2][:10]}") == ["3", "2"]


@pytest.mark.parametrize(
    "query", ["_sort=_lastUpdated", "_since=soon", "_at=x", "_count=0", "_count=-1", "_count=1&_count=2", "code=x"]
)
@pytest.mark.parametrize("path", ["_history", "Basic/_history", "Basic/x/_history"])
def test_other_criteria_are_refused(open_server: Caller, path: str, query: str) -> None:
    """400 naming the parameter: a copy must not be of more than was asked for."""
    answer = open_server.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == [query.partition("=")[0]]


def test_a_link_to_a_page_is_for_its_history_alone(server: Caller) -> None:
    """Not for another type, nor for a search."""
    for _ in range(2):
        flag(server, "x")
    page = server.get("Basic/_history?_count=1").json()
    url = next(link["url"] for link in page["link"] if link["relation"] == "next")
    assert server.get(url).status_code == 200
    for other in ("Patient/_history", "_history", "Basic"):
        assert server.get(url.replace("Basic/_history", other)).status_code == 400
