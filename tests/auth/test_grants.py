"""From a code to the last token that comes of it: one use, one family, one end (access §1)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client
from fhir_server.auth.grants import (
    ACCESS,
    CODE,
    OFFLINE,
    ONLINE,
    SECOND,
    Given,
    acting,
    exchange_code,
    exchange_refresh,
    give_code,
    revoke_app,
    revoke_client,
    revoke_refresh,
)
from fhir_server.auth.refusals import Refused
from fhir_server.auth.tokens import ACCOUNT, amend, end_session, holder
from fhir_server.storage.interface import Ledger
from tests.ledgers import Time, with_ledger
from tests.oauth import CHALLENGE, HOME, VERIFIER

APP = Client("app", "Carnet", "app", "none", (HOME,))
OWN = replace(APP, id="own", first_party=True)
PATIENT = Actor("patient", "Patient/p", "P", "j", frozenset({"Patient/p"}), ("p",), session="login", acr="eidas2")
DOCTOR = Actor(
    "ps",
    "Practitioner/d",
    "Dr D",
    "j",
    frozenset({"rpps:1", "org:2"}),
    profession="10",
    structure="2",
    session="login",
    openings=("consult|p|9",),
)
SCOPES = ("launch/patient", "patient/*.rs", "offline_access")


async def code(ledger: Ledger, time: Time, client: Client = APP, **more: Any) -> str:
    """A code."""
    given: dict[str, Any] = {
        "patient": "p",
        "scopes": SCOPES,
        "banner": True,
        "nonce": "n",
        "redirect_uri": HOME,
        "challenge": CHALLENGE,
        "auth_time": time.now,
        "now": time.now,
    }
    return await give_code(ledger, client, more.pop("person", PATIENT), **given | more)


async def redeemed(ledger: Ledger, code: str, time: Time, client: Client = APP) -> Given:
    """What it gives."""
    return await exchange_code(ledger, client, code, redirect_uri=HOME, verifier=VERIFIER, now=time.now)


async def refreshed(ledger: Ledger, token: str, time: Time, scope: str = "", client: Client = APP) -> Given:
    """What it gives."""
    return await exchange_refresh(ledger, client, token, scope=scope, now=time.now)


async def refused(giving: Any, code: str = "invalid_grant") -> None:
    """It is not given."""
    with pytest.raises(Refused) as refusal:
        await giving
    assert refusal.value.code == code


def test_an_application_acts_as_itself_within_who_let_it_in() -> None:
    """Its keys are its own; the person stands beside it."""
    actor = acting(APP, PATIENT, patient="p", scopes=SCOPES)
    expected = Actor(
        "app",
        "Device/app",
        "Carnet",
        "",
        frozenset({"client:app"}),
        ("p",),
        "patient",
        "Patient/p",
        client="app",
        software="Carnet",
        purpose="PATRQT",
        acr="eidas2",
        scopes=SCOPES,
        session=actor.session,
    )
    assert actor == expected
    assert actor.session not in ("", "login")


def test_a_professional_s_application_is_the_professional() -> None:
    """With scopes, in a session of its own, in which nothing has been declared."""
    actor = acting(APP, DOCTOR, patient="p", scopes=("user/*.rs",))
    keys = DOCTOR.keys | {"client:app"}
    assert actor == replace(
        DOCTOR,
        keys=keys,
        patients=("p",),
        client="app",
        software="Carnet",
        scopes=("user/*.rs",),
        session=actor.session,
        jti="",
        openings=(),
    )


def test_a_first_party_client_is_the_person() -> None:
    """Role, keys and records are theirs; the record that was chosen, where one was."""
    two = replace(PATIENT, role="rep", patients=("p", "q"))
    assert acting(OWN, two, patient="", scopes=SCOPES).patients == ("p", "q")
    actor = acting(OWN, two, patient="q", scopes=SCOPES)
    assert (actor.role, actor.reference, actor.keys, actor.patients) == ("rep", "Patient/p", two.keys, ("q",))


def test_a_code_gives_tokens_once_within_a_minute(tmp_path: Path) -> None:
    """For its client, its address, its verifier: whatever does not fit uses it up."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = await redeemed(ledger, await code(ledger, time), time)
        found = await holder(ledger, given.access, now=time.now)
        assert found
        assert (found.scopes, found.session, found.expires) == (SCOPES, given.grant.session, time.now + ACCESS)
        late = await code(ledger, time)
        time.passes(CODE / SECOND)
        await refused(redeemed(ledger, late, time))
        for more in ({"redirect_uri": HOME + "/"}, {"verifier": VERIFIER + "x"}, {"client": OWN}):
            wrong = await code(ledger, time)
            given_so = {"client": APP, "redirect_uri": HOME, "verifier": VERIFIER} | more
            client = given_so.pop("client")
            await refused(exchange_code(ledger, client, wrong, now=time.now, **given_so))  # type: ignore[arg-type]
            await refused(redeemed(ledger, wrong, time))
        await refused(redeemed(ledger, "unknown", time))

    with_ledger(tmp_path, story)


