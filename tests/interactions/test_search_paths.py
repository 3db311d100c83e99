"""Where a search looks, what comes with it, in which order and in which pages: over HTTP, without authorization."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Caller
from tests.leaks.test_review_findings import made
from tests.leaks.test_search_leaks import encounter, observation
from tests.live import running

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Ward:
    """Two patients of one organisation; the first has an encounter with two observations, one with a member."""

    server: Caller
    organization: str
    patient: str
    other: str
    encounter: str
    one: str
    two: str
    performer: str

    def page(self, url: str) -> dict[str, Any]:
        """A page of a search."""
        answer = self.server.get(url)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def found(self, url: str, mode: str = "match") -> list[str]:
        """What a search finds, or includes, in its order."""
        entries = self.page(url).get("entry", ())
        return [each["fullUrl"].split("/fhir/")[1] for each in entries if each["search"]["mode"] == mode]


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """The ward."""
    with (
        running(tmp_path_factory.mktemp("ward"), open=True, max_included=3) as settings,
        httpx.Client(base_url=settings.fhir_base + "/", timeout=30) as http,
    ):
        server = Caller(http, "", "")

        def new(resource: dict[str, Any]) -> str:
            return made(server.post(resource["resourceType"], resource))

        top = new({"resourceType": "Organization", "name": "top"})
        organization = new({"resourceType": "Organization", "name": "part", "partOf": {"reference": top}})
        managed = {"resourceType": "Patient", "managingOrganization": {"reference": organization}}
        patient, other = new(managed), new(managed)
        performer = new({"resourceType": "Practitioner"})
        met = new(encounter(patient))
        at = {"encounter": {"reference": met}, "performer": [{"reference": performer}]}
        one = new(observation(patient, "b", **at, valueQuantity={"value": 2, "unit": "kg"}))
        member = {"hasMember": [{"reference": f"{one}/_history/1"}]}
        two = new(observation(patient, "a", **at, **member, valueQuantity={"value": 7, "unit": "kg"}))
        new(observation(other, "c"))
        yield Ward(server, organization, patient, other, met, one, two, performer)


def test_several_types_are_searched_at_once(ward: Ward) -> None:
    """By GET and POST, sorted together; without `_type`, all."""
    assert ward.found("?_type=Encounter,Observation&_sort=_lastUpdated")[:3] == [ward.encounter, ward.one, ward.two]
    posted = ward.server.request("POST", "_search", content="_type=Patient&_sort=-_lastUpdated", headers=dict(FORM))
    assert [each["fullUrl"].split("/fhir/")[1] for each in posted.json()["entry"]] == [ward.other, ward.patient]
    assert ward.page("?_summary=count")["total"] == 9
    assert ward.found(f"?_id={ward.one.partition('/')[2]}") == [ward.one]
    assert ward.server.request("HEAD", "?_type=Patient").content == b""


@pytest.mark.parametrize("path", ["Observation", "*"])
def test_a_compartment_is_searched_by_its_owner(ward: Ward, path: str) -> None:
    """Of a patient, an encounter, a practitioner; by GET and POST; narrowed like any search."""
    for owner in (ward.patient, ward.encounter, ward.performer):
        found = ward.found(f"{owner}/{path}?_type=Observation" if path == "*" else f"{owner}/{path}")
        assert found == [ward.one, ward.two]
    assert ward.found(f"{ward.patient}/{path}?_id={ward.two.partition('/')[2]}") == [ward.two]
    posted = ward.server.request(
        "POST", f"{ward.patient}/{path}/_search", content="_sort=-_lastUpdated", headers=dict(FORM)
    )
    assert posted.json()["entry"][0]["fullUrl"].endswith(ward.two)
    self_link = ward.page(f"{ward.patient}/{path}?_count=1")["link"][0]["url"]
    assert self_link.endswith(f"{ward.patient}/{path}?_count=1")
    assert ward.server.request("POST", f"{ward.patient}/_search").json()["total"] == 4


def test_what_is_included_comes_once_and_after_the_matches(ward: Ward) -> None:
    """Two observations of one encounter; what also matches stays a match."""
    assert ward.found("Observation?code=a,b&_include=Observation:encounter", "include") == [ward.encounter]
    both = "Observation?code=a,b&_include=Observation:has-member&_include=Observation:encounter"
    assert ward.found(both) == [ward.one, ward.two]
    assert ward.found(both, "include") == [ward.encounter]
    assert ward.found("Observation?code=a&_include=Observation:has-member", "include") == [ward.one]
    assert ward.found("Observation?code=a&_include=Observation:subject:Group", "include") == []
    assert ward.found("Observation?_count=0&_include=*", "include") == []


def test_includes_iterate_when_told_to(ward: Ward) -> None:
    """observation → patient → organisation → the one above it; the same include without iteration stops."""
    start = "Observation?code=b&_include=Observation:subject&"
    assert ward.found(start + "_include=Patient:organization", "include") == [ward.patient]
    assert ward.found(start + "_include:iterate=Patient:organization", "include") == [ward.patient, ward.organization]
    whole = start + "_include:iterate=Patient:organization&_include:iterate=Organization:partof"
    assert len(ward.found(whole, "include")) == 3
    back = "Encounter?_include=Encounter:subject&_revinclude:iterate=Observation:subject"
    assert ward.found(back, "include") == [ward.patient, ward.one, ward.two]


def test_the_budget_of_includes_is_told_when_it_is_spent(ward: Ward) -> None:
    """Three here: the organisation, two patients, the encounter."""
    page = ward.page(
        "Organization?name=part&_revinclude=Patient:organization&_revinclude:iterate=Encounter:subject"
        "&_revinclude:iterate=Observation:subject"
    )
    modes = [each["search"]["mode"] for each in page["entry"]]
    assert modes == ["match", "include", "include", "include", "outcome"]
    assert page["entry"][-1]["resource"]["issue"][0]["code"] == "too-costly"


@pytest.mark.parametrize(
    ("sort", "codes"),
    [
        ("code", "abc"),
        ("-code", "cba"),
        ("value-quantity", "bca"),
        ("-value-quantity", "acb"),
        ("-_lastUpdated", "cab"),
        ("encounter,-code", "bac"),
        ("date,code", "abc"),
    ],
)
def test_any_parameter_sorts_and_pages_agree(ward: Ward, sort: str, codes: str) -> None:
    """The pages of one concatenate to the page of all; what has no value comes last."""

    def told(bundle: dict[str, Any]) -> str:
        return "".join(each["resource"]["code"]["text"] for each in bundle["entry"])

    assert told(ward.page(f"Observation?code=a,b,c&_sort={sort}")) == codes
    pages, url = "", f"Observation?code=a,b,c&_sort={sort}&_count=1"
    links = {"next": url}
    while url := links.get("next", ""):
        page = ward.page(url)
        pages += told(page)
        links = {each["relation"]: each["url"] for each in page["link"]}
        assert ("first" in links) == (len(codes) > 1)
    assert pages == codes


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Caller]:
    """A server of one test's own."""
    with (
        running(tmp_path, open=True) as settings,
        httpx.Client(base_url=settings.fhir_base + "/", timeout=30) as http,
    ):
        yield Caller(http, "", "")


