"""Logging in by Pro Santé Connect and FranceConnect, browser and all, against a real OpenID provider."""

from __future__ import annotations

from collections.abc import Iterator
from time import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from fhir_server.auth.accounts import Accounts
from fhir_server.auth.clients import register
from fhir_server.auth.key_pairs import key_pair
from fhir_server.context import Services
from tests.auth.outside import DOCTOR, SECRET, Outside, exercice, outside, professional
from tests.conftest import open_house
from tests.portal.browser import Browser, Page
from tests.portal.desk import Desk, open_desk
from tests.portal.soundness import check

TWO_PLACES = (
    exercice(raisonSocialeSite="Cabinet des Tilleuls"),
    exercice(raisonSocialeSite="Centre hospitalier", numeroFinessSite="990000002", codeSecteurDactivite="SA01"),
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Outside]]:
    """A desk whose server knows the provider, and the provider."""
    folder = tmp_path_factory.mktemp("outside")
    with outside(folder) as (provider, settings):
        for house in open_house(folder, **settings):
            desk = open_desk(house)
            yield desk, provider
            for each in desk.browsers:
                each.http.close()


def through(browser: Browser, at: Outside, button: str, subject: str) -> Page:
    """Press the button of a provider, log in there, and come back."""
    assert browser.page
    (door,) = [each for each in browser.page.root.iter("a") if each.text == button]
    browser.open(door.get("href"))
    assert browser.left_for.startswith(at.issuer)
    return browser.open(at.log_in(browser.left_for, subject))


def test_a_professional_with_one_exercice_comes_in(both: tuple[Desk, Outside]) -> None:
    """As the Practitioner whom the directory has under that RPPS number, in that structure."""
    desk, at = both
    at.knows(DOCTOR, **professional())
    browser = desk.browser()
    browser.open(desk.asks("openid fhirUser launch/patient user/*.rs"))
    page = through(browser, at, "Pro Santé Connect", DOCTOR)
    assert page.title == "Find the patient"
    browser.press("Continue", ins="279035121518989", kind="test", birth="1979-03-28")
    browser.press("Let it in")
    given = desk.redeem(browser.answer["code"])
    assert given["fhirUser"].endswith(desk.house.cast["medecin_traitant"])
    patient = desk.house.cast["patient"]
    assert desk.get(given["access_token"], f"DocumentReference?status=current&patient={patient}").json()["entry"]


def test_who_practises_in_several_places_chooses_one_for_the_whole_login(both: tuple[Desk, Outside]) -> None:
    """Nothing before the choice; afterwards no other; a header or a parameter changes nothing (L66)."""
    desk, at = both
    at.knows(DOCTOR, **professional(*TWO_PLACES))
    browser = desk.browser()
    browser.open(desk.asks("openid fhirUser user/*.rs"))
    page = through(browser, at, "Pro Santé Connect", DOCTOR)
    assert page.title == "Choose where you practise"
    check("exercice", page, "en")
    request = page.response.url.params["request"]
    for path in ("/authorize/consent", "/authorize/patient", "/apps"):
        assert browser.open(f"{path}?request={request}").title == "Choose where you practise"
    browser.open(f"/login/exercice?request={request}")
    assert "exercice-0" in browser.press("Continue").faults
    chosen = browser.page
    page = browser.press("Continue", exercice="1")
    assert "Centre hospitalier" in page.text
    browser.page = chosen
    again = browser.press("Continue", exercice="0")
    assert again.status == 400 or "Centre hospitalier" in again.text
    shown = browser.open(f"/authorize/consent?request={request}&exercice=0")
    assert "Centre hospitalier" in shown.text
    browser.press("Let it in")
    assert desk.redeem(browser.answer["code"])["fhirUser"].endswith(desk.house.cast["medecin_traitant"])


def test_a_professional_whom_the_directory_does_not_know_is_entered_once(both: tuple[Desk, Outside]) -> None:
    """Under the RPPS number; the second login finds the same Practitioner."""
    desk, at = both
    new = {**exercice(), "nomDexercice": "NEUF", "prenomDexercice": "Ana"}
    at.knows("new", **professional(new, rpps="99900009999"))
    users = set()
    for _ in range(2):
        browser = desk.browser()
        browser.open(desk.asks("openid fhirUser user/*.rs"))
        assert "Ana NEUF" in through(browser, at, "Pro Santé Connect", "new").text
        browser.press("Let it in")
        users.add(desk.redeem(browser.answer["code"])["fhirUser"])
    (user,) = users
    known = desk.house.admin.get(user).json()
    assert known["identifier"][0]["value"] == "99900009999"


