"""A person lets an application in: what they tick is what it gets, as scopes and as directives, and never more."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from fhir_server.consent.data_time import PARIS
from tests.portal.browser import Browser
from tests.portal.desk import Desk

ALL = "openid fhirUser launch/patient offline_access patient/*.rs"


def shares(desk: Desk, patient: str) -> list[dict]:
    """The active D09 of that record."""
    found = desk.house.patient.get(f"Consent?patient={patient}&status=active&_count=100").json()
    active = [each["resource"] for each in found.get("entry", [])]
    return [each for each in active if each["policy"][0]["uri"].endswith("/app-share")]


def at_consent(desk: Desk, scope: str, login: str = "demo-patient", **more: str) -> Browser:
    """A browser on the consent page."""
    browser = desk.browser()
    browser.open(desk.asks(scope, **more))
    browser.log_in(login, desk.passwords[login])
    return browser


def test_an_application_gets_what_is_ticked_and_no_more(own_desk: Desk) -> None:
    """One category: a D09 with its label, no offline access, and no other document."""
    desk = own_desk
    patient = desk.house.cast["patient"]
    browser = at_consent(desk, ALL)
    assert browser.page
    assert browser.page.title == "Let “Carnet de santé (démonstration)” in?"
    assert "Record of DOMINIQUE PAT-TROIS" in browser.page.text
    browser.press("Let it in", share="some", category=("11",), until="year")
    assert browser.answer["state"] == "s t&te"
    assert browser.answer["iss"] == desk.root
    given = desk.redeem(browser.answer["code"])
    assert given["patient"] == desk.house.cast.id("patient")
    assert set(given["scope"].split()) == {"openid", "fhirUser", "launch/patient", "patient/*.rs"}
    assert "refresh_token" not in given
    (share,) = shares(desk, patient)
    assert share["provision"]["securityLabel"][0]["code"] == "11"
    assert share["performer"] == [{"reference": patient}]
    assert share["provision"]["period"]["end"]
    documents = desk.get(given["access_token"], f"DocumentReference?status=current&patient={patient}").json()
    everything = desk.house.patient.get(f"DocumentReference?status=current&patient={patient}").json()
    kinds = {each["resource"]["type"]["coding"][0]["code"] for each in documents.get("entry", [])}
    assert 0 < len(documents["entry"]) < len(everything["entry"])
    assert kinds == {"SYNTH"}


def test_everything_is_one_directive_and_a_refresh_token(own_desk: Desk) -> None:
    """With “until I stop it” the directive has no end; the earlier one of the same application stays or is ended."""
    desk = own_desk
    patient = desk.house.cast["patient"]
    before = shares(desk, patient)
    browser = at_consent(desk, ALL)
    browser.press("Let it in", share="all", offline="yes", until="always")
    given = desk.redeem(browser.answer["code"])
    assert given["refresh_token"]
    after = shares(desk, patient)
    assert [each["id"] for each in after] == [each["id"] for each in before], "the same directive is not given twice"
    assert desk.get(given["access_token"], patient).status_code == 200


def test_deciding_again_replaces_what_was_decided(own_desk: Desk) -> None:
    """The application keeps one set of directives: the last."""
    desk = own_desk
    patient = desk.house.cast["patient"]
    for ticked in (("11", "10"), ("42",)):
        browser = at_consent(desk, ALL)
        browser.press("Let it in", share="some", category=ticked, until="always")
        labels = {each["provision"]["securityLabel"][0]["code"] for each in shares(desk, patient)}
        assert labels == set(ticked)


def test_scopes_of_types_that_were_not_ticked_are_not_granted(desk: Desk) -> None:
    """A tick on summaries gives nothing of prescriptions; unticked writing takes the letters of writing away."""
    scope = "patient/Immunization.cruds patient/MedicationRequest.rs patient/DocumentReference.rs"
    browser = at_consent(desk, scope)
    browser.press("Let it in", share="some", category=("11",), until="day")
    given = desk.redeem(browser.answer["code"])
    assert set(given["scope"].split()) == {"patient/Immunization.rs", "patient/DocumentReference.rs"}


def test_writing_is_given_by_its_own_tick(desk: Desk) -> None:
    """And reading may be refused beside it."""
    browser = at_consent(desk, "patient/Observation.cruds")
    browser.press("Let it in", share="none", write="yes", until="day")
    assert desk.redeem(browser.answer["code"])["scope"] == "patient/Observation.cud"


def test_nothing_at_all_is_not_an_answer(desk: Desk) -> None:
    """The page says so, and the application waits."""
    browser = at_consent(desk, "patient/Observation.rs")
    page = browser.press("Let it in", share="none", until="day")
    assert page.status == 422
    assert "Nothing would be left" in page.faults["share-all"]


@pytest.mark.parametrize(
    ("filled", "faults"),
    [
        ({}, {"share-all", "until-day"}),
        ({"share": "some", "until": "day"}, {"category-0"}),
        ({"share": "all"}, {"until-day"}),
        ({"share": "everything", "until": "day"}, {"share-all"}),
        ({"share": "some", "category": ("messages",), "until": "day"}, {"category-0"}),
    ],
)
def test_what_is_left_open_is_asked_again(desk: Desk, filled: dict, faults: set) -> None:
    """Each error leads to its field; messages are never shared, whatever is sent."""
    browser = at_consent(desk, ALL)
    page = browser.press("Let it in", **filled)
    assert page.status == 422
    assert set(page.faults) == faults


def test_who_refuses_sends_the_application_away(desk: Desk) -> None:
    """access_denied, with the state; the request is answered."""
    browser = at_consent(desk, ALL)
    before = shares(desk, desk.house.cast["patient"])
    browser.press("Refuse")
    assert browser.answer == {"error": "access_denied", "state": "s t&te", "iss": desk.root}
    assert shares(desk, desk.house.cast["patient"]) == before


def test_the_mother_chooses_between_her_record_and_her_child_s(desk: Desk) -> None:
    """As the child's representative the directive is hers, in the child's record."""
    browser = desk.browser()
    browser.open(desk.asks(ALL))
    page = browser.log_in("demo-mother", desk.passwords["demo-mother"])
    assert page.title == "Choose the record"
    assert page.labels() == ["RUTH NESSI – my record", "LOU DECOURCY – whom I represent"]
    assert "patient-0" in browser.press("Continue").faults
    page = browser.press("Continue", patient="1")
    assert "Record of LOU DECOURCY" in page.text
    browser.press("Let it in", share="all", until="day")
    given = desk.redeem(browser.answer["code"])
    assert given["patient"] == desk.house.cast.id("child")
    token = given["access_token"]
    assert desk.get(token, desk.house.cast["child"]).status_code == 200
    assert desk.get(token, desk.house.cast["mother"]).status_code == 404


def test_nobody_chooses_a_record_that_is_not_theirs(desk: Desk) -> None:
    """A place that was not offered, and one that is no number."""
    for wrong in ("2", "-1", "x", ""):
        browser = desk.browser()
        browser.open(desk.asks(ALL))
        browser.log_in("demo-mother", desk.passwords["demo-mother"])
        assert browser.press("Continue", patient=wrong).status == 422


def test_a_request_that_was_answered_is_over(desk: Desk) -> None:
    """Going back and pressing again gives no second code."""
    browser = at_consent(desk, ALL)
    assert browser.page
    page = browser.page
    browser.press("Let it in", share="all", until="day")
    browser.page = page
    again = browser.press("Let it in", share="all", until="day")
    assert again.status == 400
    assert "not there any more" in again.text


def test_another_login_does_not_inherit_what_was_chosen(desk: Desk) -> None:
    """The record chosen in one login is not the one of the next person at the same request."""
    browser = desk.browser()
    browser.open(desk.asks(ALL))
    browser.log_in("demo-mother", desk.passwords["demo-mother"])
    page = browser.press("Continue", patient="1")
    request = str(page.response.url.params["request"])
    other = desk.enter("demo-patient")
    shown = other.open(f"/authorize/consent?request={request}")
    assert "DOMINIQUE" in shown.text
    assert "LOU" not in shown.text


def test_our_own_application_asks_nobody(desk: Desk) -> None:
    """A first-party client is the person: no consent page, no directive."""
    before = shares(desk, desk.house.cast["patient"])
    browser = desk.browser()
    browser.open(desk.asks("openid fhirUser launch/patient patient/*.rs", client="own-app"))
    browser.log_in("demo-patient", desk.passwords["demo-patient"])
    given = desk.redeem(browser.answer["code"], client="own-app")
    assert desk.get(given["access_token"], f"AuditEvent?patient={desk.house.cast['patient']}").status_code == 200
    assert shares(desk, desk.house.cast["patient"]) == before


def test_a_professional_finds_one_patient_and_never_a_list(desk: Desk) -> None:
    """By INS and birth date; then the software acts with the professional's own rights, within its scopes."""
    browser = desk.browser()
    browser.open(desk.asks("launch/patient openid fhirUser user/*.rs"))
    page = browser.log_in("demo-medecin-traitant", desk.passwords["demo-medecin-traitant"])
    assert page.title == "Find the patient"
    assert set(browser.press("Continue", ins="1", birth="1979").faults) == {"ins", "birth"}
    wrong = browser.press("Continue", ins="279035121518989", kind="test", birth="1979-03-29")
    assert wrong.status == 404
    assert wrong.field("INS number").get("value") == "279035121518989"
    page = browser.press("Continue", ins="2 79 03 51 215 189 89", kind="test", birth="28/3/1979")
    assert page.title == "Let “Carnet de santé (démonstration)” in?"
    assert "DOMINIQUE PAT-TROIS" in page.text
    browser.press("Let it in")
    given = desk.redeem(browser.answer["code"])
    assert given["patient"] == desk.house.cast.id("patient")
    assert given["fhirUser"].endswith(desk.house.cast["medecin_traitant"])
    assert desk.get(given["access_token"], desk.house.cast["patient"]).status_code == 200
    assert desk.get(given["access_token"], f"Consent?patient={given['patient']}").json().get("total", 0) == 0


