"""What a review of the authorization server and of the pages found: each is a test that once failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from fhir_server.context import Services
from tests.conftest import open_house
from tests.oauth import HOME, Office, app, office
from tests.portal.desk import Desk, open_desk

READS = "launch/patient patient/*.rs"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A house and its programs."""
    for house in open_house(tmp_path_factory.mktemp("house")):
        with office(house) as made:
            made.registers(app())
            yield made


@pytest.fixture(scope="module")
def desk(at: Office) -> Iterator[Desk]:
    """The pages of the same house."""
    made = open_desk(at.house)
    yield made
    for each in made.browsers:
        each.http.close()


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/oauth/token/"), ("GET", "/login/"), ("GET", "/admin/clients/")]
)
def test_a_slash_too_many_leads_nowhere(at: Office, method: str, path: str) -> None:
    """The address of a redirect would be made of the Host header, and of http behind a proxy: a secret sent once more
    to whoever listens there."""
    answer = at.http.request(method, path, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


def test_a_request_has_no_more_scopes_than_a_person_could_read(at: Office) -> None:
    """Each is a part of the predicate of every later request: a thousand of them are a second of work each time."""
    many = " ".join(f"patient/Observation.rs?code={number}" for number in range(1_000))
    answer = at.asks(method="POST", scope=f"launch/patient {many}")
    assert "error=invalid_" in answer.headers["location"]


def test_a_request_is_not_kept_at_any_length(at: Office) -> None:
    """It is kept for ten minutes for whoever sends one."""
    for name in ("state", "nonce", "login_hint"):
        answer = at.asks(method="POST", **{name: "x" * 20_000})
        assert "error=invalid_request" in answer.headers["location"]


def test_a_registration_that_was_changed_governs_the_requests_that_wait(at: Office) -> None:
    """An address, a scope or the trust that was taken away is not given to who asked before."""
    before = app("changing", redirect_uris=[HOME, "https://stolen.example.org/back"], first_party=True)
    at.registers(before)
    for after in (
        {**before, "redirect_uris": [HOME]},
        {**before, "scope": "launch/patient"},
        {**before, "first_party": False},
    ):
        at.house.admin.request("PUT", f"{at.base}/admin/clients/changing", json=before)
        asked = at.asks("changing", redirect_uri="https://stolen.example.org/back")
        changed = at.house.admin.request("PUT", f"{at.base}/admin/clients/changing", json=after)
        assert changed.status_code == 200, changed.text
        with pytest.raises(Exception, match="not registered"):
            at.approves(asked, at.actor("patient"), READS, patient=at.house.cast.id("patient"))


def test_a_launch_is_for_somebody(at: Office) -> None:
    """One for nobody would be one for everybody (access §1: bound to client and user)."""
    launch = {"client_id": "app", "patient": at.house.cast.id("patient"), "user": ""}
    answer = at.house.admin.request("POST", f"{at.base}/admin/launch", json=launch)
    assert answer.status_code == 422, answer.text


def lines(desk: Desk, act: str) -> list[dict[str, Any]]:
    """Those of the access log that are about that act."""

    async def read(parts: Services) -> list[dict[str, Any]]:
        known = [orjson.loads(each.row.body) async for each in parts.store.system().audit_chain()]
        return [each for each in known if each["interaction"] == act]

    found: list[dict[str, Any]] = desk.inside(read)
    return found


def test_logins_are_in_the_log_of_the_records_they_open(desk: Desk) -> None:
    """Those that failed are in the log too, in nobody's, without the name that was tried."""
    before, failed = lines(desk, "login"), "demo-patient"
    browser = desk.enter("demo-mother")
    browser = desk.browser()
    browser.open("/login")
    browser.log_in(failed, "wrong")
    new = lines(desk, "login")[len(before) :]
    mother, child = desk.house.cast.id("mother"), desk.house.cast.id("child")
    assert [(each["role"], each.get("patient"), each.get("outcome")) for each in new] == [
        ("patient", mother, None),
        ("rep", child, None),
        ("anonymous", None, "login"),
    ]
    assert failed not in str(new[2])


def test_what_an_administrator_does_is_in_the_log(desk: Desk, at: Office) -> None:
    """An account in that of the record it opens; a program in that of the server; refusals as what they are."""
    admin, record = at.house.admin, at.house.cast["patient"]
    account = {"login": "second", "name": "Second", "patient": record, "password": "correct horse battery"}
    assert admin.request("POST", f"{at.base}/admin/accounts", json=account).status_code == 201
    assert admin.request("POST", f"{at.base}/admin/accounts/second/code").status_code == 201
    assert admin.request("DELETE", f"{at.base}/admin/accounts/second").status_code == 204
    told = at.house.patient.get(f"Patient/{at.house.cast.id('patient')}/$access-log?_count=500").json()
    acts = [each["resource"]["subtype"][0]["code"] for each in told["entry"]]
    assert {"add-account", "enrol-account", "remove-account"} <= set(acts)
    admin.request("PUT", f"{at.base}/admin/clients/app", json=app())
    assert lines(desk, "change-client")[-1]["resource"] == "app"
    assert at.house.patient.request("GET", f"{at.base}/admin/clients").status_code == 403
    assert lines(desk, "administer")[-1]["outcome"] == "forbidden"


def test_tokens_are_in_the_log_given_or_refused(desk: Desk, at: Office) -> None:
    """Whom each stands for, by what program; who was refused as not being the client, or for a grant used up."""
    code = at.code()
    token = at.redeems(code).json()["access_token"]
    given = lines(desk, "token")[-1]
    assert (given["role"], given["client"], given.get("outcome")) == ("app", "app", None)
    assert token not in str(given)
    assert at.redeems(code).status_code == 400
    refused = lines(desk, "token")[-1]
    assert (refused["client"], refused["outcome"], refused["authorization"]) == ("app", "forbidden", True)
    assert at.redeems(code, "nobody").status_code == 401
    assert lines(desk, "token")[-1]["role"] == "anonymous"


def test_what_prompt_login_asks_for_is_not_passed_by(desk: Desk) -> None:
    """A form sent past the login page leads back to it."""
    browser = desk.enter("demo-mother")
    page = browser.open(desk.asks(READS, prompt="login"))
    assert page.title == "Log in"
    (token,) = page.root.xpath("//form//input[@name='token']/@value")
    (request,) = page.root.xpath("//form//input[@name='request']/@value")
    sent = browser.send("/authorize/patient", [("token", token), ("request", request), ("patient", "0")])
    assert sent.title == "Log in"


def test_who_logs_out_is_out_everywhere_but_where_they_said_otherwise(desk: Desk) -> None:
    """`online_access` lasts as long as the login; `offline_access` of a patient until it is stopped."""
    for leave, status in (("online_access", 400), ("offline_access", 200)):
        browser = desk.browser()
        browser.open(desk.asks(f"{READS} {leave}"))
        browser.log_in("demo-patient", desk.passwords["demo-patient"])
        browser.press("Let it in", share="all", until="day", **({"offline": "yes"} if leave[:3] == "off" else {}))
        given = desk.redeem(browser.answer["code"])
        browser.open("/logout")
        browser.press("Log out")
        form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": "demo-app"}
        assert httpx.post(f"{desk.root}/oauth/token", data=form).status_code == status


def test_the_language_is_changed_without_losing_the_way(desk: Desk) -> None:
    """After a form that was refused, too: the request is then in the form, not in the address."""
    browser = desk.browser()
    browser.open(desk.asks(READS))
    browser.log_in("demo-patient", "wrong")
    assert "Carnet de santé" in browser.link("Français").text
