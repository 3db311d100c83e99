"""A person is asked to let a program in, and answers once (access §1, SMART App Launch 2.2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.auth.authorize import AuthorizationRequest, SentBack, approve, ask, deny, pending
from fhir_server.auth.clients import register
from fhir_server.auth.launches import Launch, make_launch
from fhir_server.auth.passwords import Passwords
from fhir_server.auth.refusals import Refused
from fhir_server.storage.interface import Ledger
from tests.ledgers import Time, with_ledger
from tests.oauth import CHALLENGE, HOME, app

ISSUER, FHIR = "https://here", "https://here/fhir"
USUAL = {
    "response_type": "code",
    "client_id": "app",
    "redirect_uri": HOME,
    "scope": "openid fhirUser launch/patient patient/*.rs",
    "state": "s",
    "aud": FHIR,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
PATIENT = Actor("patient", "Patient/p", "P", "j", frozenset({"Patient/p"}), ("p",), session="login")
DOCTOR = Actor("ps", "Practitioner/d", "Dr D", "j", frozenset({"rpps:1"}), profession="10", session="login")


async def asks(ledger: Ledger, time: Time, **more: Any) -> str:
    """The id of a request; a parameter given as None is left out."""
    given = {name: value for name, value in (USUAL | more).items() if value is not None}
    return await ask(ledger, given, issuer=ISSUER, audience=FHIR, now=time.now)


async def waits(ledger: Ledger, id: str, time: Time) -> AuthorizationRequest:
    """The request, which waits."""
    request = await pending(ledger, id, now=time.now)
    assert request
    return request


async def says_yes(ledger: Ledger, id: str, who: Actor, time: Time, patient: str = "p", **more: Any) -> dict[str, str]:
    """What the program is sent back with."""
    request = await waits(ledger, id, time)
    scopes = more.get("scopes", request.scopes)
    url = await approve(ledger, id, who, patient=patient, scopes=scopes, auth_time=time.now, now=time.now)
    return dict(parse_qsl(urlsplit(url).query))


async def registered(ledger: Ledger, **more: Any) -> None:
    """The client."""
    await register(ledger, Passwords(), app(**more))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://evil.example"}, "request_not_supported"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://other/fhir"}, "invalid_request"),
        ({"aud": ISSUER}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "patient/*.sr"}, "invalid_scope"),
        ({"scope": "patient/*.rs nonsense"}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "openid profile"}, None),
        ({"scope": "launch patient/*.rs"}, "invalid_request"),
        ({"scope": "launch patient/*.rs", "launch": "x"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "maybe"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"aud": FHIR + "/"}, None),
        ({"prompt": "login consent", "max_age": "0"}, None),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_request_is_told_to_the_program(
    tmp_path: Path, given: dict[str, Any], error: str | None
) -> None:
    """At its own address, with state and iss, in the codes of RFC 6749."""

    async def story(ledger: Ledger, time: Time) -> None:
        await registered(ledger)
        if error is None:
            assert await pending(ledger, await asks(ledger, time, **given), now=time.now)
            return
        with pytest.raises(SentBack) as back:
            await asks(ledger, time, **given)
        assert back.value.url.startswith(HOME + "?")
        said = dict(parse_qsl(urlsplit(back.value.url).query))
        assert (said["error"], said["state"], said["iss"]) == (error, "s", ISSUER)

    with_ledger(tmp_path, story)


def test_scopes_are_cut_to_what_the_client_is_registered_for(tmp_path: Path) -> None:
    """And refused where nothing is left of what was asked for."""

    async def story(ledger: Ledger, time: Time) -> None:
        await registered(ledger, scope="openid patient/Observation.rs")
        request = await waits(ledger, await asks(ledger, time), time)
        assert request.scopes == ("openid", "patient/Observation.rs")
        assert request.needs_patient
        for nothing in ("fhirUser", "user/*.rs openid"):
            with pytest.raises(SentBack) as back:
                await asks(ledger, time, scope=nothing)
            assert "invalid_scope" in back.value.url

    with_ledger(tmp_path, story)


def test_a_request_waits_ten_minutes_and_is_answered_once(tmp_path: Path) -> None:
    """Yes or no; after that it is not waiting."""

    async def story(ledger: Ledger, time: Time) -> None:
        await registered(ledger)
        for answer in ("yes", "no", "late"):
            id = await asks(ledger, time)
            time.passes(599)
            if answer == "yes":
                assert {"code", "state", "iss"} == (await says_yes(ledger, id, PATIENT, time)).keys()
            elif answer == "no":
                url = await deny(ledger, id, error="login_required")
                assert dict(parse_qsl(urlsplit(url).query)) == {"error": "login_required", "state": "s", "iss": ISSUER}
            else:
                time.passes(1)
            assert await pending(ledger, id, now=time.now) is None
            with pytest.raises(Refused):
                await deny(ledger, id)
            with pytest.raises(Refused):
                await approve(ledger, id, PATIENT, patient="p", scopes=("openid",), auth_time=0, now=time.now)

    with_ledger(tmp_path, story)


def test_an_address_with_a_query_keeps_it(tmp_path: Path) -> None:
    """What is answered is added."""

    async def story(ledger: Ledger, time: Time) -> None:
        uri = HOME + "?tenant=a"
        await registered(ledger, redirect_uris=[uri])
        url = await deny(ledger, await asks(ledger, time, redirect_uri=uri))
        assert url.startswith(uri + "&error=access_denied")

    with_ledger(tmp_path, story)


@pytest.mark.parametrize(
    ("scopes", "patient"),
    [
        ((), "p"),
        (("patient/*.cruds",), "p"),
        (("offline_access", "patient/*.rs"), "p"),
        (("patient/*.rs",), ""),
        (("launch/patient", "openid"), ""),
        (("patient/*.rs",), "another"),
    ],
)
def test_a_page_that_grants_what_it_may_not_is_a_fault(tmp_path: Path, scopes: tuple[str, ...], patient: str) -> None:
    """No scopes, more than asked for, no patient where one is needed, a record that is not this person's."""

    async def story(ledger: Ledger, time: Time) -> None:
        await registered(ledger)
        id = await asks(ledger, time)
        with pytest.raises(ValueError):
            await approve(ledger, id, PATIENT, patient=patient, scopes=scopes, auth_time=0, now=time.now)

    with_ledger(tmp_path, story)


