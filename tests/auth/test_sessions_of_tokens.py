"""What ends or changes a session does so to every token of it, at once (access §1, §7, I11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import amend, authenticate, begin, depend, end_session, holder, issue, renew
from fhir_server.errors import Unauthenticated
from fhir_server.storage.interface import Ledger
from tests.ledgers import Time, with_ledger

HOUR = 3_600_000_000
DOCTOR = Actor("ps", "Practitioner/x", "Dr X", "", frozenset({"rpps:1"}), session="s", scopes=("user/*.rs",))


def opened(actor: Actor) -> Actor:
    """The same with an opening."""
    return replace(actor, openings=(*actor.openings, f"consult|p{len(actor.openings)}|9"))


def test_a_change_of_a_session_is_in_each_of_its_tokens(tmp_path: Path) -> None:
    """And in no other session's; jti, scopes and end of each stay."""

    async def story(ledger: Ledger, time: Time) -> None:
        one = await issue(ledger, DOCTOR, ttl=HOUR, now=time.now)
        two = await issue(ledger, replace(DOCTOR, scopes=("user/*.r",)), ttl=HOUR // 2, now=time.now)
        other = await issue(ledger, replace(DOCTOR, session="s2"), ttl=HOUR, now=time.now)
        before = [await authenticate(ledger, f"Bearer {each}", now=time.now) for each in (one, two, other)]
        await amend(ledger, "s", opened, time.now)
        after = [await authenticate(ledger, f"Bearer {each}", now=time.now) for each in (one, two, other)]
        assert after == [*map(opened, before[:2]), before[2]]

    with_ledger(tmp_path, story)


def test_a_token_without_a_session_is_its_own(tmp_path: Path) -> None:
    """Named by its jti."""

    async def story(ledger: Ledger, time: Time) -> None:
        token = await issue(ledger, replace(DOCTOR, session=""), ttl=HOUR, now=time.now)
        found = await holder(ledger, token, now=time.now)
        assert found
        assert found.session == found.jti
        await amend(ledger, found.session, opened, time.now)
        assert await holder(ledger, token, now=time.now) == opened(found)
        await end_session(ledger, found.session, now=time.now)
        assert await holder(ledger, token, now=time.now) is None

    with_ledger(tmp_path, story)


def test_what_is_declared_at_once_is_all_kept(tmp_path: Path) -> None:
    """Twenty changes together: none is lost."""

    async def story(ledger: Ledger, time: Time) -> None:
        token = await issue(ledger, DOCTOR, ttl=HOUR, now=time.now)
        await asyncio.gather(*(amend(ledger, "s", opened, time.now) for _ in range(20)))
        found = await holder(ledger, token, now=time.now)
        assert found
        assert len(set(found.openings)) == 20

    with_ledger(tmp_path, story)


def test_a_session_that_was_begun_gives_tokens_as_it_was_changed(tmp_path: Path) -> None:
    """What a refresh gives knows what was declared before; and does not outlive the session."""

    async def story(ledger: Ledger, time: Time) -> None:
        await begin(ledger, DOCTOR, until=time.now + HOUR)
        await amend(ledger, "s", opened, time.now)
        made = await renew(ledger, "s", lambda actor: replace(actor, scopes=("user/*.r",)), ttl=2 * HOUR, now=time.now)
        assert made
        found = await holder(ledger, made[0], now=time.now)
        assert found == replace(opened(DOCTOR), scopes=("user/*.r",), jti=found.jti, expires=time.now + HOUR)
        assert await renew(ledger, "none", opened, ttl=HOUR, now=time.now) is None
        time.passes(3601)
        assert await renew(ledger, "s", opened, ttl=HOUR, now=time.now) is None

    with_ledger(tmp_path, story)


class Interrupted:
    """A ledger on which something happens just before its next `put`: another process, at the worst moment."""

    def __init__(self, ledger: Ledger, act: Callable[[], Awaitable[None]]) -> None:
        self._ledger = ledger
        self._acts = [act]

    async def put(self, *args: Any, **more: Any) -> bool:
        """As ever, but for that."""
        if self._acts:
            await self._acts.pop()()
        return await self._ledger.put(*args, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


def test_no_token_escapes_the_end_of_its_session(tmp_path: Path) -> None:
    """One that is being made while the session ends is not given out."""

    async def story(ledger: Ledger, time: Time) -> None:
        await begin(ledger, DOCTOR, until=time.now + HOUR)
        ended = Interrupted(ledger, lambda: end_session(ledger, "s", now=time.now))
        assert await renew(ended, "s", lambda actor: actor, ttl=HOUR, now=time.now) is None
        assert not await ledger.keys("token", now=time.now)

    with_ledger(tmp_path, story)


def test_no_token_misses_what_its_session_declares(tmp_path: Path) -> None:
    """One that is being made meanwhile knows it."""

    async def story(ledger: Ledger, time: Time) -> None:
        await begin(ledger, DOCTOR, until=time.now + HOUR)
        declared = Interrupted(ledger, lambda: amend(ledger, "s", opened, time.now))
        made = await renew(declared, "s", lambda actor: actor, ttl=HOUR, now=time.now)
        assert made
        found = await holder(ledger, made[0], now=time.now)
        assert found
        assert found.openings == opened(DOCTOR).openings

    with_ledger(tmp_path, story)


def test_a_change_brings_no_ended_token_back(tmp_path: Path) -> None:
    """Amend and end at once: dead is dead."""

    async def story(ledger: Ledger, time: Time) -> None:
        for _ in range(12):
            tokens = [await issue(ledger, DOCTOR, ttl=HOUR, now=time.now) for _ in range(3)]
            changes = (amend(ledger, "s", opened, time.now) for _ in range(3))
            await asyncio.gather(*changes, end_session(ledger, "s", now=time.now))
            assert not any([await holder(ledger, each, now=time.now) for each in tokens])

    with_ledger(tmp_path, story)


def test_what_depends_on_a_login_ends_with_it(tmp_path: Path) -> None:
    """And what depends on that; not what depends on another."""

    async def story(ledger: Ledger, time: Time) -> None:
        names = ("login", "grant", "of the grant", "other")
        tokens = {each: await issue(ledger, replace(DOCTOR, session=each), ttl=HOUR, now=time.now) for each in names}
        await depend(ledger, "grant", "login", until=time.now + HOUR)
        await depend(ledger, "of the grant", "grant", until=time.now + HOUR)
        await end_session(ledger, "login", now=time.now)
        alive = [name for name, token in tokens.items() if await holder(ledger, token, now=time.now)]
        assert alive == ["other"]
        with pytest.raises(Unauthenticated):
            await authenticate(ledger, f"Bearer {tokens['grant']}", now=time.now)

    with_ledger(tmp_path, story)
