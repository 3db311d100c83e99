"""Encryption at rest: what lies in the file under a key that can be taken away (spec access §9).

Each record has a data key of its own, AES-256-GCM; the data keys lie in a file apart from the record, wrapped by a key
that encrypts keys (KEK), which is in neither. So a KEK is changed without touching a record, and a record is erased by
destroying its data key, in every copy of the record there is. What belongs to nobody's record, and the ledger, is under
the store's own data key, whose owner is "".

A sealed body: a byte for the form, the length of its owner's name and the name, a nonce, then the body in chunks of 1
MiB, each with a tag of its own. What a tag is about is the owner, "Type/id", the version, the number of the chunk and
that of the last: nothing can be moved, cut or put together otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from hmac import digest as hmac_digest
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
STORE: Final = ""
"""The owner of what is in nobody's record."""

_FORM: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_CHUNK: Final = 1 << 20
_SEALED_CHUNK: Final = _CHUNK + _TAG_BYTES
_PAGE: Final = 1000
_MOST_OPEN: Final = 4096
"""Data keys that are kept unwrapped in memory."""


class WrongKey(ValueError):
    """The KEK given is not the one that this store was encrypted with."""


class Erased(LookupError):
    """The data key is destroyed: what was sealed by it cannot be read by anybody."""


class Damaged(RuntimeError):
    """What is sealed is not what was sealed, or stands in another place."""


class Kek(Protocol):
    """The key that encrypts keys, wherever it is kept: a file, a KMS. `name` tells it from others and gives nothing
    away. It is asked once for each data key that is opened or made, on the thread that needs it."""

    name: str

    def wrap(self, key: bytes, owner: str) -> bytes:
        """The data key of that owner, wrapped."""

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        """The data key again; raises WrongKey."""


class LocalKek:
    """A KEK of 32 bytes in memory, AES-256-GCM."""

    def __init__(self, text: str) -> None:
        """`text`: 64 hexadecimal digits (`openssl rand -hex 32`). Raises ValueError, which does not say them."""
        try:
            key = bytes.fromhex(text.strip())
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError("the key that encrypts keys is 64 hexadecimal digits: openssl rand -hex 32")
        self._cipher = AESGCM(key)
        self.name = sha256(b"fhir-server kek 1" + key).hexdigest()[:16]

    def wrap(self, key: bytes, owner: str) -> bytes:
        """storage.cipher.Kek"""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, owner.encode())

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        """storage.cipher.Kek"""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], owner.encode())
        except InvalidTag:
            raise WrongKey("the key that encrypts keys does not open the data keys of this store") from None


class Wrapped(NamedTuple):
    """A data key as it is kept: the name of its KEK, and the wrapped key, empty when it is destroyed."""

    kek: str
    key: bytes


