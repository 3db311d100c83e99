"""What every request passes: headers, scripts of other origins, limits (access §9; A16, A20, L66)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import register
from fhir_server.auth.passwords import Passwords
from fhir_server.demo.build import Cast
from tests.conftest import House, open_house
from tests.live import running

THROTTLED = '"interaction":"throttled"', '"interaction":"read"'
APP, STRANGER = "https://app.example", "https://evil.example"
REGISTRATION = {
    "client_id": "browser-app",
    "client_name": "Une application",
    "kind": "app",
    "token_endpoint_auth_method": "none",
    "redirect_uris": [f"{APP}/after-login"],
    "scope": "openid patient/*.rs",
}


def known(house: House) -> None:
    """Register the application."""

    async def enter() -> None:
        async with services(house.settings) as parts:
            await register(parts.store.ledger, Passwords(), REGISTRATION)

    asyncio.run(enter())


@pytest.fixture(scope="module")
def origins_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house that knows one application in a browser."""
    for house in open_house(tmp_path_factory.mktemp("origins")):
        known(house)
        yield house


def allowed(answer: httpx.Response) -> str | None:
    """The origin that may read an answer."""
    return answer.headers.get("access-control-allow-origin")


# Scripts of other origins


@pytest.mark.parametrize("path", ["/fhir/metadata", "/fhir/.well-known/smart-configuration"])
@pytest.mark.parametrize("origin", [APP, STRANGER, "null"])
def test_a20_how_to_talk_to_this_server_may_be_read_from_anywhere(origins_house: House, path: str, origin: str) -> None:
    """A20: the statement and the .well-known documents, for any origin."""
    root = origins_house.base.removesuffix("/fhir")
    answer = httpx.get(root + path, headers={"Origin": origin})
    assert answer.status_code == 200
    assert allowed(answer) == "*"
    asked = httpx.options(root + path, headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
    assert (asked.status_code, allowed(asked)) == (204, "*")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/fhir/Patient"), ("POST", "/fhir/Observation"), ("POST", "/oauth/token"), ("POST", "/oauth/revoke")],
)
def test_a20_records_and_tokens_are_for_scripts_of_registered_applications(
    origins_house: House, method: str, path: str
) -> None:
    """A20: exactly their origins; refusals can be read by them too; no cookies are ever let along."""
    url = origins_house.base.removesuffix("/fhir") + path
    preflight = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    for origin in (APP, APP.upper()):
        for answer in (
            httpx.request(method, url, headers={"Origin": origin}),
            httpx.options(url, headers={"Origin": origin, **preflight}),
        ):
            assert allowed(answer) == origin
            assert answer.headers["vary"].lower() == "origin"
            assert "access-control-allow-credentials" not in answer.headers
        assert answer.status_code == 204
        assert method in answer.headers["access-control-allow-methods"]
        assert "Authorization" in answer.headers["access-control-allow-headers"]
    for origin in (STRANGER, "null", APP + ".evil.example", "http://app.example", f"{APP}:8443"):
        assert allowed(httpx.request(method, url, headers={"Origin": origin})) is None
        asked = httpx.options(url, headers={"Origin": origin, **preflight})
        assert (asked.status_code, allowed(asked)) == (403, None)


@pytest.mark.parametrize("path", ["/login", "/admin/clients", "/health/live", "/oauth/authorize"])
def test_pages_and_administration_are_for_no_other_origin(origins_house: House, path: str) -> None:
    """Nor is what only programs on servers use."""
    url = origins_house.base.removesuffix("/fhir") + path
    assert allowed(httpx.get(url, headers={"Origin": APP})) is None


def test_what_asks_for_no_permission_is_no_preflight(origins_house: House) -> None:
    """OPTIONS without the header of a preflight is a method like others."""
    answer = httpx.options(f"{origins_house.base}/metadata", headers={"Origin": APP})
    assert answer.status_code == 405


# Headers


