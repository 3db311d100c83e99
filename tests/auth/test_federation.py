"""Logging in elsewhere, against a real OpenID provider: it is believed only when all that it says fits (access §1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from fhir_server.app import system_clock
from fhir_server.auth.federation import Federation, Identity, Refused
from fhir_server.auth.outbound import Outbound
from fhir_server.auth.providers import providers
from fhir_server.context import Clock
from fhir_server.errors import Forbidden, Unauthenticated, Unavailable
from fhir_server.settings import Settings
from fhir_server.storage import open_store
from tests.auth.outside import DOCTOR, SECRET, Outside, outside, professional

BACK = "https://record.example.org/login/psc/callback"
BROWSER = "b" * 43
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outside, Settings]]:
    """The provider, with a doctor in it, and the settings that name it."""
    with outside(tmp_path_factory.mktemp("outside")) as (made, settings):
        made.knows(DOCTOR, **professional())
        yield made, replace(Settings(), **settings)


@pytest.fixture
def truthful(provider: tuple[Outside, Settings]) -> Iterator[tuple[Outside, Settings]]:
    """The same, telling the truth before and after."""
    provider[0].lies()
    yield provider
    provider[0].lies()


Story = Callable[[Federation], Awaitable[Any]]


def play(folder: Path, settings: Settings, story: Story, *, clock: Clock = system_clock) -> Any:
    """A story with a federation on a new store."""

    async def go() -> Any:
        store = open_store(str(folder / "store.db"), clock=clock)
        try:
            made = Federation(providers(settings)["psc"], store.ledger, BACK, Outbound(settings))
            return await story(made)
        finally:
            await store.close()

    return asyncio.run(go())


async def there_and_back(federation: Federation, at: Outside, subject: str = DOCTOR) -> dict[str, str]:
    """Log in; what the browser brings back."""
    url = await federation.begin(browser=BROWSER, carry="request-1", now=system_clock())
    back = await asyncio.to_thread(at.log_in, url, subject)
    assert back.startswith(BACK + "?")
    return dict(parse_qsl(urlsplit(back).query))


async def logged_in(federation: Federation, at: Outside, subject: str = DOCTOR) -> Identity:
    """The identity of a whole login."""
    return await federation.finish(await there_and_back(federation, at, subject), browser=BROWSER, now=system_clock())


def test_a_login_brings_back_who_it_was(tmp_path: Path, truthful: tuple[Outside, Settings]) -> None:
    """The claims of id_token and userinfo, the level, what was carried; the provider checked PKCE and our secret."""
    at, settings = truthful
    found = play(tmp_path, settings, lambda federation: logged_in(federation, at))
    assert (found.subject, found.acr, found.carried, found.issuer) == (DOCTOR, "eidas1", "request-1", at.issuer)
    assert found.claims["SubjectNameID"] == "899900000011"


def test_the_browser_is_sent_with_all_that_protects_the_answer(
    tmp_path: Path, truthful: tuple[Outside, Settings]
) -> None:
    """state, nonce, S256 and the levels wanted; none of them twice the same, none kept in the clear."""
    _, settings = truthful

    async def story(federation: Federation) -> None:
        asked = []
        for _ in range(2):
            url = await federation.begin(browser=BROWSER, carry="", now=system_clock())
            asked.append({name: value for name, (value,) in parse_qs(urlsplit(url).query).items()})
        for each in asked:
            assert each["code_challenge_method"] == "S256"
            assert each["acr_values"] == "eidas1 eidas3"
            assert each["redirect_uri"] == BACK
        for name in ("state", "nonce", "code_challenge"):
            assert asked[0][name] != asked[1][name]
            assert len(asked[0][name]) == 43
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert asked[0]["state"].encode() not in kept
        assert BROWSER.encode() not in kept

    play(tmp_path, settings, story)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "x" * 43},
        {"state": ""},
        {"state": None},
        {"iss": "https://another.example.org"},
    ],
    ids=str,
)
def test_an_answer_with_another_state_or_issuer_is_refused(
    tmp_path: Path, truthful: tuple[Outside, Settings], change: dict[str, str | None]
) -> None:
    """A12, A13: altered, empty, missing; an issuer that is not the one that was asked."""
    at, settings = truthful

    async def story(federation: Federation) -> None:
        query = {**await there_and_back(federation, at), **change}
        given = {name: value for name, value in query.items() if value is not None}
        with pytest.raises(Refused):
            await federation.finish(given, browser=BROWSER, now=system_clock())

    play(tmp_path, settings, story)


def test_a_state_is_good_once_in_its_own_browser_for_ten_minutes(
    tmp_path: Path, truthful: tuple[Outside, Settings]
) -> None:
    """Not twice, not elsewhere, not later, and not at another provider's callback."""
    at, settings = truthful
    late = [0]

    async def story(federation: Federation) -> None:
        other = Federation(replace(federation.provider, name="fc"), federation._ledger, BACK, Outbound(settings))
        for browser, wait, asked in (("c" * 43, 0, federation), (BROWSER, 0, other), (BROWSER, 11, federation)):
            query = await there_and_back(federation, at)
            late[0] = wait * MINUTE
            with pytest.raises(Refused):
                await asked.finish(query, browser=browser, now=system_clock())
            late[0] = 0
        query = await there_and_back(federation, at)
        await federation.finish(query, browser=BROWSER, now=system_clock())
        with pytest.raises(Refused):
            await federation.finish(query, browser=BROWSER, now=system_clock())

    play(tmp_path, settings, story, clock=lambda: system_clock() + late[0])