def test_nobody_else_lets_programs_in(tmp_path: Path) -> None:
    """Neither an administrator nor software."""

    async def story(ledger: Ledger, time: Time) -> None:
        await registered(ledger)
        for role in ("admin", "app", "lgc", "ncp"):
            who = replace(PATIENT, role=role)
            with pytest.raises(ValueError):
                await says_yes(ledger, await asks(ledger, time), who, time)

    with_ledger(tmp_path, story)


def test_a_launch_is_for_one_program_one_person_once(tmp_path: Path) -> None:
    """The patient of the launch is the patient of the token, whatever a page says."""

    async def story(ledger: Ledger, time: Time) -> None:
        await registered(ledger)
        await register(ledger, Passwords(), app("other"))
        given = {"scope": "launch patient/*.rs"}

        async def word() -> str:
            return await make_launch(ledger, Launch("app", DOCTOR.reference, "p7", banner=False), now=time.now)

        launch = await word()
        with pytest.raises(SentBack):
            await asks(ledger, time, client_id="other", launch=launch, **given)
        request = await waits(ledger, await asks(ledger, time, launch=launch, **given), time)
        assert (request.user, request.patient, request.banner) == (DOCTOR.reference, "p7", False)
        assert not request.needs_patient
        with pytest.raises(SentBack):
            await asks(ledger, time, launch=launch, **given)
        id = await asks(ledger, time, launch=await word(), **given)
        assert "code" in await says_yes(ledger, id, DOCTOR, time, patient="p8")
        id = await asks(ledger, time, launch=await word(), **given)
        assert (await says_yes(ledger, id, replace(DOCTOR, reference="Practitioner/e"), time))[
            "error"
        ] == "access_denied"
        late = await word()
        time.passes(300)
        with pytest.raises(SentBack):
            await asks(ledger, time, launch=late, **given)

    with_ledger(tmp_path, story)


def test_a_program_that_is_gone_gets_nothing(tmp_path: Path) -> None:
    """Unknown at the start, or forgotten while somebody was deciding."""

    async def story(ledger: Ledger, time: Time) -> None:
        with pytest.raises(Refused):
            await asks(ledger, time)
        await registered(ledger)
        id = await asks(ledger, time)
        await ledger.delete("client", "app")
        with pytest.raises(Refused):
            await says_yes(ledger, id, PATIENT, time)

    with_ledger(tmp_path, story)