@pytest.mark.parametrize(
    "claims",
    [professional(exercice(category="E")), professional(SubjectNameID="899900000022"), {"acr": "eidas1"}],
    ids=["a student", "two persons", "nobody"],
)
def test_claims_that_name_no_professional_are_refused(both: tuple[Desk, Outside], claims: dict[str, Any]) -> None:
    """No session is begun."""
    desk, at = both
    at.knows("odd", **claims)
    browser = desk.browser()
    browser.open("/login")
    page = through(browser, at, "Pro Santé Connect", "odd")
    assert page.status == 403
    assert browser.open("/apps").title == "Log in"


def test_a_level_that_is_not_accepted_is_refused(both: tuple[Desk, Outside]) -> None:
    """FranceConnect asks for eidas2; what is enough for one provider is not for the other."""
    desk, at = both
    at.knows("weak", acr="eidas1")
    browser = desk.browser()
    browser.open("/login")
    page = through(browser, at, "FranceConnect", "weak")
    assert page.status == 401
    assert "level of authentication" in page.text


def test_a_patient_s_first_login_is_bound_by_a_code(both: tuple[Desk, Outside]) -> None:
    """Never by who FranceConnect says they are; from the second login on no code is asked."""
    desk, at = both
    traits = {"given_name": "DOMINIQUE", "family_name": "PAT-TROIS", "birthdate": "1979-03-28", "gender": "female"}
    at.knows("fc-1", acr="eidas2", **traits)

    async def code(parts: Services) -> str:
        accounts = Accounts(parts.store.ledger, parts.passwords)
        return await accounts.enrolment_code("demo-patient", now=parts.clock())

    browser = desk.browser()
    browser.open(desk.asks("launch/patient patient/*.rs"))
    page = through(browser, at, "FranceConnect", "fc-1")
    assert page.title == "Connect FranceConnect to your record"
    check("enrolment", page, "en")
    assert browser.press("Continue", code="ABCD-EFGH-2345-6789").status == 401
    page = browser.press("Continue", code=desk.inside(code))
    assert "Record of DOMINIQUE PAT-TROIS" in page.text
    again = desk.browser()
    again.open("/login")
    assert through(again, at, "FranceConnect", "fc-1").title == "My applications"


def test_the_page_of_codes_is_for_who_comes_from_the_provider(both: tuple[Desk, Outside]) -> None:
    """Nobody tries codes without an identity to bind, nor with that of another browser."""
    desk, _ = both
    browser = desk.browser()
    assert browser.open("/login/enrol").status == 400


def test_an_answer_in_another_browser_is_refused(both: tuple[Desk, Outside]) -> None:
    """A13: an address of a callback that was sent to somebody logs nobody in."""
    desk, at = both
    at.knows(DOCTOR, **professional())
    browser = desk.browser()
    browser.open("/login")
    browser.open("/login/psc")
    back = at.log_in(browser.left_for, DOCTOR)
    victim = desk.browser()
    victim.open("/login")
    assert victim.open(back).status == 401
    assert victim.open("/apps").title == "Log in"
    assert browser.open(back).status == 401, "the state is used up"


def test_who_declines_there_can_try_again(both: tuple[Desk, Outside]) -> None:
    """A page, not a fault."""
    desk, at = both
    browser = desk.browser()
    browser.open("/login")
    browser.open("/login/psc")
    assert browser.open(at.declined(browser.left_for)).status in (401, 403)


class Software:
    """A registered LGC that exchanges tokens."""

    def __init__(self, desk: Desk, name: str, structures: list[str]) -> None:
        self.desk, self.name = desk, name
        private, public = key_pair(name)
        self.key = ECKey.import_key(private)
        registration = {
            "client_id": name,
            "client_name": name,
            "kind": "lgc",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [public]},
            "structures": structures,
            "scope": "user/*.rs system/*.rs",
        }

        async def add(parts: Services) -> None:
            await register(parts.store.ledger, parts.passwords, registration)

        desk.inside(add)

    def exchange(self, token: str, **more: str) -> httpx.Response:
        """One exchange."""
        url = f"{self.desk.root}/oauth/token"
        claims = {"iss": self.name, "sub": self.name, "aud": url, "exp": int(time()) + 60, "jti": uuid4().hex}
        header = {"alg": "ES384", "kid": self.name, "typ": "JWT"}
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "scope": "user/*.rs",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(header, claims, self.key, registry=JWSRegistry(algorithms=["ES384"])),
        }
        return httpx.post(url, data={**form, **more})


