"""Login sessions end when idle, old, logged out of, or when their account changes; one choice is made in each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.auth.accounts import Accounts
from fhir_server.auth.actor import Actor
from fhir_server.auth.passwords import Passwords
from fhir_server.auth.sessions import MINUTE, Sessions
from fhir_server.errors import Conflict
from fhir_server.storage import open_store

PATIENT = Actor("patient", "Patient/1", "Anne", "", patients=("1",))
HERE = Actor("ps", "", "Dr A", "", keys=frozenset({"rpps:1", "org:here"}), structure="here")
THERE = replace(HERE, keys=frozenset({"rpps:1", "org:there"}), structure="there")


class House:
    """A store with an account, its sessions, and a clock that stands until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_800_000_000_000_000
        self.store = open_store(str(folder / "store.db"), clock=lambda: self.now)
        self.accounts = Accounts(self.store.ledger, Passwords())
        self.sessions = Sessions(self.store.ledger, self.accounts, idle=15 * MINUTE, longest=240 * MINUTE)

    async def live(self, cookie: str) -> bool:
        """Whether the cookie stands for anybody."""
        return await self.sessions.current(cookie, now=self.now) is not None


def play(folder: Path, story: Callable[[House], Awaitable[Any]]) -> None:
    """A story in a new house."""

    async def go() -> None:
        house = House(folder)
        try:
            await story(house)
        finally:
            await house.store.close()

    asyncio.run(go())


def test_a_session_ends_a_quarter_of_an_hour_after_its_last_use(tmp_path: Path) -> None:
    """Used every ten minutes it goes on."""

    async def story(house: House) -> None:
        cookie = await house.sessions.begin((PATIENT,), now=house.now)
        for _ in range(5):
            house.now += 10 * MINUTE
            assert await house.live(cookie)
        house.now += 15 * MINUTE
        assert not await house.live(cookie)

    play(tmp_path, story)


def test_a_session_ends_after_four_hours_however_it_is_used(tmp_path: Path) -> None:
    """To the microsecond."""

    async def story(house: House) -> None:
        begun = house.now
        cookie = await house.sessions.begin((PATIENT,), now=house.now)
        while house.now < begun + 230 * MINUTE:
            house.now += 10 * MINUTE
            assert await house.live(cookie)
        house.now = begun + 240 * MINUTE - 1
        assert await house.live(cookie)
        house.now += 1
        assert not await house.live(cookie)

    play(tmp_path, story)


def test_what_has_ended_is_not_brought_back_by_a_late_use(tmp_path: Path) -> None:
    """A use that was under way while the person logged out writes only that it was seen."""

    async def story(house: House) -> None:
        cookie = await house.sessions.begin((PATIENT,), now=house.now)
        house.now += MINUTE
        await asyncio.gather(house.sessions.end(cookie), *(house.live(cookie) for _ in range(5)))
        assert not await house.live(cookie)

    play(tmp_path, story)


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "é" * 43, "A" * 44])
def test_another_cookie_stands_for_nobody(tmp_path: Path, cookie: str) -> None:
    """Unknown or malformed; and the store does not hold the one that is good."""

    async def story(house: House) -> None:
        good = await house.sessions.begin((PATIENT,), now=house.now)
        assert not await house.live(cookie)
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert good.encode() not in kept

    play(tmp_path, story)


def test_a_session_ends_with_its_account_and_with_its_password(tmp_path: Path) -> None:
    """At the next use, on every process."""

    async def story(house: House) -> None:
        account = await house.accounts.add("anne", (PATIENT,), "correct horse battery")

        async def logged_in() -> str:
            known = await house.accounts.get("anne", now=house.now)
            return await house.sessions.begin(known.actors, now=house.now, account=known.login, stamp=known.stamp)

        assert account.stamp
        cookie = await logged_in()
        assert await house.live(cookie)
        await house.accounts.set_password("anne", "another password", now=house.now)
        assert not await house.live(cookie)
        cookie = await logged_in()
        await house.accounts.remove("anne", now=house.now)
        assert not await house.live(cookie)

    play(tmp_path, story)


def test_the_caller_of_a_session_carries_its_name_and_its_level(tmp_path: Path) -> None:
    """What is done in it is told apart in the log; the name opens nothing."""

    async def story(house: House) -> None:
        cookie = await house.sessions.begin((PATIENT,), now=house.now, acr="eidas2")
        session = await house.sessions.current(cookie, now=house.now)
        assert session
        assert session.actor == replace(PATIENT, jti=session.id, session=session.id, acr="eidas2")
        assert not await house.live(session.id)

    play(tmp_path, story)


def test_one_exercice_is_chosen_once(tmp_path: Path) -> None:
    """Nobody acts before; the first choice holds, of two at once too."""

    async def story(house: House) -> None:
        cookie = await house.sessions.begin((HERE, THERE), now=house.now)
        session = await house.sessions.current(cookie, now=house.now)
        assert session
        assert session.actor is None
        for wrong in (-1, 2):
            with pytest.raises(ValueError):
                await house.sessions.choose(cookie, wrong, HERE, now=house.now)
        placed = [replace(each, reference="Practitioner/1") for each in session.actors]
        tries = (house.sessions.choose(cookie, place, placed[place], now=house.now) for place in (1, 0))
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert [isinstance(each, Conflict) for each in outcomes].count(True) == 1
        settled = await house.sessions.current(cookie, now=house.now)
        assert settled
        assert settled.actor == placed[settled.chosen]
        with pytest.raises(Conflict):
            await house.sessions.choose(cookie, 1 - settled.chosen, HERE, now=house.now)

    play(tmp_path, story)