def test_a_code_used_twice_ends_what_came_of_it(tmp_path: Path) -> None:
    """Hours later too; and of many uses at once, none leaves anything alive."""

    async def story(ledger: Ledger, time: Time) -> None:
        one = await code(ledger, time)
        given = await redeemed(ledger, one, time)
        time.passes(3600)
        again = await refreshed(ledger, given.refresh, time)
        await refused(redeemed(ledger, one, time))
        assert await holder(ledger, again.access, now=time.now) is None
        await refused(refreshed(ledger, again.refresh, time))
        for _ in range(5):
            one = await code(ledger, time)
            uses = (redeemed(ledger, one, time) for _ in range(8))
            found = [each for each in await asyncio.gather(*uses, return_exceptions=True) if isinstance(each, Given)]
            assert len(found) <= 1
            assert not any([await holder(ledger, each.access, now=time.now) for each in found])

    with_ledger(tmp_path, story)


def test_a_refresh_token_is_good_once_and_an_old_one_ends_the_family(tmp_path: Path) -> None:
    """Each gives the next; two uses at once are a second use."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = [await redeemed(ledger, await code(ledger, time), time)]
        for _ in range(3):
            time.passes(86_400)
            given.append(await refreshed(ledger, given[-1].refresh, time))
        assert await holder(ledger, given[-1].access, now=time.now)
        await refused(refreshed(ledger, given[1].refresh, time))
        assert await holder(ledger, given[-1].access, now=time.now) is None
        await refused(refreshed(ledger, given[-1].refresh, time))
        first = await redeemed(ledger, await code(ledger, time), time)
        uses = (refreshed(ledger, first.refresh, time) for _ in range(8))
        found = [each for each in await asyncio.gather(*uses, return_exceptions=True) if isinstance(each, Given)]
        assert len(found) <= 1
        assert not any([await holder(ledger, each.access, now=time.now) for each in (first, *found)])

    with_ledger(tmp_path, story)


def test_a_refresh_narrows_and_never_widens(tmp_path: Path) -> None:
    """The narrower scope is of the access token; the grant stays what it is. A refusal uses nothing up."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = await redeemed(ledger, await code(ledger, time), time)
        for more in ("patient/*.cruds", "user/*.rs", "openid", "nonsense", "patient/*.rs patient/*.c"):
            await refused(refreshed(ledger, given.refresh, time, more), "invalid_scope")
        less = await refreshed(ledger, given.refresh, time, "patient/Observation.r")
        found = await holder(ledger, less.access, now=time.now)
        assert found
        assert found.scopes == less.scopes == ("patient/Observation.r",)
        assert (await refreshed(ledger, less.refresh, time)).scopes == SCOPES

    with_ledger(tmp_path, story)