NOW = system_clock() // 1_000_000
LIES: dict[str, dict[str, Any]] = {
    "another nonce": {"claims": {"nonce": "n" * 43}},
    "no nonce": {"claims": {"nonce": None}},
    "another issuer": {"claims": {"iss": "https://another.example.org"}},
    "no issuer": {"claims": {"iss": None}},
    "another audience": {"claims": {"aud": ["them"]}},
    "more audiences and no azp": {"claims": {"aud": ["us", "them"]}},
    "another azp": {"claims": {"azp": "them"}},
    "no audience": {"claims": {"aud": None}},
    "expired": {"claims": {"exp": NOW - 3_600}},
    "no end": {"claims": {"exp": None}},
    "an end that is text": {"claims": {"exp": str(NOW + 3_600)}},
    "an end that is true": {"claims": {"exp": True}},
    "from the future": {"claims": {"iat": NOW + 3_600}},
    "no subject": {"claims": {"sub": None}},
    "another subject": {"claims": {"sub": "somebody else"}},
    "a subject that is a number": {"claims": {"sub": 12}},
    "a level that is not accepted": {"claims": {"acr": "eidas0"}},
    "levels as a list": {"claims": {"acr": ["eidas1"]}},
    "signed by nobody": {"signed": "none"},
    "signed with another key": {"signed": "other"},
    "HS256 with the public key": {"signed": "pem"},
    "HS256 with the public key in DER": {"signed": "der"},
    "userinfo of another": {"userinfo": {"sub": "somebody else"}},
    "userinfo of nobody": {"userinfo": {"sub": None}},
    "answered as another issuer": {"iss": "https://another.example.org"},
}


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_what_does_not_fit_is_refused(tmp_path: Path, truthful: tuple[Outside, Settings], lie: str) -> None:
    """A01, A02, A12 and their kind, each made by the provider itself."""
    at, settings = truthful

    async def story(federation: Federation) -> None:
        await asyncio.to_thread(lambda: at.lies(**LIES[lie]))
        with pytest.raises(Unauthenticated):
            await logged_in(federation, at)

    play(tmp_path, settings, story)


def test_the_same_login_without_the_lie_is_accepted(tmp_path: Path, truthful: tuple[Outside, Settings]) -> None:
    """The tests above fail for the lie, and not for the way it is told: one that changes nothing passes."""
    at, settings = truthful
    for honest in ({"claims": {}}, {"signed": "own"}, {"claims": {"azp": "us"}}, {"iss": at.issuer}):
        at.lies(**honest)
        assert play(tmp_path, settings, lambda federation: logged_in(federation, at)).subject == DOCTOR


