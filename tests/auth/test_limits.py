"""How much one may ask, on all processes together, and how many new records a professional may open (access §9)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.auth.limits import Limits, Rate, Throttled
from fhir_server.errors import StepUp, TooManyRequests
from fhir_server.settings import Settings
from fhir_server.storage import open_store
from fhir_server.storage.interface import Ledger

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
NOON = 1_780_000_000_000_000
DOCTOR = Actor("ps", "Practitioner/x", "Dr X", "j1", frozenset({"rpps:99900000011"}), client="lgc")


class Clock:
    """A time that is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        """Microseconds."""
        return self.now


def play(folder: Path, story: Callable[[Ledger, Clock], Awaitable[None]]) -> None:
    """A story on a real ledger."""

    async def go() -> None:
        clock = Clock()
        store = open_store(f"sqlite:{folder / 'record.db'}", clock=clock)
        try:
            await story(store.ledger, clock)
        finally:
            await store.close()

    asyncio.run(go())


def limits(ledger: Ledger, clock: Clock, **chosen: Any) -> Limits:
    """The limits of one process; none but those that are chosen."""
    none = dict.fromkeys(("rate_subject", "rate_client", "rate_address", "rate_lookup", "new_patients"), 0)
    return Limits(replace(Settings(), **none | chosen), ledger, clock)


@settings(max_examples=100)
@given(most=st.integers(1, 50), gaps=st.lists(st.integers(0, 90 * SECOND), max_size=120))
def test_no_minute_lets_through_more_than_twice_the_rate_and_waiting_always_helps(most: int, gaps: list[int]) -> None:
    """A bucket: what was saved up may come at once, and then as much as a minute brings. Whoever waits as long as they
    are told is let through."""
    rate, now, passed = Rate(most), NOON, []
    for gap in gaps:
        now += gap
        try:
            rate.take("x", now)
        except Throttled as refused:
            now += refused.seconds * SECOND
            rate.take("x", now)
        passed.append(now)
    for each in passed:
        assert sum(each <= other < each + MINUTE for other in passed) <= 2 * most


def test_names_do_not_use_up_each_others_share() -> None:
    """Nor does one who is refused; the first refusal is told from those that follow."""
    rate = Rate(2)
    firsts = []
    for name in ("a", "a", "a", "a", "b"):
        try:
            rate.take(name, NOON)
        except Throttled as refused:
            firsts.append((name, refused.first))
    assert firsts == [("a", True), ("a", False)]


