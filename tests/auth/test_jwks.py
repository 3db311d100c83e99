"""Keys at a client's address are fetched as rarely as may be (access §1, A18); a real HTTP server answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from fhir_server.auth.jwks import ClientKeys
from fhir_server.auth.outbound import Outbound
from fhir_server.settings import Settings
from tests.ledgers import SECOND
from tests.oauth import KeyServer, ec_key, key_server, public

EC = public(ec_key())
NOW = 1_800_000_000 * SECOND


@pytest.fixture
def server() -> Iterator[KeyServer]:
    """It has one key."""
    with key_server() as server:
        server.keys = [EC]
        yield server


def keys(server: KeyServer) -> ClientKeys:
    """A server's, that may ask there."""
    return ClientKeys(Outbound(Settings(outbound_hosts=urlsplit(server.url).netloc)))


def at(known: ClientKeys, server: KeyServer, seconds: float, kid: str = "ec") -> tuple[object, ...]:
    """The keys, after so many seconds."""
    return asyncio.run(known.at(server.url, kid, now=NOW + int(seconds * SECOND)))


@pytest.mark.parametrize(
    ("cache_control", "kept"),
    [
        ("", 300),
        ("max-age=1000", 1000),
        ("public, max-age=1000, must-revalidate", 1000),
        ("max-age=999999999", 86_400),
        ('max-age="120"', 120),
    ],
)
def test_keys_are_kept_as_long_as_the_answer_says(server: KeyServer, cache_control: str, kept: int) -> None:
    """A day at the most."""
    server.headers = {"Cache-Control": cache_control} if cache_control else {}
    known = keys(server)
    for seconds in (0, 1, kept - 1):
        assert at(known, server, seconds) == (EC,)
    assert server.asked == 1
    assert at(known, server, kept) == (EC,)
    assert server.asked == 2


def test_keys_that_may_not_be_kept_are_asked_for_each_time_within_the_budget(server: KeyServer) -> None:
    """Ten times a minute; then those of the last time hold, so that nobody is shut out by who spends the budget."""
    server.headers = {"Cache-Control": "no-store"}
    known = keys(server)
    for number in range(10):
        assert at(known, server, number * 0.1) == (EC,)
    assert server.asked == 10
    assert at(known, server, 2) == (EC,)
    assert server.asked == 10
    assert at(known, server, 61) == (EC,)


def test_a_kid_that_is_not_there_is_looked_for_once_a_minute(server: KeyServer) -> None:
    """Whatever kids are asked for; a new key is found at the next look."""
    known = keys(server)
    at(known, server, 0)
    for number in range(50):
        at(known, server, number, kid=f"k{number}")
    assert server.asked == 1
    server.keys = [EC, {**EC, "kid": "new"}]
    assert len(at(known, server, 60, kid="new")) == 2
    assert server.asked == 2


def test_an_address_that_fails_is_not_asked_again_at_once(server: KeyServer) -> None:
    """Neither after a 500, nor after something that is no JWKS; and gives no keys."""
    known = keys(server)
    server.status = 500
    assert at(known, server, 0) == ()
    server.status = 200
    assert at(known, server, 59) == ()
    assert server.asked == 1
    assert at(known, server, 60) == (EC,)
    server.keys = "nothing"  # type: ignore[assignment]
    assert at(keys(server), server, 0) == ()


def test_many_at_once_ask_once(server: KeyServer) -> None:
    """Thirty assertions together: one fetch."""

    async def all_at_once() -> list[tuple[object, ...]]:
        known = keys(server)
        return await asyncio.gather(*(known.at(server.url, "ec", now=NOW) for _ in range(30)))

    assert asyncio.run(all_at_once()) == [(EC,)] * 30
    assert server.asked == 1


def test_no_other_host_is_asked(server: KeyServer) -> None:
    """Those of the settings only."""
    known = ClientKeys(Outbound(Settings()))
    assert at(known, server, 0) == ()
    assert server.asked == 0
