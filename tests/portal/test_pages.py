"""The pages as pages: strict markup, two languages, labels and one heading, headers that keep them to themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.portal.pages import policy
from fhir_server.portal.words import LANGUAGES, language_of, words
from tests.conftest import ROOT
from tests.portal.browser import Browser, Page
from tests.portal.desk import Desk
from tests.portal.soundness import check, check_headers

ALL = "openid fhirUser launch/patient offline_access patient/*.cruds"
TEMPLATES = sorted((ROOT / "fhir_server" / "portal" / "templates").glob("*.html"))


def every_page(desk: Desk, language: str) -> Iterator[tuple[str, Page]]:
    """Each page there is, and those with errors."""
    named = {"en": ("Log in", "Continue", "Let it in"), "fr": ("Se connecter", "Continuer", "Autoriser")}
    log_in, on, approve = named[language]
    browser = desk.browser(language)
    yield "login", browser.open(desk.asks(ALL))
    yield "login with errors", browser.press(log_in, login="", password="")
    yield "login refused", browser.press(log_in, login="demo-mother", password="wrong")
    filled = {"login": "demo-mother", "password": desk.passwords["demo-mother"]}
    yield "records", browser.press(log_in, **filled)
    yield "records with errors", browser.press(on)
    yield "consent", browser.press(on, patient="0")
    yield "consent with errors", browser.press(approve, share="some")
    browser.press(approve, share="some", category=("11",), until="year")
    yield "applications", browser.open("/apps")
    yield (
        "stopped",
        browser.press(
            {
                "en": "Stop “Carnet de santé (démonstration)”",
                "fr": "Retirer l’accès de « Carnet de santé (démonstration) »",
            }[language]
        ),
    )
    yield "leaving", browser.open("/logout")
    yield "left", browser.press({"en": "Log out", "fr": "Se déconnecter"}[language])
    yield "expired", browser.open("/authorize/consent?request=none")
    doctor = desk.browser(language)
    doctor.open(desk.asks("launch/patient user/*.rs"))
    filled = {"login": "demo-medecin-traitant", "password": desk.passwords["demo-medecin-traitant"]}
    yield "lookup", doctor.press(log_in, **filled)
    yield "lookup with errors", doctor.press(on, ins="1", birth="2")
    yield "software", doctor.press(on, ins="279035121518989", kind="test", birth="1979-03-28")
    yield "for a professional", doctor.open("/apps")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_sound_in_both_languages(own_desk: Desk, language: str) -> None:
    """Well-formed (the browser of these tests reads nothing else), labelled, in its language, with its headers."""
    seen = {}
    for name, page in every_page(own_desk, language):
        check(name, page, language)
        check_headers(name, page)
        seen[name] = page
        if "errors" in name:
            assert page.status == 422, name
            assert page.faults, name
            title = page.root.xpath("string(//title)")
            assert title.startswith(words(language)["error_prefix"]), name
    assert len(seen) == 16


def test_both_languages_have_the_same_sentences_and_each_is_used() -> None:
    """None missing, none for nothing, with the same values in them."""
    first, second = (words(language) for language in LANGUAGES)
    assert first.keys() == second.keys()
    for name in first:
        assert re.findall(r"{(\w+)}", first[name]) == re.findall(r"{(\w+)}", second[name]), name
    sources = [*TEMPLATES, *(ROOT / "fhir_server" / "portal").glob("*.py")]
    text = " ".join(path.read_text("utf-8") for path in sources)
    families = ("login_psc", "login_fc", "lookup_nir", "lookup_nia", "lookup_test", "lookup_demo")
    terms = ("consent_day", "consent_quarter", "consent_year", "consent_always")
    for name in first:
        assert name in text or name.startswith(families) or name in terms, name


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "shown"),
    [
        ("", "", "", "fr"),
        ("en", "fr", "fr", "en"),
        ("", "en", "fr", "en"),
        ("", "", "en-GB,en;q=0.9,fr;q=0.5", "en"),
        ("", "", "de, en;q=0.3, fr;q=0.4", "fr"),
        ("", "", "de-DE", "fr"),
        ("", "", "en;q=0", "fr"),
        ("xx", "yy", ";;;,q=", "fr"),
        ("", "", "en;q=9", "fr"),
    ],
)
def test_the_language_is_the_one_asked_for(asked: str, kept: str, accepted: str, shown: str) -> None:
    """`?lang=`, then the cookie, then Accept-Language, then French."""
    assert language_of(asked, kept, accepted) == shown


def test_the_language_chosen_stays(desk: Desk) -> None:
    """By its cookie; the link to the other one keeps the request."""
    browser = desk.browser("fr")
    browser.open(desk.asks(ALL))
    page = browser.link("English")
    assert page.title == "Log in"
    assert "asks you to log in" in page.text
    assert browser.open("/login").title == "Log in"


def test_a_form_that_no_page_of_ours_made_is_refused(desk: Desk) -> None:
    """Without the token, with another browser's, with a made-up one: nothing happens."""
    password = desk.passwords["demo-patient"]
    other = desk.browser().open("/login").root.xpath("string(//input[@name='token']/@value)")
    for token in ([], [("token", "")], [("token", other)], [("token", "é")]):
        browser = desk.browser()
        browser.open("/login")
        page = browser.send("/login", [("login", "demo-patient"), ("password", password), *token])
        assert page.status == 403
        assert browser.open("/apps").title == "Log in"


