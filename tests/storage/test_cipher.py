"""Bodies are sealed to their place, by keys that are sealed by another key."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.storage.cipher import STORE, Cipher, Damaged, Erased, Keks, LocalKek, Wrapped, WrongKey, header

OLD, NEW = LocalKek("0a" * 32), LocalKek("0b" * 32)
MIB = 1 << 20


class Drawer:
    """Wrapped keys in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Wrapped] = {}
        self.asked = 0

    def find(self, owner: str) -> Wrapped | None:
        self.asked += 1
        return self.kept.get(owner)

    def add(self, keys: Iterable[tuple[str, Wrapped]]) -> None:
        for owner, wrapped in keys:
            self.kept.setdefault(owner, wrapped)

    def replace(self, owner: str, old: Wrapped, new: Wrapped) -> bool:
        if self.kept.get(owner) != old:
            return False
        self.kept[owner] = new
        return True

    def walk(self, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        return sorted((owner, key) for owner, key in self.kept.items() if owner > after)[:limit]

    def close(self) -> None:
        pass


@pytest.fixture
def drawer() -> Drawer:
    """Where the keys lie."""
    return Drawer()


@pytest.fixture
def cipher(drawer: Drawer) -> Cipher:
    """With keys of the patients p1 and p2."""
    cipher = Cipher(drawer, Keks(OLD))
    cipher.ready(("p1", "p2"))
    return cipher


def sealed(cipher: Cipher, body: bytes, owner: str = "p1", place: str = "Observation/o1", version: int = 1) -> bytes:
    """A sealed body."""
    return cipher.wrap(body, owner=owner, place=place, version=version)


def opened(cipher: Cipher, body: bytes, place: str = "Observation/o1", version: int = 1) -> bytes:
    """What was sealed there."""
    return cipher.unwrap(body, place=place, version=version)


@pytest.mark.parametrize("size", [0, 1, 2_500, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 7])
@pytest.mark.parametrize("owner", ["p1", STORE])
def test_what_is_sealed_is_opened_again(cipher: Cipher, size: int, owner: str) -> None:
    """Of any size; each chunk of a MiB costs 16 bytes."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    found = sealed(cipher, body, owner)
    assert len(found) == size + len(header(owner)) + 12 + 16 * max(-(-size // MIB), 1)
    assert opened(cipher, found) == body
    # So much cannot be there by chance.
    assert size < 40 or body[:40] not in found


def test_no_two_sealings_are_alike(cipher: Cipher) -> None:
    """Nothing tells that two bodies are the same."""
    assert sealed(cipher, b"same")[len(header("p1")) :] != sealed(cipher, b"same")[len(header("p1")) :]


@settings(max_examples=60)
@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    """One bit anywhere, the owner's name included."""
    cipher = Cipher(Drawer(), Keks(OLD))
    cipher.ready(("p1",))
    found = bytearray(sealed(cipher, b"content"))
    at = data.draw(st.integers(0, len(found) - 1))
    found[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged):
        opened(cipher, bytes(found))


def test_a_body_opens_in_its_own_place_only(cipher: Cipher) -> None:
    """Not as another resource, not as another version, not as another patient's, and not without its last chunk."""
    found = sealed(cipher, b"x" * (2 * MIB))
    for place, version in (("Observation/o2", 1), ("Observation/o1", 2)):
        with pytest.raises(Damaged):
            opened(cipher, found, place, version)
    with pytest.raises(Damaged):
        opened(cipher, header("p2") + found[len(header("p1")) :])
    start, chunk = len(header("p1")) + 12, MIB + 16
    for cut in (found[: start + chunk], found[:start] + found[start + chunk :], found + found[-chunk:]):
        with pytest.raises(Damaged):
            opened(cipher, cut)
    with pytest.raises(Damaged):
        opened(cipher, b'{"resourceType":"Observation"}')
    for size in range(len(found[:40])):
        with pytest.raises(Damaged):
            opened(cipher, found[:size])


def test_a_destroyed_key_opens_nothing_and_is_not_made_again(cipher: Cipher, drawer: Drawer) -> None:
    """Neither for reading nor for writing; the others' keys stay."""
    found, other = sealed(cipher, b"one"), sealed(cipher, b"other", "p2")
    assert cipher.destroy("p1")
    assert not cipher.destroy("p1")
    assert not cipher.destroy("nobody")
    cipher.ready(("p1",))
    with pytest.raises(Erased):
        opened(cipher, found)
    with pytest.raises(Erased):
        sealed(cipher, b"more")
    assert opened(cipher, other) == b"other"
    assert drawer.kept["p1"] == Wrapped("", b"")
    assert cipher.is_destroyed("p1")
    assert not cipher.is_destroyed("p2")
    assert list(cipher.destroyed()) == ["p1"]
    with pytest.raises(ValueError, match="own"):
        cipher.destroy(STORE)


def test_a_new_kek_wraps_the_same_data_keys(cipher: Cipher, drawer: Drawer) -> None:
    """Both are accepted meanwhile; afterwards the old one is not needed, and opens nothing."""
    found = sealed(cipher, b"one")
    cipher.destroy("p2")
    both = Cipher(drawer, Keks(NEW, (OLD,)))
    assert opened(both, found) == b"one"
    both.ready(("p3",))
    assert drawer.kept["p3"].kek == NEW.name
    seen: list[int] = []
    assert both.rewrap(seen.append) == 2
    assert seen == [1, 2, 3]
    assert both.rewrap(seen.append) == 0
    assert opened(Cipher(drawer, Keks(NEW)), found) == b"one"
    assert both.name == cipher.name
    assert both.blind("x") == cipher.blind("x")
    with pytest.raises(WrongKey, match=NEW.name):
        Cipher(drawer, Keks(OLD))


def test_a_rotation_that_breaks_off_is_gone_on_with(cipher: Cipher, drawer: Drawer) -> None:
    """Each key is wrapped by one KEK or the other at any moment."""

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    both = Cipher(drawer, Keks(NEW, (OLD,)))
    with pytest.raises(KeyboardInterrupt):
        both.rewrap(stop)
    assert sorted(wrapped.kek for wrapped in drawer.kept.values()) == sorted([NEW.name, OLD.name, OLD.name])
    assert both.rewrap(lambda done: None) == 2
    assert {wrapped.kek for wrapped in drawer.kept.values()} == {NEW.name}


def test_a_wrapped_key_is_its_owners(cipher: Cipher, drawer: Drawer) -> None:
    """Put under another name it opens nothing."""
    drawer.kept["p3"] = drawer.kept["p1"]
    with pytest.raises(WrongKey):
        sealed(cipher, b"x", "p3")


def test_data_keys_are_unwrapped_once(cipher: Cipher, drawer: Drawer) -> None:
    """And kept in a bounded number."""
    sealed(cipher, b"x")
    before = drawer.asked
    for _ in range(10):
        sealed(cipher, b"x")
    assert drawer.asked == before
    cipher.ready(str(n) for n in range(5_000))
    for n in range(5_000):
        sealed(cipher, b"x", str(n))
    assert 0 < len(cipher._open) <= 4_096


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "not hexadecimal" * 4, "00" * 16 + " " + "zz" * 16])
def test_a_kek_of_another_form_is_refused_without_being_told(text: str) -> None:
    """The message says how to make one."""
    with pytest.raises(ValueError, match="openssl rand -hex 32") as error:
        LocalKek(text)
    assert not text or text not in str(error.value)


def test_a_blind_value_is_the_same_for_the_same_value_in_one_store(cipher: Cipher) -> None:
    """And another one in any other store."""
    assert cipher.blind("279035121518989") == cipher.blind("279035121518989")
    assert len({cipher.blind("a"), cipher.blind("b"), Cipher(Drawer(), Keks(OLD)).blind("a")}) == 3
