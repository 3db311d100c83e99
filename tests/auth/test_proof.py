"""A client proves to be itself in one way, and every failure costs and says the same (access §1, A15)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from fhir_server.auth.clients import register
from fhir_server.auth.jwks import ClientKeys
from fhir_server.auth.lockout import FREE
from fhir_server.auth.outbound import Outbound
from fhir_server.auth.passwords import Passwords
from fhir_server.auth.proof import Prover
from fhir_server.auth.refusals import Refused
from fhir_server.settings import Settings
from fhir_server.storage.interface import Ledger
from tests.ledgers import Time, with_ledger
from tests.oauth import app, ec_key, lgc


class Counted(Passwords):
    """Says how often it was asked."""

    asked = 0

    async def verify(self, kept: str, secret: str) -> bool:
        """As ever."""
        self.asked += 1
        return await super().verify(kept, secret)


def prover(ledger: Ledger, passwords: Passwords) -> Prover:
    """Of a server."""
    return Prover(ledger, passwords, ClientKeys(Outbound(Settings())), "https://here/oauth/token")


def basic(id: str, secret: str) -> str:
    """The header."""
    return "Basic " + b64encode(f"{id}:{secret}".encode()).decode()


async def fails(prover: Prover, form: dict[str, str], authorization: str, time: Time) -> Refused:
    """The refusal."""
    with pytest.raises(Refused) as refusal:
        await prover.prove(form, authorization, now=time.now)
    return refusal.value


def test_an_unknown_client_costs_as_much_as_a_wrong_secret(tmp_path: Path) -> None:
    """One argon2id either way, also for a client that has no secret; and the same answer."""

    async def story(ledger: Ledger, time: Time) -> None:
        passwords = Counted()
        await register(ledger, passwords, app("secret", token_endpoint_auth_method="client_secret_basic"))
        await register(ledger, passwords, app("public"))
        await register(ledger, passwords, lgc("key", ec_key()))
        proves, answers = prover(ledger, passwords), set()
        for number, id in enumerate(("secret", "public", "key", "nobody", "", "nobody\x00")):
            refusal = await fails(proves, {}, basic(id, "wrong"), time)
            answers.add((refusal.code, refusal.text, refusal.status))
            assert passwords.asked == number + 1
        assert len(answers) == 1

    with_ledger(tmp_path, story)


def test_a_secret_is_given_in_one_place(tmp_path: Path) -> None:
    """In the header, form-encoded, or in the body; never both, never beside an assertion, never for another name."""

    async def story(ledger: Ledger, time: Time) -> None:
        passwords = Passwords()
        client, secret = await register(ledger, passwords, app("s", token_endpoint_auth_method="client_secret_basic"))
        proves = prover(ledger, passwords)
        for form, header in (
            ({}, basic("s", secret)),
            ({"client_id": "s"}, basic("s", secret)),
            ({}, basic("%73", secret)),
            ({"client_id": "s", "client_secret": secret}, ""),
        ):
            assert (await proves.prove(form, header, now=time.now)).client == client
        for form, header in (
            ({"client_id": "s"}, ""),
            ({"client_id": "t"}, basic("s", secret)),
            ({"client_id": "s", "client_secret": secret}, basic("s", secret)),
            ({"client_assertion": "x.y.z"}, basic("s", secret)),
            ({"client_assertion": "x.y.z", "client_id": "s", "client_secret": secret}, ""),
            ({}, "Bearer " + secret),
            ({}, "Basic " + secret),
            ({}, "Basic ***"),
            ({}, basic("s", secret + "x")),
            ({}, basic("s", "")),
        ):
            assert (await fails(proves, form, header, time)).code == "invalid_client"
            time.passes(1000)

    with_ledger(tmp_path, story)


def test_failures_make_the_next_try_wait(tmp_path: Path) -> None:
    """Longer each time, for known and unknown names alike, never for good; and never without a failure."""

    async def story(ledger: Ledger, time: Time) -> None:
        passwords = Passwords()
        _, secret = await register(ledger, passwords, app("s", token_endpoint_auth_method="client_secret_basic"))
        proves = prover(ledger, passwords)
        for id in ("s", "nobody"):
            for _ in range(FREE):
                assert (await fails(proves, {}, basic(id, "wrong"), time)).status == 401
            assert (await fails(proves, {}, basic(id, secret), time)).status == 429
        time.passes(2)
        assert (await proves.prove({}, basic("s", secret), now=time.now)).client.id == "s"
        assert (await fails(proves, {}, basic("s", "wrong"), time)).status == 401

    with_ledger(tmp_path, story)
