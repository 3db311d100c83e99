"""Signing keys: made once for all processes, two live, the newest signs (access §1, §9)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhir_server.auth.keys import ALGORITHMS, published, rotate, signed
from fhir_server.storage.interface import Ledger
from tests.ledgers import Time, with_ledger


def test_what_is_signed_is_verified_with_what_is_published(tmp_path: Path) -> None:
    """By kid, in each algorithm, and after a rotation too; after two the first key is gone."""

    async def story(ledger: Ledger, time: Time) -> None:
        tokens = {}
        for turn in range(3):
            known = KeySet.import_key_set(await published(ledger, now=time.now))  # type: ignore[arg-type]
            for alg in ALGORITHMS:
                tokens[turn, alg] = await signed(ledger, {"sub": "x"}, alg=alg, now=time.now)
                assert jwt.decode(tokens[turn, alg], known, algorithms=[alg]).claims == {"sub": "x"}
                if turn:
                    assert jwt.decode(tokens[turn - 1, alg], known, algorithms=[alg]).claims == {"sub": "x"}
                if turn == 2:
                    with pytest.raises(JoseError):
                        jwt.decode(tokens[0, alg], known, algorithms=[alg])
            made = await rotate(ledger, now=time.now)
            assert set(made) <= {key["kid"] for key in (await published(ledger, now=time.now))["keys"]}

    with_ledger(tmp_path, story)


def test_nothing_private_is_published(tmp_path: Path) -> None:
    """Two keys of each algorithm at the most, with kid, alg and use."""

    async def story(ledger: Ledger, time: Time) -> None:
        for _ in range(3):
            await rotate(ledger, now=time.now)
        keys = (await published(ledger, now=time.now))["keys"]
        assert [key["alg"] for key in keys] == ["RS256", "RS256", "ES256", "ES256"]
        assert len({key["kid"] for key in keys}) == 4
        for key in keys:
            public = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}}[key["kty"]]
            assert key.keys() == {"kty", "kid", "alg", "use"} | public

    with_ledger(tmp_path, story)


def test_the_first_key_is_made_once(tmp_path: Path) -> None:
    """However many want it at once."""

    async def story(ledger: Ledger, time: Time) -> None:
        found = await asyncio.gather(*(published(ledger, now=time.now) for _ in range(5)))
        assert all(each == found[0] for each in found)

    with_ledger(tmp_path, story)
