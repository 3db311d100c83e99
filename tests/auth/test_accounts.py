"""Local accounts: hashed, slowed down and never shut, bound to outside identities by a code and by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.auth.accounts import HOUR, Accounts, account_bytes, account_of
from fhir_server.auth.actor import Actor
from fhir_server.auth.lockout import FREE, LONGEST, Delayed, attempt, wait
from fhir_server.auth.passwords import Passwords
from fhir_server.auth.tokens import ACCOUNT, alive, begin, depend
from fhir_server.errors import Conflict, Invalid, NotFound, Unauthenticated, Unavailable
from fhir_server.storage import open_store
from fhir_server.storage.interface import Ledger

SECOND = 1_000_000
PASSWORD = "correct horse battery"
PATIENT = Actor("patient", "Patient/1", "Anne", "", keys=frozenset({"Patient/1"}), patients=("1",))
ISSUER = "https://fc.example.org"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


Story = Callable[[Accounts, Ledger, Clock], Awaitable[Any]]


def play(folder: Path, story: Story) -> Any:
    """A story on a new store, with one account."""

    async def go() -> Any:
        clock = Clock()
        store = open_store(str(folder / "store.db"), clock=clock)
        try:
            accounts = Accounts(store.ledger, Passwords())
            await accounts.add("Anne", (PATIENT,), PASSWORD)
            return await story(accounts, store.ledger, clock)
        finally:
            await store.close()

    return asyncio.run(go())


def test_an_account_is_entered_by_its_password_only(tmp_path: Path) -> None:
    """The login in whatever case; any other password, and any other name, in the same words."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        assert (await accounts.log_in(" ANNE ", PASSWORD, now=clock.now)).actors == (PATIENT,)
        texts = set()
        for login, password in (("anne", PASSWORD + "x"), ("anne", ""), ("nobody", PASSWORD), ("", "")):
            with pytest.raises(Unauthenticated) as refused:
                await accounts.log_in(login, password, now=clock.now)
            texts.add(str(refused.value))
        assert len(texts) == 1

    play(tmp_path, story)


def test_the_store_holds_an_argon2id_hash_and_not_the_password(tmp_path: Path) -> None:
    """Whoever reads the file cannot log in."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        code = await accounts.enrolment_code("anne", now=clock.now)
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"$argon2id$v=19$m=19456,t=2,p=1$" in kept
        assert PASSWORD.encode() not in kept
        assert code.encode() not in kept
        assert code.replace("-", "").encode() not in kept

    play(tmp_path, story)


def test_failures_slow_down_and_never_shut_out(tmp_path: Path) -> None:
    """The right password is refused while the wait lasts, and let in when it is over; that clears the count."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        for _ in range(FREE):
            with pytest.raises(Unauthenticated):
                await accounts.log_in("anne", "wrong", now=clock.now)
        waited = []
        for _ in range(14):
            with pytest.raises(Delayed) as delayed:
                await accounts.log_in("anne", PASSWORD, now=clock.now)
            waited.append(delayed.value.seconds)
            clock.now += delayed.value.seconds * SECOND
            with pytest.raises(Unauthenticated):
                await accounts.log_in("anne", "wrong", now=clock.now)
        assert waited[:6] == [1, 2, 4, 8, 16, 32]
        assert max(waited) == LONGEST // SECOND
        clock.now += LONGEST
        assert await accounts.log_in("anne", PASSWORD, now=clock.now)
        with pytest.raises(Unauthenticated):
            await accounts.log_in("anne", "wrong", now=clock.now)
        assert await accounts.log_in("anne", PASSWORD, now=clock.now)

    play(tmp_path, story)


def test_a_name_that_nobody_has_is_slowed_down_the_same(tmp_path: Path) -> None:
    """Nobody learns by the wait who has an account."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        for name in ("anne", "nobody"):
            for _ in range(FREE):
                with pytest.raises(Unauthenticated):
                    await accounts.log_in(name, "wrong", now=clock.now)
            with pytest.raises(Delayed):
                await accounts.log_in(name, "wrong", now=clock.now)

    play(tmp_path, story)


def test_guesses_at_once_are_counted_one_by_one(tmp_path: Path) -> None:
    """Of twenty at the same time no more are heard than the free ones."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        tries = (accounts.log_in("anne", f"wrong {number}", now=clock.now) for number in range(20))
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        heard = [each for each in outcomes if not isinstance(each, Delayed)]
        assert len(heard) == FREE
        assert all(isinstance(each, Unauthenticated) for each in heard)

    play(tmp_path, story)


@given(st.integers(0, 10_000))
def test_a_wait_grows_and_has_an_end(failures: int) -> None:
    """Twice as long each time, none for the first, never beyond a quarter of an hour."""
    assert 0 <= wait(failures) <= wait(failures + 1) <= LONGEST
    assert wait(FREE - 1) == 0 < wait(FREE)


def test_an_attempt_that_breaks_off_counts_as_failed_only_if_it_was_judged(tmp_path: Path) -> None:
    """A fault of ours is not a wrong password, and does not leave the name shut."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        for _ in range(FREE + 2):
            with pytest.raises(RuntimeError):
                async with attempt(ledger, "anne", now=clock.now):
                    raise RuntimeError
        assert await accounts.log_in("anne", PASSWORD, now=clock.now)

    play(tmp_path, story)


@pytest.mark.parametrize("login", ["", "a", "-anne", "anne marie", "änne", "a" * 101, "anne\n"])
def test_a_login_is_plain(tmp_path: Path, login: str) -> None:
    """Letters, digits and a few marks."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        if login == "anne\n":
            with pytest.raises(Conflict):
                await accounts.add(login, (PATIENT,), PASSWORD)
        else:
            with pytest.raises(Invalid):
                await accounts.add(login, (PATIENT,), PASSWORD)

    play(tmp_path, story)