def test_a_provider_that_says_its_answers_carry_iss_is_held_to_it(
    tmp_path: Path, truthful: tuple[Outside, Settings]
) -> None:
    """RFC 9207 §2.4."""
    at, settings = truthful
    at.lies(metadata={"authorization_response_iss_parameter_supported": True})
    with pytest.raises(Refused):
        play(tmp_path, settings, lambda federation: logged_in(federation, at))


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://another.example.org"},
        {"token_endpoint": "http://another.example.org/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": 7},
    ],
    ids=str,
)
def test_metadata_that_is_not_of_that_issuer_is_not_used(
    tmp_path: Path, truthful: tuple[Outside, Settings], metadata: dict[str, Any]
) -> None:
    """OpenID Connect Discovery §4.3; nothing is sent in the clear to another host."""
    at, settings = truthful
    at.lies(metadata=metadata)
    with pytest.raises(Unavailable):
        play(tmp_path, settings, lambda federation: logged_in(federation, at))


def test_who_declines_there_is_not_let_in_here(tmp_path: Path, truthful: tuple[Outside, Settings]) -> None:
    """The provider's error is an answer, with its state."""
    at, settings = truthful

    async def story(federation: Federation) -> None:
        url = await federation.begin(browser=BROWSER, carry="", now=system_clock())
        back = await asyncio.to_thread(at.declined, url)
        state = dict(parse_qsl(urlsplit(url).query))["state"]
        with pytest.raises(Forbidden):
            await federation.finish(
                {**dict(parse_qsl(urlsplit(back).query)), "state": state}, browser=BROWSER, now=system_clock()
            )

    play(tmp_path, settings, story)


def test_a_provider_that_does_not_answer_is_unavailable(tmp_path: Path, truthful: tuple[Outside, Settings]) -> None:
    """And nothing else."""
    _, settings = truthful
    gone = replace(settings, psc_issuer="http://127.0.0.1:9")

    async def story(federation: Federation) -> None:
        with pytest.raises(Unavailable):
            await federation.begin(browser=BROWSER, carry="", now=system_clock())

    play(tmp_path, gone, story)


async def token_of(at: Outside, settings: Settings) -> str:
    """An access token that the provider has given to the client `us`."""

    def fetch() -> str:
        challenge = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        asked = "response_type=code&client_id=us&scope=openid&state=s&nonce=n&code_challenge_method=S256"
        url = f"/oauth2/authorize?{asked}&code_challenge={challenge}&redirect_uri={BACK}"
        code = dict(parse_qsl(urlsplit(at.log_in(url, DOCTOR)).query))["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "client_id": "us"}
        given = at.http.post("/oauth2/token", data={**form, "code_verifier": "", "client_secret": SECRET})
        return str(given.json()["access_token"])

    return await asyncio.to_thread(fetch)


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ({}, True),
        ({"client_id": "them"}, False),
        ({"client_id": None, "azp": "us"}, True),
        ({"client_id": None}, False),
        ({"active": "true"}, False),
        ({"exp": NOW - 1}, False),
        ({"exp": None}, False),
        ({"exp": str(NOW + 900)}, False),
        ({"sub": "somebody else"}, False),
        ({"acr": "eidas0"}, False),
        ({"iss": "https://another.example.org"}, False),
    ],
)
def test_an_access_token_is_examined_where_it_comes_from(
    tmp_path: Path, truthful: tuple[Outside, Settings], said: dict[str, Any], good: bool
) -> None:
    """Active, of a client that is accepted, of a level that is, not expired, and of the person userinfo tells of."""
    at, settings = truthful

    async def story(federation: Federation) -> bool:
        token = await token_of(at, settings)
        await asyncio.to_thread(lambda: at.lies(introspection=said))
        try:
            found = await federation.examine(token, now=system_clock())
        except Refused:
            return False
        return found.subject == DOCTOR and found.expires > system_clock()

    assert play(tmp_path, settings, story) is good


def test_a_token_that_the_provider_does_not_know_is_refused(tmp_path: Path, truthful: tuple[Outside, Settings]) -> None:
    """active: false."""
    _, settings = truthful

    async def story(federation: Federation) -> None:
        with pytest.raises(Refused):
            await federation.examine("unknown", now=system_clock())

    play(tmp_path, settings, story)