class Keys(Protocol):
    """Where the wrapped data keys are kept, apart from the record."""

    def find(self, owner: str) -> Wrapped | None:
        """The data key of that owner, None when there never was one."""

    def add(self, keys: Iterable[tuple[str, Wrapped]]) -> None:
        """Keep new keys, durably, all or none; an owner that has one keeps it."""

    def replace(self, owner: str, old: Wrapped, new: Wrapped) -> bool:
        """Put `new` in the place of `old`, which nothing is left of; False when there is another one by now."""

    def walk(self, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        """The keys by owner, those behind `after`."""

    def close(self) -> None:
        """Let go of them."""


class Keks(NamedTuple):
    """The KEK that wraps, and those before it that may still be needed to unwrap."""

    now: Kek
    before: tuple[Kek, ...] = ()

    def unwrap(self, wrapped: Wrapped, owner: str) -> bytes:
        """The data key; raises WrongKey, naming the KEK that is missing."""
        for kek in (self.now, *self.before):
            if kek.name == wrapped.kek:
                return kek.unwrap(wrapped.key, owner)
        raise WrongKey(f"this store needs the key that encrypts keys {wrapped.kek}; the one given is {self.now.name}")


class Cipher:
    """Seals and opens what a store keeps."""

    def __init__(self, keys: Keys, keks: Keks) -> None:
        """Raises WrongKey when the store's own data key cannot be unwrapped; makes it where there is none yet."""
        self.keys = keys
        self.keks = keks
        self._open: dict[str, AESGCM] = {}
        self.ready((STORE,))
        own = self._data_key(STORE)
        self._blinding = _derived(own, b"blind")
        self.name = _derived(own, b"name").hex()[:32]
        """Tells the data keys of this store from those of another."""

    def ready(self, owners: Iterable[str]) -> None:
        """Make the data keys that are missing, before anything is sealed by them."""
        missing = [owner for owner in dict.fromkeys(owners) if not self.has(owner)]
        if missing:
            kek = self.keks.now
            fresh = ((owner, Wrapped(kek.name, kek.wrap(os.urandom(KEY_BYTES), owner))) for owner in missing)
            self.keys.add(fresh)

    def has(self, owner: str) -> bool:
        """Whether there is, or was, a data key of that owner."""
        return owner in self._open or self.keys.find(owner) is not None

    def wrap(self, body: bytes, *, owner: str, place: str, version: int) -> bytes:
        """The sealed body. `owner`: the id of the patient, "" for nobody's; `place`: "Type/id". Raises Erased."""
        cipher, nonce = self._cipher(owner), os.urandom(_NONCE_BYTES)
        if len(body) <= _CHUNK:
            return header(owner) + nonce + cipher.encrypt(nonce, body, _about(owner, place, version))
        parts = [header(owner), nonce]
        chunks, last = memoryview(body), (len(body) - 1) // _CHUNK
        for number in range(last + 1):
            chunk = chunks[number * _CHUNK : (number + 1) * _CHUNK]
            about = _about(owner, place, version, number, last)
            parts.append(cipher.encrypt(_nth(nonce, number), chunk, about))
        return b"".join(parts)

    def unwrap(self, sealed: bytes, *, place: str, version: int) -> bytes:
        """The body. Raises Erased when its data key is destroyed, Damaged when it is not what `wrap` made for there."""
        owner, start = _owner_in(sealed)
        cipher, end = self._cipher(owner), start + _NONCE_BYTES
        nonce = sealed[start:end]
        try:
            if len(sealed) - end <= _SEALED_CHUNK:
                return cipher.decrypt(nonce, sealed[end:], _about(owner, place, version))
            parts = []
            chunks, last = memoryview(sealed)[end:], (len(sealed) - end - 1) // _SEALED_CHUNK
            for number in range(last + 1):
                chunk = chunks[number * _SEALED_CHUNK : (number + 1) * _SEALED_CHUNK]
                about = _about(owner, place, version, number, last)
                parts.append(cipher.decrypt(_nth(nonce, number), chunk, about))
        except (InvalidTag, ValueError):
            # ValueError: what is left is too short to be anything.
            raise Damaged("a body is not what was sealed there") from None
        return b"".join(parts)

    def blind(self, value: str) -> str:
        """What stands for a value that is only ever compared: the same for the same value in one store."""
        return hmac_digest(self._blinding, value.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()

    def is_destroyed(self, owner: str) -> bool:
        """Whether the data key of that owner has been taken away."""
        if owner in self._open:
            return False
        found = self.keys.find(owner)
        return found is not None and not found.key

    def destroyed(self) -> Iterator[str]:
        """Every owner whose data key has been taken away."""
        return (owner for owner, wrapped in self.all() if not wrapped.key)

    def all(self) -> Iterator[tuple[str, Wrapped]]:
        """Every data key, wrapped, but the store's own."""
        page = self.keys.walk(STORE, _PAGE)
        while page:
            yield from page
            page = self.keys.walk(page[-1][0], _PAGE)

    def close(self) -> None:
        """Let go of the keys."""
        self._open.clear()
        self.keys.close()

    def destroy(self, owner: str) -> bool:
        """Take the data key of that owner away for good; False when there is none to take away."""
        if owner == STORE:
            raise ValueError("the store's own data key is not destroyed")
        while (found := self.keys.find(owner)) is not None and found.key:
            if self.keys.replace(owner, found, Wrapped("", b"")):
                self._open.pop(owner, None)
                return True
        self._open.pop(owner, None)
        return False

    def rewrap(self, told: Callable[[int], None]) -> int:
        """Wrap every data key by the present KEK, the store's own last; how many were not. Raises WrongKey."""
        done = 0
        for number, (owner, found) in enumerate(self.all(), 1):
            done += self._rewrapped(owner, found)
            told(number)
        own = self.keys.find(STORE)
        return done + (own is not None and self._rewrapped(STORE, own))

    def _rewrapped(self, owner: str, found: Wrapped) -> bool:
        """Whether it was another KEK's; a key that is destroyed or has changed meanwhile is left alone."""
        kek = self.keks.now
        if not found.key or found.kek == kek.name:
            return False
        return self.keys.replace(owner, found, Wrapped(kek.name, kek.wrap(self.keks.unwrap(found, owner), owner)))

    def _cipher(self, owner: str) -> AESGCM:
        found = self._open.get(owner)
        if found is None:
            if len(self._open) >= _MOST_OPEN:
                self._open.clear()
            found = self._open[owner] = AESGCM(self._data_key(owner))
        return found

    def _data_key(self, owner: str) -> bytes:
        found = self.keys.find(owner)
        if found is None:
            raise Damaged("a body is sealed by a data key that the file of keys does not have")
        if not found.key:
            raise Erased
        return self.keks.unwrap(found, owner)


def header(owner: str) -> bytes:
    """What every body sealed for that owner begins with."""
    name = owner.encode()
    return _FORM + len(name).to_bytes(1) + name


def _owner_in(sealed: bytes) -> tuple[str, int]:
    """The owner of a sealed body, and where its nonce begins."""
    if len(sealed) < 2 or sealed[:1] != _FORM:
        raise Damaged("a body that should be sealed is not")
    end = 2 + sealed[1]
    try:
        return sealed[2:end].decode(), end
    except UnicodeDecodeError:
        raise Damaged("a body is not what was sealed there") from None


def _nth(nonce: bytes, number: int) -> bytes:
    """The nonce of a chunk: counted up from a random one of 96 bits, as no two bodies need share."""
    return ((int.from_bytes(nonce) + number) % (1 << 8 * _NONCE_BYTES)).to_bytes(_NONCE_BYTES)


def _about(owner: str, place: str, version: int, number: int = 0, last: int = 0) -> bytes:
    return f"{owner}|{place}|{version}|{number}|{last}".encode()


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac_digest(key, b"fhir-server " + purpose + b" 1", "sha256")