def test_two_accounts_do_not_share_a_name_and_a_password_has_a_length(tmp_path: Path) -> None:
    """Conflict; Invalid under twelve characters."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        with pytest.raises(Conflict):
            await accounts.add("ANNE", (), PASSWORD)
        with pytest.raises(Invalid):
            await accounts.set_password("anne", "elevenchars", now=clock.now)
        with pytest.raises(NotFound):
            await accounts.set_password("nobody", PASSWORD, now=clock.now)
        assert await accounts.log_in("anne", PASSWORD, now=clock.now)

    play(tmp_path, story)


def test_a_code_binds_one_identity_once(tmp_path: Path) -> None:
    """Typed as people type; used up, expired or made up it binds nobody. Another issuer's same subject is another."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        assert await accounts.bound(ISSUER, "sub-1", now=clock.now) is None
        code = await accounts.enrolment_code("anne", now=clock.now)
        bound = await accounts.bind(ISSUER, "sub-1", f" {code.lower()} ", now=clock.now)
        assert bound.login == "anne"
        assert await accounts.bound(ISSUER, "sub-1", now=clock.now) == bound
        assert await accounts.bound("https://other.example.org", "sub-1", now=clock.now) is None
        with pytest.raises(Unauthenticated):
            await accounts.bind(ISSUER, "sub-2", code, now=clock.now)
        late = await accounts.enrolment_code("anne", now=clock.now)
        clock.now += 24 * HOUR
        for wrong in (late, "ABCD-EFGH-2345-6789", ""):
            with pytest.raises(Unauthenticated):
                await accounts.bind(ISSUER, "sub-3", wrong, now=clock.now)
        assert await accounts.bound(ISSUER, "sub-3", now=clock.now) is None

    play(tmp_path, story)


def test_what_was_bound_to_an_account_is_not_bound_to_the_next_of_that_login(tmp_path: Path) -> None:
    """Whoever gets the login later is somebody else: neither identity nor code of the one before opens it."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        await accounts.bind(ISSUER, "sub-1", await accounts.enrolment_code("anne", now=clock.now), now=clock.now)
        code = await accounts.enrolment_code("anne", now=clock.now)
        assert await accounts.remove("anne", now=clock.now)
        await accounts.add("Anne", (PATIENT,))
        assert await accounts.bound(ISSUER, "sub-1", now=clock.now) is None
        with pytest.raises(Unauthenticated):
            await accounts.bind(ISSUER, "sub-2", code, now=clock.now)

    play(tmp_path, story)


def test_what_was_granted_ends_with_the_account_and_with_its_password(tmp_path: Path) -> None:
    """However long it was granted for: who took the password may have let a program in."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        async def granted() -> str:
            await begin(ledger, replace(PATIENT, session="grant"), until=clock.now + HOUR)
            await depend(ledger, "grant", f"{ACCOUNT}anne", until=clock.now + HOUR)
            return "grant"

        session = await granted()
        await accounts.set_password("ANNE", "another password", now=clock.now)
        assert await alive(ledger, session, now=clock.now) is None
        session = await granted()
        await accounts.remove("Anne", now=clock.now)
        assert await alive(ledger, session, now=clock.now) is None

    play(tmp_path, story)


def test_one_code_given_twice_at_once_binds_one(tmp_path: Path) -> None:
    """It is taken, not read."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        code = await accounts.enrolment_code("anne", now=clock.now)
        tries = (accounts.bind(ISSUER, f"sub-{number}", code, now=clock.now) for number in range(8))
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(not isinstance(each, Exception) for each in outcomes) == 1

    play(tmp_path, story)


def test_an_account_without_a_password_is_entered_by_none(tmp_path: Path) -> None:
    """Not by the empty one either."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        await accounts.add("bound-only", (PATIENT,))
        for password in ("", "anything at all"):
            with pytest.raises(Unauthenticated):
                await accounts.log_in("bound-only", password, now=clock.now)

    play(tmp_path, story)


def test_a_flood_of_logins_is_turned_away(tmp_path: Path) -> None:
    """Only so many wait for their turn; the rest is told to come again."""

    async def story(accounts: Accounts, ledger: Ledger, clock: Clock) -> None:
        passwords = Passwords(at_once=1, waiting=2)
        tries = (passwords.verify("", str(number)) for number in range(12))
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(each is False for each in outcomes) >= 1
        assert any(isinstance(each, Unavailable) for each in outcomes)
        assert await passwords.verify(await passwords.hash("later"), "later")

    play(tmp_path, story)


@settings(max_examples=50)
@given(st.text(max_size=20), st.text(max_size=20), st.lists(st.sampled_from(["patient", "rep", "admin"]), max_size=3))
def test_an_account_survives_being_kept(login: str, stamp: str, roles: list[str]) -> None:
    """account_of ∘ account_bytes is the identity."""
    from fhir_server.auth.accounts import Account

    account = Account(login, tuple(Actor(role, "Patient/1", login, "") for role in roles), "", stamp)
    assert account_of(account_bytes(account)) == account


def test_a_very_long_password_is_no_password() -> None:
    """What is cut off of it does not count as given."""

    async def go() -> None:
        passwords = Passwords()
        with pytest.raises(ValueError):
            await passwords.hash("x" * 2_000)
        kept = await passwords.hash("x" * 1_024)
        assert await passwords.verify(kept, "x" * 1_024)
        assert not await passwords.verify(kept, "x" * 1_025)

    asyncio.run(go())