def test_over_https_every_answer_says_so_for_a_year(tmp_path: Path) -> None:
    """HSTS, where the public address is https, on whatever leaves; not elsewhere, where it would mean nothing."""
    with running(tmp_path, base_url="https://dossier.example/fhir") as settings:
        root = f"http://{settings.host}:{settings.port}"
        for path in ("/fhir/metadata", "/fhir/Patient/x", "/health/live", "/login", "/nowhere"):
            answer = httpx.get(root + path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains", path


def test_every_answer_is_not_kept_not_guessed_at_and_has_no_banner(origins_house: House) -> None:
    """no-store, nosniff, no Server; pages, tokens and refusals too. (Discovery documents may be kept for minutes.)"""
    root = origins_house.base.removesuffix("/fhir")
    for method, path in (
        ("GET", "/fhir/metadata"),
        ("GET", "/fhir/Patient/x"),
        ("POST", "/oauth/token"),
        ("GET", "/login"),
        ("GET", "/nowhere"),
        ("OPTIONS", "/fhir/Patient"),
    ):
        answer = httpx.request(method, root + path)
        assert "no-store" in answer.headers["cache-control"], path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers


def test_content_is_handed_over_inert(origins_house: House) -> None:
    """An attachment is saved and never shown in this origin, whatever it says that it is."""
    page = b"<html><script>alert(1)</script></html>"
    doctor = origins_house.other_doctor
    made = doctor.request("POST", "Binary", content=page, headers={"Content-Type": "text/html"})
    link = made.headers["location"].split("/fhir/")[1].partition("/_history")[0]
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "subject": {"reference": origins_house.cast["patient"]},
        "content": [{"attachment": {"contentType": "text/html", "url": link}}],
    }
    kept = doctor.post("DocumentReference", document)
    assert kept.status_code == 201, kept.text
    answer = doctor.get(link, Accept="text/html")
    assert answer.content == page
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


# Limits at the door


def test_one_person_who_asks_too_much_is_told_to_wait_and_others_are_not(tmp_path: Path) -> None:
    """429 with Retry-After and an outcome of code throttled. Of a flood of refusals the log has one line."""
    for house in open_house(tmp_path, rate_subject=40):
        answers = [house.patient.get(house.cast["patient"]) for _ in range(60)]
        refused = [each for each in answers if each.status_code == 429]
        assert {each.status_code for each in answers} == {200, 429}
        assert answers[0].status_code == 200
        assert int(refused[0].headers["retry-after"]) >= 1
        assert refused[0].json()["issue"][0]["code"] == "throttled"
        assert house.medecin_traitant.get(house.cast["patient"]).status_code == 200
        with sqlite3.connect(house.settings.store.removeprefix("sqlite:")) as file:
            count = "SELECT count(*) FROM audit WHERE CAST(body AS TEXT) LIKE ?"
            [(lines,), (reads,)] = (file.execute(count, (f"%{each}%",)).fetchone() for each in THROTTLED)
        file.close()
        passed = len(answers) - len(refused)
        assert reads == passed + 1
        assert 1 <= lines < len(refused)


def test_an_address_that_asks_too_much_is_refused_before_its_token_is_looked_at(tmp_path: Path) -> None:
    """Whether the server lives may still be asked; a forwarded address is not believed."""
    with running(tmp_path, rate_address=20) as settings, httpx.Client(base_url=settings.fhir_base + "/") as http:
        answers = [http.get("Patient/x", headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(30)]
        assert [each.status_code for each in answers] == [401] * 20 + [429] * 10
        assert answers[-1].headers["retry-after"]
        root = settings.fhir_base.removesuffix("/fhir")
        assert http.get(root + "/health/live").status_code == 204
        assert http.get(root + "/login").status_code == 429


def test_a_patient_is_looked_for_by_identity_a_few_times_a_minute(tmp_path: Path) -> None:
    """The limit on searches by INS: whoever tries numbers is stopped, and reads on."""
    for house in open_house(tmp_path, rate_lookup=5):
        query = "Patient?identifier=urn:oid:1.2.250.1.213.1.4.10|{}&birthdate=1979-03-28"
        codes = [house.other_doctor.get(query.format(279035121518900 + n)).status_code for n in range(8)]
        assert codes == [200] * 5 + [429] * 3
        assert house.medecin_traitant.get(house.cast["patient"]).status_code == 200


def test_a_professional_who_goes_through_many_records_is_stopped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Anti-snooping: the records that are new in this hour are counted; known ones stay open; a deposit is no look.
    The alert names the professional and no patient."""

    def guests(cast: Cast) -> Mapping[str, Actor]:
        return {}

    for house in open_house(tmp_path, guests, new_patients=2):
        mine = house.cast["patient"]
        others = []
        for number in range(4):
            made = house.admin.post("Patient", {"resourceType": "Patient", "birthDate": f"19{number}0-01-01"})
            assert made.status_code == 201, made.text
            others.append(made.headers["location"].split("/fhir/")[1].partition("/_history")[0])
        doctor = house.medecin_traitant
        assert doctor.get(mine).status_code == 200
        codes = [doctor.get(f"Observation?patient={each}").status_code for each in others]
        assert codes == [200, 429, 429, 429]
        assert doctor.get(mine).status_code == 200
        note = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": others[3]},
        }
        assert doctor.post("Observation", note).status_code == 201
        refused = house.admin.get(f"AuditEvent?patient={others[2]}")
        assert refused.status_code in (200, 403)
    told = capfd.readouterr()
    alerts = [line for line in (told.out + told.err).splitlines() if "anti-snooping" in line]
    assert alerts
    assert all(each.partition("/")[2] not in "".join(alerts) for each in [mine, *others])