def test_a_form_of_another_site_does_not_log_anybody_out(desk: Desk) -> None:
    """It comes without the cookie, and the answer sets none."""
    answer = httpx.post(f"{desk.root}/logout", data={"token": "guessed"}, headers={"Accept-Language": "en"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "not valid any more" in answer.text


def test_a_form_of_another_kind_or_size_is_refused(desk: Desk) -> None:
    """JSON, multipart, a hundred thousand bytes."""
    for more in (
        {"json": {"login": "x"}},
        {"files": {"login": b"x"}},
        {"data": {"login": "x" * 100_000}},
        {"content": b"\xff=\xff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ):
        assert 400 <= httpx.post(f"{desk.root}/login", **more).status_code < 500  # type: ignore[arg-type]


def test_the_cookie_is_changed_by_the_login_and_seen_by_no_script(desk: Desk) -> None:
    """Session fixation: a planted cookie is not the one that is logged in."""
    browser = desk.browser()
    browser.open("/login")
    planted = browser.http.cookies["login"]
    browser.log_in("demo-patient", desk.passwords["demo-patient"])
    assert browser.http.cookies["login"] != planted
    attacker = desk.browser()
    attacker.http.cookies.set("login", planted)
    assert attacker.open("/apps").title == "Log in"
    said = httpx.get(f"{desk.root}/login").headers["set-cookie"]
    assert "HttpOnly" in said
    assert "SameSite=lax" in said
    assert "Path=/" in said


def test_logging_out_ends_the_login_and_what_was_entered_by_it(own_desk: Desk) -> None:
    """Its tokens die with it; those for later (offline_access) stay until the application is stopped."""
    browser = own_desk.browser()
    browser.open(own_desk.asks("launch/patient patient/*.rs"))
    browser.log_in("demo-patient", own_desk.passwords["demo-patient"])
    browser.press("Let it in", share="all", until="day")
    token = own_desk.redeem(browser.answer["code"])["access_token"]
    assert own_desk.get(token, own_desk.house.cast["patient"]).status_code == 200
    cookie = browser.http.cookies["login"]
    browser.open("/logout")
    assert browser.press("Log out").title == "You are logged out"
    assert own_desk.get(token, own_desk.house.cast["patient"]).status_code == 401
    browser.http.cookies.set("login", cookie)
    assert browser.open("/apps").title == "Log in"


def test_wrong_passwords_are_slowed_down_on_the_page_too(own_desk: Desk) -> None:
    """429 with Retry-After, in words."""
    browser = own_desk.browser()
    browser.open("/login")
    statuses = [browser.log_in("demo-admin", "wrong").status for _ in range(5)]
    assert statuses[:3] == [401, 401, 401]
    assert statuses[-1] == 429
    assert browser.page
    assert "retry-after" in browser.page.response.headers
    assert "Too many tries" in browser.page.faults["login"]


@pytest.mark.parametrize(
    ("urls", "ends"),
    [
        ([], "'self'"),
        (["https://app.example.org/cb?x=1"], "'self' https://app.example.org"),
        (["com.example.app:/cb"], "'self' com.example.app:"),
        (["https://a.org/1", "https://a.org/2"], "'self' https://a.org"),
    ],
)
def test_a_page_names_where_its_forms_may_end(urls: list[str], ends: str) -> None:
    """Browsers hold form-action to redirects too."""
    assert policy(urls).endswith(f"form-action {ends}")


def test_a_page_that_is_not_there_is_not_there(desk: Desk) -> None:
    """And a fault of ours is a page without a trace of it."""
    assert httpx.get(f"{desk.root}/nowhere").status_code == 404
    assert httpx.get(f"{desk.root}/portal.css").headers["content-type"].startswith("text/css")


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_colours_have_contrast_in_both_schemes() -> None:
    """4.5 to 1 for text, 3 to 1 for lines of fields and focus."""
    css = Path(ROOT / "fhir_server" / "portal" / "portal.css").read_text("utf-8")
    schemes: list[dict[str, Any]] = []
    for block in re.findall(r":root \{(.*?)\}", css, re.S):
        schemes.append(dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)))
    assert len(schemes) == 2
    for colours in schemes:
        for ink in ("ink", "quiet", "accent", "fault"):
            assert _contrast(colours[ink], colours["paper"]) >= 4.5, ink
        assert _contrast(colours["ink"], colours["tint"]) >= 4.5
        assert _contrast(colours["on-accent"], colours["accent"]) >= 4.5
        assert _contrast(colours["line"], colours["paper"]) >= 3


def test_the_browser_of_these_tests_refuses_what_is_not_well_formed() -> None:
    """Else the first test here could not fail."""
    from lxml import etree

    made = Browser("http://127.0.0.1")
    with made, pytest.raises(etree.XMLSyntaxError):
        made._follow(httpx.Response(200, html="<html><p></html>", request=httpx.Request("GET", "http://127.0.0.1")))