def test_a_program_comes_back_only_with_leave(tmp_path: Path) -> None:
    """Without offline_access or online_access there is no refresh token; and no other client uses one."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = await redeemed(ledger, await code(ledger, time, scopes=("patient/*.rs",)), time)
        assert given.refresh == ""
        time.passes(ACCESS / SECOND)
        assert await holder(ledger, given.access, now=time.now) is None
        given = await redeemed(ledger, await code(ledger, time), time)
        await refused(refreshed(ledger, given.refresh, time, client=OWN))
        await refused(refreshed(ledger, given.access, time))
        assert await refreshed(ledger, given.refresh, time)

    with_ledger(tmp_path, story)


@pytest.mark.parametrize(("scope", "life"), [("offline_access", OFFLINE), ("online_access", ONLINE)])
def test_a_grant_ends(tmp_path: Path, scope: str, life: int) -> None:
    """After half a year, or with the longest login; no token outlives it."""

    async def story(ledger: Ledger, time: Time) -> None:
        until = time.now + life
        given = await redeemed(ledger, await code(ledger, time, scopes=("patient/*.rs", scope)), time)
        time.now = until - 60 * SECOND
        given = await refreshed(ledger, given.refresh, time)
        found = await holder(ledger, given.access, now=time.now)
        assert found
        assert found.expires == until
        time.now = until
        assert await holder(ledger, given.access, now=time.now) is None
        await refused(refreshed(ledger, given.refresh, time))

    with_ledger(tmp_path, story)


def test_what_is_granted_online_ends_with_the_login(tmp_path: Path) -> None:
    """What is granted offline does not."""

    async def story(ledger: Ledger, time: Time) -> None:
        online = await redeemed(ledger, await code(ledger, time, scopes=("patient/*.rs", "online_access")), time)
        offline = await redeemed(ledger, await code(ledger, time), time)
        await end_session(ledger, "login", now=time.now)
        assert await holder(ledger, online.access, now=time.now) is None
        await refused(refreshed(ledger, online.refresh, time))
        assert await refreshed(ledger, offline.refresh, time)

    with_ledger(tmp_path, story)


def test_a_professional_s_grant_ends_with_their_login(tmp_path: Path) -> None:
    """Whatever it was granted for: profession, exercice and level are those that were proved at that login."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = await redeemed(ledger, await code(ledger, time, person=DOCTOR), time)
        assert given.grant.until == time.now + ONLINE
        given = await refreshed(ledger, given.refresh, time)
        await end_session(ledger, "login", now=time.now)
        assert await holder(ledger, given.access, now=time.now) is None
        await refused(refreshed(ledger, given.refresh, time))

    with_ledger(tmp_path, story)


def test_a_grant_ends_with_the_account_of_who_gave_it(tmp_path: Path) -> None:
    """One that was to outlast the login too."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = await redeemed(ledger, await code(ledger, time, account="anne"), time)
        await end_session(ledger, "login", now=time.now)
        given = await refreshed(ledger, given.refresh, time)
        await end_session(ledger, f"{ACCOUNT}anne", now=time.now)
        await refused(refreshed(ledger, given.refresh, time))

    with_ledger(tmp_path, story)


def test_what_was_declared_in_a_grant_stays_through_a_refresh(tmp_path: Path) -> None:
    """It is one session (access §7)."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = await redeemed(ledger, await code(ledger, time, person=DOCTOR), time)
        await amend(ledger, given.grant.session, lambda actor: replace(actor, openings=("consult|p|9",)), time.now)
        for token in (given.access, (await refreshed(ledger, given.refresh, time)).access):
            found = await holder(ledger, token, now=time.now)
            assert found
            assert found.openings == ("consult|p|9",)

    with_ledger(tmp_path, story)


def test_a_program_is_put_out_of_one_record_or_of_all(tmp_path: Path) -> None:
    """Access and refresh at once; codes that wait too; the grants of others stay."""

    async def story(ledger: Ledger, time: Time) -> None:
        other = replace(PATIENT, reference="Patient/q", patients=("q",))
        mine = await redeemed(ledger, await code(ledger, time), time)
        waiting = await code(ledger, time)
        theirs = await redeemed(ledger, await code(ledger, time, person=other, patient="q"), time)
        neighbour = await redeemed(ledger, await code(ledger, time, OWN), time, OWN)
        await revoke_app(ledger, "app", "p", now=time.now)
        assert await holder(ledger, mine.access, now=time.now) is None
        await refused(refreshed(ledger, mine.refresh, time))
        await refused(redeemed(ledger, waiting, time))
        assert await holder(ledger, theirs.access, now=time.now)
        await revoke_client(ledger, "app", now=time.now)
        assert await holder(ledger, theirs.access, now=time.now) is None
        assert await holder(ledger, neighbour.access, now=time.now)

    with_ledger(tmp_path, story)


def test_a_refresh_token_is_revoked_by_its_client(tmp_path: Path) -> None:
    """With all that came of it; by no other (RFC 7009)."""

    async def story(ledger: Ledger, time: Time) -> None:
        given = await redeemed(ledger, await code(ledger, time), time)
        assert not await revoke_refresh(ledger, OWN, given.refresh, now=time.now)
        assert not await revoke_refresh(ledger, APP, given.access, now=time.now)
        assert await revoke_refresh(ledger, APP, given.refresh, now=time.now)
        assert await holder(ledger, given.access, now=time.now) is None
        assert not await revoke_refresh(ledger, APP, given.refresh, now=time.now)

    with_ledger(tmp_path, story)
