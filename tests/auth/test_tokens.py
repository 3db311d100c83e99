"""Access tokens mean nothing, are kept hashed, end when they should, and fail in one way (access §1, I11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.actor import ROLES, Actor
from fhir_server.auth.tokens import actor_bytes, actor_of, authenticate, issue, revoke
from fhir_server.errors import Unauthenticated
from fhir_server.storage import open_store
from fhir_server.storage.interface import Ledger

NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000
DOCTOR = Actor(
    "ps",
    "Practitioner/x",
    "Dr X",
    "",
    frozenset({"rpps:1", "org:2"}),
    profession="10",
    secret=True,
    scopes=("user/*.r",),
)
texts = st.text(max_size=8)
actors = st.builds(
    Actor,
    role=st.sampled_from([each for each in ROLES if each != "open"]),
    reference=texts,
    name=texts,
    jti=texts,
    keys=st.frozensets(texts, max_size=3),
    patients=st.lists(texts, max_size=2).map(tuple),
    scopes=st.lists(texts, max_size=2).map(tuple),
    secret=st.booleans(),
    expires=st.integers(0, 2**60),
)


def run(folder: Path, story: Callable[[Ledger], Awaitable[None]]) -> None:
    """Play a story with the ledger of a real store."""

    async def play() -> None:
        store = open_store(str(folder / "store.db"), clock=lambda: NOW)
        try:
            await story(store.ledger)
        finally:
            await store.close()

    asyncio.run(play())


@settings(max_examples=100)
@given(actors)
def test_a_caller_survives_being_kept(actor: Actor) -> None:
    """And equal callers are the same bytes."""
    assert actor_of(actor_bytes(actor)) == actor
    assert actor_bytes(actor) == actor_bytes(replace(actor, keys=frozenset(sorted(actor.keys, reverse=True))))


@pytest.mark.parametrize(
    "change",
    [
        {"role": "open"},
        {"role": "root"},
        {"role": None},
        {"keys": "rpps:1"},
        {"keys": [1]},
        {"patients": None},
        {"secret": 1},
        {"expires": "0"},
        {"expires": True},
        {"rights": "all"},
    ],
    ids=str,
)
def test_what_is_not_a_caller_is_refused(change: dict[str, Any]) -> None:
    """I16: an unknown role or field, a value of another type."""
    kept = orjson.loads(actor_bytes(DOCTOR)) | change
    with pytest.raises(ValueError):
        actor_of(orjson.dumps(kept))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b'{"role":"ps"}', b"\xff"])
def test_other_bytes_are_no_caller(data: bytes) -> None:
    """ValueError, and nothing else."""
    with pytest.raises(ValueError):
        actor_of(data)


def test_a_token_is_good_until_it_expires_or_is_revoked(tmp_path: Path) -> None:
    """To the microsecond; after a revocation the next request fails (I11)."""

    async def story(ledger: Ledger) -> None:
        token = await issue(ledger, DOCTOR, ttl=HOUR, now=NOW)
        found = await authenticate(ledger, f"Bearer {token}", now=NOW)
        assert found == replace(DOCTOR, jti=found.jti, session=found.jti, expires=NOW + HOUR)
        assert found.jti
        assert await authenticate(ledger, f"bearer  {token}", now=NOW + HOUR - 1) == found
        with pytest.raises(Unauthenticated):
            await authenticate(ledger, f"Bearer {token}", now=NOW + HOUR)
        other = await issue(ledger, DOCTOR, ttl=HOUR, now=NOW)
        assert await revoke(ledger, other)
        assert not await revoke(ledger, other)
        with pytest.raises(Unauthenticated):
            await authenticate(ledger, f"Bearer {other}", now=NOW)

    run(tmp_path, story)


def test_every_failure_looks_the_same(tmp_path: Path) -> None:
    """Missing, malformed, unknown, another scheme, a token in a wrong place: one error, one text."""

    async def story(ledger: Ledger) -> None:
        token = await issue(ledger, DOCTOR, ttl=HOUR, now=NOW)
        headers = [
            None,
            "",
            "Bearer",
            token,
            f"Basic {token}",
            f"Bearer {token}x",
            f"Bearer {token[:-1]}",
            f"Bearer {token} ",
            f"Bearer {token}\n",
            f"Bearer {token}, Bearer {token}",
            f"Bearer {'A' * 43}",
            f"access_token={token}",
        ]
        texts = set()
        for header in headers:
            with pytest.raises(Unauthenticated) as refused:
                await authenticate(ledger, header, now=NOW)
            texts.add((str(refused.value), refused.value.issues))
        assert len(texts) == 1

    run(tmp_path, story)


def test_the_store_does_not_hold_the_token(tmp_path: Path) -> None:
    """Whoever reads the file cannot use it; two tokens of one caller differ, 256 bits each."""

    async def story(ledger: Ledger) -> None:
        tokens = {await issue(ledger, DOCTOR, ttl=HOUR, now=NOW) for _ in range(20)}
        assert len(tokens) == 20
        assert {len(each) for each in tokens} == {43}
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"Practitioner/x" in kept
        assert not any(each.encode() in kept for each in tokens)

    run(tmp_path, story)


def test_something_kept_that_is_no_caller_opens_nothing(tmp_path: Path) -> None:
    """A damaged ledger answers as an unknown token."""

    async def story(ledger: Ledger) -> None:
        token = await issue(ledger, DOCTOR, ttl=HOUR, now=NOW)
        name = sha256(token.encode()).hexdigest()
        open_role = actor_bytes(replace(DOCTOR, role="open", expires=NOW + HOUR))
        stale = actor_bytes(replace(DOCTOR, expires=NOW))
        for damaged in (b"{}", open_role, stale):
            await ledger.put("token", name, damaged, expires=None)
            with pytest.raises(Unauthenticated):
                await authenticate(ledger, f"Bearer {token}", now=NOW)

    run(tmp_path, story)


@pytest.mark.parametrize("role", ["open", "root", ""])
def test_no_token_is_given_for_a_role_that_is_none(tmp_path: Path, role: str) -> None:
    """Without authorization there are no tokens."""

    async def story(ledger: Ledger) -> None:
        with pytest.raises(ValueError):
            await issue(ledger, replace(DOCTOR, role=role), ttl=HOUR, now=NOW)

    run(tmp_path, story)