@pytest.fixture(scope="module")
def lgc(both: tuple[Desk, Outside]) -> Software:
    """Software of the cabinet."""
    return Software(both[0], "lgc-cabinet", ["1990000001"])


def token_of(at: Outside, subject: str = DOCTOR) -> str:
    """An access token of the provider, for the client `us`."""
    challenge = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    back = "https://lgc.example.org/callback"
    asked = f"response_type=code&client_id=us&scope=openid&state=s&nonce=n&redirect_uri={back}"
    url = f"/oauth2/authorize?{asked}&code_challenge_method=S256&code_challenge={challenge}"
    code = httpx.URL(at.log_in(url, subject)).params["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "client_id": "us"}
    given = at.http.post("/oauth2/token", data={**form, "code_verifier": "", "client_secret": SECRET})
    return str(given.json()["access_token"])


def test_a_token_of_pro_sante_connect_is_exchanged_for_ours(both: tuple[Desk, Outside], lgc: Software) -> None:
    """For ten minutes at the most; it reads as that professional, by that software."""
    desk, at = both
    at.knows(DOCTOR, **professional())
    at.lies()
    answer = lgc.exchange(token_of(at))
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert (given["expires_in"], given["scope"]) == (600, "user/*.rs")
    assert given["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    patient = desk.house.cast["patient"]
    assert desk.get(given["access_token"], f"DocumentReference?status=current&patient={patient}").json()["entry"]
    log = desk.house.patient.get(f"AuditEvent?patient={patient}&_count=3").text
    assert "lgc-cabinet" in log


def test_an_exchanged_token_ends_with_the_registration(both: tuple[Desk, Outside]) -> None:
    """Like every other that the client was given."""
    desk, at = both
    at.knows(DOCTOR, **professional())
    at.lies()
    token = Software(desk, "lgc-leaving", ["1990000001"]).exchange(token_of(at)).json()["access_token"]
    url, patient = f"{desk.root}/admin/clients/lgc-leaving", desk.house.cast["patient"]
    assert desk.get(token, patient).status_code == 200
    assert desk.house.admin.request("DELETE", url).status_code == 204
    assert desk.get(token, patient).status_code == 401


def test_ours_never_outlives_theirs(both: tuple[Desk, Outside], lgc: Software) -> None:
    """A token with ninety seconds left gives one of no more."""
    _, at = both
    at.knows(DOCTOR, **professional())
    token = token_of(at)
    at.lies(introspection={"exp": int(time()) + 90})
    try:
        assert 80 <= lgc.exchange(token).json()["expires_in"] <= 90
    finally:
        at.lies()


def test_an_exchange_that_is_not_sound_gives_nothing(both: tuple[Desk, Outside], lgc: Software) -> None:
    """An unknown token, another type of token, several exercices, a structure that the client does not have (L68)."""
    desk, at = both
    at.knows(DOCTOR, **professional())
    assert lgc.exchange("unknown").json()["error"] == "invalid_grant"
    assert lgc.exchange(token_of(at), subject_token_type="id_token").json()["error"] == "invalid_request"
    assert lgc.exchange(token_of(at), scope="user/*.cruds patient/*.rs").json()["scope"] == "user/*.rs"
    assert lgc.exchange(token_of(at), scope="").json()["error"] == "invalid_scope"
    elsewhere = Software(desk, "lgc-elsewhere", ["1990000005"])
    assert elsewhere.exchange(token_of(at)).json()["error"] == "access_denied"
    at.knows(DOCTOR, **professional(*TWO_PLACES))
    assert lgc.exchange(token_of(at)).json()["error"] == "invalid_grant"


def test_a_program_of_patients_exchanges_nothing(both: tuple[Desk, Outside]) -> None:
    """It is software of professionals that may."""
    desk, at = both
    at.knows(DOCTOR, **professional())
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token_of(at),
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scope": "user/*.rs",
        "client_id": "demo-app",
    }
    answer = httpx.post(f"{desk.root}/oauth/token", data=form)
    assert answer.json()["error"] == "unauthorized_client"
