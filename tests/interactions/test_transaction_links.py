"""Links between the entries of a transaction, and by criteria (https://hl7.org/fhir/R4/http.html#trules)."""

from __future__ import annotations

from itertools import count

import pytest

from tests.conftest import Caller, House
from tests.interactions.test_transaction_rules import SYSTEM, P, Q, by, device, done, entry, link, observation, sent
from tests.leaks.test_hidden_is_absent import OBSERVATION

_VALUES = count()


@pytest.fixture
def value() -> str:
    """An identifier that no other test uses."""
    return f"l{next(_VALUES)}"


def test_links_lead_to_entries_in_every_form(open_server: Caller, value: str) -> None:
    """urn:uuid, urn:oid, an absolute fullUrl, relative to it, with a version; also in narratives and attachments."""
    base = "http://elsewhere.example.org/fhir"
    full = f"{base}/Device/a"
    linked = observation(
        P,
        text={"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{P}">x</a></div>'},
        focus=[{"reference": each} for each in (full, "Device/a", f"{full}/_history/3")],
        note=[{"text": P}],
        extension=[{"url": "http://example.org/e", "valueUri": Q}, {"url": "http://example.org/f", "valueUrl": full}],
    )
    first, second, third, last = done(
        sent(
            open_server,
            entry("POST", "Observation", linked, f"{base}/Observation/o"),
            entry("POST", "Device", device(value), P),
            entry("POST", "Device", device(value), Q),
            entry("POST", "Device", device(value, meta={"versionId": "3"}), full),
        )
    )
    stored = open_server.get(link(first)).json()
    assert stored["device"]["reference"] == link(second)
    assert f'href="{link(second)}"' in stored["text"]["div"]
    assert [each["reference"] for each in stored["focus"]] == [link(last)] * 2 + [f"{link(last)}/_history/1"]
    assert stored["note"] == [{"text": P}]
    assert [each.get("valueUri") or each.get("valueUrl") for each in stored["extension"]] == [link(third), link(last)]


def test_a_version_of_an_entry_that_is_not_the_one_sent_is_another_thing(open_server: Caller, value: str) -> None:
    """Left as it was said."""
    full = "http://elsewhere.example.org/fhir/Device/a"
    body = observation(f"{full}/_history/2")
    made, _ = done(
        sent(
            open_server,
            entry("POST", "Observation", body),
            entry("POST", "Device", device(value, meta={"versionId": "3"}), full),
        )
    )
    assert open_server.get(link(made)).json()["device"]["reference"] == f"{full}/_history/2"


def test_an_update_keeps_its_version_in_links(open_server: Caller, value: str) -> None:
    """A link with a version leads to the version that the transaction makes."""
    kept = open_server.post("Device", device(value)).json()
    body = observation(f"{P}/_history/1")
    made, _ = done(
        sent(
            open_server,
            entry("POST", "Observation", body),
            entry("PUT", f"Device/{kept['id']}", kept, P),
        )
    )
    assert open_server.get(link(made)).json()["device"]["reference"] == f"Device/{kept['id']}/_history/2"


def test_a_canonical_url_stays_what_it_is(open_server: Caller) -> None:
    """It names the resource everywhere, wherever it is kept."""
    url = "http://elsewhere.example.org/fhir/ValueSet/v"
    made, _ = done(
        sent(
            open_server,
            entry("POST", "ValueSet", {"resourceType": "ValueSet", "url": url, "status": "draft"}, url),
            entry("POST", "Observation", OBSERVATION),
        )
    )
    assert open_server.get(link(made)).json()["url"] == url


def test_entries_that_point_to_each_other_are_all_linked(open_server: Caller, value: str) -> None:
    """A circle of two, and one to itself."""
    first = {**OBSERVATION, "hasMember": [{"reference": Q}]}
    second = {**OBSERVATION, "hasMember": [{"reference": P}, {"reference": Q}]}
    one, other = done(
        sent(open_server, entry("POST", "Observation", first, P), entry("POST", "Observation", second, Q))
    )
    assert [each["reference"] for each in open_server.get(link(one)).json()["hasMember"]] == [link(other)]
    assert [each["reference"] for each in open_server.get(link(other)).json()["hasMember"]] == [link(one), link(other)]


def test_conditional_references_see_the_record_as_it_will_be(open_server: Caller, value: str) -> None:
    """What the transaction makes or changes is found by what it will be; what it deletes is not found."""
    kept = open_server.post("Device", device(value)).json()
    gone = open_server.post("Device", device(value + "x")).json()
    renamed = {**kept, "identifier": [{"system": SYSTEM, "value": value + "x"}]}
    made, *_ = done(
        sent(
            open_server,
            entry("POST", "Observation", observation(f"Device?{by(value + 'x')}")),
            entry("PUT", f"Device/{kept['id']}", renamed),
            entry("DELETE", f"Device/{gone['id']}"),
        )
    )
    assert open_server.get(link(made)).json()["device"]["reference"] == f"Device/{kept['id']}"
    refused = sent(
        open_server,
        entry("POST", "Observation", observation(f"Device?{by(value + 'x')}")),
        entry("DELETE", f"Device/{kept['id']}"),
    )
    assert refused.status_code == 412
    assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[0].resource.device.reference"]


def test_a_carrier_may_stand_before_what_it_carries(house: House) -> None:
    """A Provenance of an Observation of the same transaction, in either order."""
    subject = {"subject": {"reference": house.cast["patient"]}}
    provenance = {
        "resourceType": "Provenance",
        "target": [{"reference": P}],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": house.medecin_traitant.reference}}],
    }
    entries = [entry("POST", "Provenance", provenance), entry("POST", "Observation", {**OBSERVATION, **subject}, P)]
    for each in (entries, entries[::-1]):
        done(sent(house.medecin_traitant, *each))