def test_the_lookup_of_a_professional_is_in_the_patient_s_log(desk: Desk) -> None:
    """It is the ordinary lookup interaction."""
    desk.enter("demo-pharmacien").open(desk.asks("launch/patient user/*.rs"))
    browser = desk.browsers[-1]
    browser.press("Continue", ins="279035121518989", kind="test", birth="1979-03-28")
    log = desk.house.patient.get(f"AuditEvent?patient={desk.house.cast['patient']}&_count=5").text
    assert desk.house.cast["pharmacist"] in log


@pytest.mark.parametrize(("logged_in", "error"), [(False, "login_required"), (True, "consent_required")])
def test_prompt_none_shows_no_page(desk: Desk, logged_in: bool, error: str) -> None:
    """OpenID Connect: the application is told what would have been needed."""
    browser = desk.enter("demo-patient") if logged_in else desk.browser()
    browser.open(desk.asks(ALL, prompt="none"))
    assert browser.answer["error"] == error


def test_prompt_login_and_max_age_ask_again(desk: Desk) -> None:
    """Whoever is logged in logs in once more, and then goes on."""
    browser = desk.enter("demo-patient")
    for more in ({"prompt": "login"}, {"max_age": "0"}):
        page = browser.open(desk.asks(ALL, **more))
        assert page.title == "Log in"
        assert browser.log_in("demo-patient", desk.passwords["demo-patient"]).title.startswith("Let “")
    assert browser.open(desk.asks(ALL, max_age="600")).title.startswith("Let “")