def test_whoever_has_not_asked_for_long_is_forgotten() -> None:
    """Memory does not grow with all who ever asked."""
    rate = Rate(60)
    for number in range(1000):
        rate.take(str(number), NOON)
    rate.forget(NOON + SECOND // 2)
    assert len(rate.buckets) == 1000
    rate.forget(NOON + 2 * SECOND)
    assert not rate.buckets


@pytest.mark.parametrize(
    ("setting", "ask"),
    [
        ("rate_subject", lambda each: each.caller(DOCTOR)),
        ("rate_client", lambda each: each.caller(DOCTOR)),
        ("rate_address", lambda each: each.address("10.0.0.1", "")),
        ("rate_lookup", lambda each: each.lookup(DOCTOR)),
    ],
)
def test_a_limit_holds_over_all_processes_of_a_store(
    tmp_path: Path, setting: str, ask: Callable[[Limits], None]
) -> None:
    """What one lets through counts at the others, about a second later; and at one that has not met the name yet."""

    async def story(ledger: Ledger, clock: Clock) -> None:
        one, other, third = (limits(ledger, clock, **{setting: 10}) for _ in range(3))
        for _ in range(8):
            ask(one)
        ask(other)
        for each in (one, other, third):
            await each.reconcile()
        await other.reconcile()
        ask(other)
        with pytest.raises(Throttled):
            ask(other)
        ask(third)
        ask(third)
        with pytest.raises(Throttled):
            ask(third)
        clock.now += MINUTE
        for each in (one, other, third):
            ask(each)

    play(tmp_path, story)


def test_what_is_far_from_its_limit_is_not_written_down(tmp_path: Path) -> None:
    """Nobody pays for limits in the ordinary run of things; and what is written is no name."""

    async def story(ledger: Ledger, clock: Clock) -> None:
        one = limits(ledger, clock, rate_subject=100, rate_address=4)
        one.caller(DOCTOR)
        await one.reconcile()
        assert await ledger.keys("rate", now=clock.now) == []
        for _ in range(4):
            one.address("192.0.2.7", "")
        await one.reconcile()
        [key] = await ledger.keys("rate", now=clock.now)
        kept = await ledger.get("rate", key, now=clock.now)
        assert kept is not None
        assert b"192.0.2.7" not in kept
        assert b"rpps" not in kept

    play(tmp_path, story)


def test_a_forwarded_address_is_believed_from_a_configured_proxy_only(tmp_path: Path) -> None:
    """The last that no configured proxy has; what the client itself has put before that counts for nothing."""

    async def story(ledger: Ledger, clock: Clock) -> None:
        alone = limits(ledger, clock, rate_address=1)
        alone.address("10.0.0.1", "203.0.113.1")
        with pytest.raises(Throttled):
            alone.address("10.0.0.1", "203.0.113.2")
        behind = limits(ledger, clock, rate_address=1, trusted_proxies="10.0.0.1 10.0.0.2")
        behind.address("10.0.0.1", "203.0.113.1, 10.0.0.2")
        behind.address("10.0.0.1", "203.0.113.1, 203.0.113.9")
        with pytest.raises(Throttled):
            behind.address("10.0.0.1", "198.51.100.1, 203.0.113.1")
        behind.address("2001:db8:1:2::1", "")
        with pytest.raises(Throttled):
            behind.address("2001:db8:1:2:ffff::9", "")

    play(tmp_path, story)


# Anti-snooping


async def _open(at: Limits, actor: Actor, patients: range) -> list[str]:
    """Those whose records they get to."""
    found = []
    for number in patients:
        with suppress(TooManyRequests, StepUp):
            await at.opened(actor, f"p{number}")
            found.append(f"p{number}")
    return found


def test_a_professional_opens_so_many_new_records_an_hour_and_no_more(tmp_path: Path) -> None:
    """Whatever token, structure or process they come by; known records stay open; the next hour has places again."""

    async def story(ledger: Ledger, clock: Clock) -> None:
        one, other = (limits(ledger, clock, new_patients=5) for _ in range(2))
        elsewhere = replace(DOCTOR, jti="j2", reference="", structure="990000002")
        assert len(await _open(one, DOCTOR, range(3))) == 3
        assert len(await _open(other, elsewhere, range(3, 9))) == 2
        assert len(await _open(one, DOCTOR, range(5))) == 5
        assert await _open(one, DOCTOR, range(9, 12)) == []
        assert len(await _open(one, replace(DOCTOR, keys=frozenset({"rpps:99900000022"})), range(3))) == 3
        with pytest.raises(TooManyRequests) as refused:
            await other.opened(DOCTOR, "p20")
        assert refused.value.seconds > 60
        clock.now += HOUR
        assert len(await _open(other, DOCTOR, range(5, 20))) == 5
        assert len(await _open(limits(ledger, clock, new_patients=5), DOCTOR, range(5))) == 5

    play(tmp_path, story)


def test_many_at_once_do_not_get_past_the_number(tmp_path: Path) -> None:
    """Each place is taken once, however they come together."""

    async def story(ledger: Ledger, clock: Clock) -> None:
        several = [limits(ledger, clock, new_patients=7) for _ in range(4)]
        opened = await asyncio.gather(
            *(several[number % 4].opened(DOCTOR, f"p{number}") for number in range(40)), return_exceptions=True
        )
        assert sum(each is None for each in opened) == 7
        assert all(each is None or isinstance(each, TooManyRequests) for each in opened)

    play(tmp_path, story)


def test_a_stronger_login_gives_as_many_again(tmp_path: Path) -> None:
    """Where one is configured, who lacks it is asked for it (RFC 9470); then there is an end too."""

    async def story(ledger: Ledger, clock: Clock) -> None:
        at = limits(ledger, clock, new_patients=3, step_up_acr="eidas3")
        await _open(at, DOCTOR, range(3))
        with pytest.raises(StepUp) as asked:
            await at.opened(DOCTOR, "p3")
        assert asked.value.acr == "eidas3"
        strong = replace(DOCTOR, acr="eidas3")
        assert len(await _open(at, strong, range(3, 10))) == 3
        with pytest.raises(TooManyRequests):
            await at.opened(strong, "p11")

    play(tmp_path, story)