@pytest.mark.parametrize("sort", ["", "family", "-family", "_id", "birthdate,-family"])
def test_pages_are_stable_while_others_write(server: Caller, sort: str) -> None:
    """Every resource that was there from the beginning comes once, whatever is added, changed or deleted between."""

    def add(family: str) -> str:
        return made(server.post("Patient", {"resourceType": "Patient", "name": [{"family": family}]}))

    kept = [add(family) for family in ("d", "b", "f", "b", "a")]
    passing = [add(family) for family in ("c", "e", "a")]
    at: str | None = f"Patient?_count=2&_sort={sort}".removesuffix("&_sort=")
    seen: list[str] = []
    while at:
        page = server.get(at).json()
        seen += [each["fullUrl"].split("/fhir/")[1] for each in page["entry"]]
        add("b")
        if passing:
            server.delete(passing.pop())
        at = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)
        assert len(seen) < 60
    assert len(set(seen)) == len(seen)
    assert set(kept) <= set(seen)


def test_a_link_to_a_page_is_for_its_search_alone(ward: Ward) -> None:
    """Not for another path, even where the parameters are the same."""
    page = ward.page(f"{ward.patient}/Observation?_count=1")
    url = next(each["url"] for each in page["link"] if each["relation"] == "next")
    assert ward.server.get(url).status_code == 200
    assert ward.server.get(url.replace(f"{ward.patient}/", "")).status_code == 400
    assert ward.server.get(url.replace(ward.patient, ward.other)).status_code == 400
    assert ward.server.get(url + "&" + url.rpartition("?")[2].rpartition("&")[2]).status_code == 400


@pytest.mark.parametrize(
    "path", ["Observation?", "{patient}/Observation?", "_history?", "{one}/_history?", "{patient}/$everything?"]
)
def test_the_next_page_comes_in_the_form_of_the_first(ward: Ward, path: str) -> None:
    """Links say `_format` and `_pretty` again, and are for the same question in any other form too."""
    resource = ward.server.get(ward.one).json()
    assert ward.server.put(ward.one, {**resource, "status": "amended"}).status_code == 200
    url = path.format(patient=ward.patient, one=ward.one) + "_count=1"
    page = ward.server.get(f"{url}&_format=xml&_pretty=true")
    links = dict(re.findall(r'<relation value="(\w+)"/>\s*<url value="([^"]*)"', page.text))
    assert {"self", "first", "next"} == links.keys()
    following = links["next"].replace("&amp;", "&")
    assert ward.server.get(following).text.startswith("<")
    assert ward.server.get(following).text.count("\n") > 5
    in_json = ward.server.get(following.replace("_format=xml", "_format=json"))
    assert in_json.json()["entry"] == ward.server.get(ward.page(url)["link"][-1]["url"]).json()["entry"]


def test_a_question_is_understood_anew_by_who_asks_otherwise(ward: Ward) -> None:
    """The same parameters strictly, in another compartment, of another type."""
    question = f"patient={ward.patient}&unknown=x"
    for _ in range(2):
        found = ward.found(f"Observation?{question}")
        assert len(found) > 1
        assert ward.server.get(f"Observation?{question}", Prefer="handling=strict").status_code == 400
        assert ward.found(f"Encounter?{question}") == [ward.encounter]
        assert sorted(ward.found(f"{ward.patient}/Observation?{question}")) == sorted(found)
        assert ward.found(f"{ward.other}/Observation?{question}") == []