def test_an_administrator_lets_no_application_in(desk: Desk) -> None:
    """No clinical read, so nothing to share."""
    browser = desk.browser()
    browser.open(desk.asks("openid user/*.rs"))
    browser.log_in("demo-admin", desk.passwords["demo-admin"])
    assert browser.answer["error"] == "access_denied"


def test_what_an_application_was_given_is_stopped_on_the_page_of_applications(own_desk: Desk) -> None:
    """The directives end, the tokens and the refresh token die; the log says who did it."""
    desk = own_desk
    browser = at_consent(desk, ALL)
    browser.press("Let it in", share="all", offline="yes", until="always")
    given = desk.redeem(browser.answer["code"])
    assert desk.get(given["access_token"], desk.house.cast["patient"]).status_code == 200
    page = browser.open("/apps")
    assert "Carnet de santé (démonstration)" in page.text
    assert "Everything" in page.text
    today = datetime.now(UTC).astimezone(PARIS)
    assert f"since {today.day} {today:%B %Y}" in page.text
    assert f"depuis le {today:%d/%m/%Y}" in browser.open("/apps?lang=fr").text
    page = browser.open("/apps?lang=en")
    page = browser.press("Stop “Carnet de santé (démonstration)”")
    assert "has no access any more" in page.text
    assert "You have let no application in." in page.text
    assert desk.get(given["access_token"], desk.house.cast["patient"]).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": "demo-app"}
    assert httpx.post(f"{desk.root}/oauth/token", data=form).json()["error"] == "invalid_grant"
    assert shares(desk, desk.house.cast["patient"]) == []


def test_what_was_answered_stands_in_the_patient_s_log(own_desk: Desk) -> None:
    """Access §6: a grant and a denial are each a line with the application, a decision (AuthZconsent) beside it."""
    desk = own_desk
    patient = desk.house.cast["patient"]
    at_consent(desk, ALL).press("Let it in", share="all", until="year")
    at_consent(desk, ALL).press("Refuse")
    found = desk.house.patient.get(f"AuditEvent?patient={patient}&subtype=AuthZ-Consent&_count=100").json()
    events = [each["resource"] for each in found["entry"]]
    answers = {each["subtype"][0]["code"]: each for each in events if each["subtype"][0]["code"] in ("grant", "deny")}
    assert (answers["grant"]["outcome"], answers["deny"]["outcome"]) == ("0", "4")
    decisions = {each["id"]: each for each in events if each["id"].endswith("-authz")}
    for each in answers.values():
        assert "Carnet de santé (démonstration)" in str(each["agent"])
        assert decisions[each["id"] + "-authz"]["outcome"] == each["outcome"]
