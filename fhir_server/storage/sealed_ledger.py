"""The ledger of a store that is encrypted: values are sealed before it gets them, under the store's own data key."""

from __future__ import annotations

from fhir_server.storage.cipher import STORE, Cipher
from fhir_server.storage.interface import Ledger


class SealedLedger:
    """storage.interface.Ledger, over another one. Kinds and keys stay as they are: they are looked for."""

    def __init__(self, ledger: Ledger, cipher: Cipher) -> None:
        self._ledger = ledger
        self._cipher = cipher

    async def get(self, kind: str, key: str, *, now: int) -> bytes | None:
        return self._opened(kind, key, await self._ledger.get(kind, key, now=now))

    async def put(self, kind: str, key: str, value: bytes, *, expires: int | None, only_new: bool = False) -> bool:
        sealed = sealed_value(self._cipher, kind, key, value)
        return await self._ledger.put(kind, key, sealed, expires=expires, only_new=only_new)

    async def delete(self, kind: str, key: str) -> bool:
        return await self._ledger.delete(kind, key)

    async def take(self, kind: str, key: str) -> bytes | None:
        return self._opened(kind, key, await self._ledger.take(kind, key))

    async def swap(self, kind: str, key: str, old: bytes, new: bytes, *, expires: int | None) -> bool:
        # No two sealings of one value are alike: the one that lies there is what is exchanged, if it is of `old`. The
        # ledger itself sees to it that it is still alive.
        found = await self._ledger.get(kind, key, now=0)
        if found is None or self._opened(kind, key, found) != old:
            return False
        return await self._ledger.swap(kind, key, found, sealed_value(self._cipher, kind, key, new), expires=expires)

    async def keys(self, kind: str, *, prefix: str = "", now: int) -> list[str]:
        return await self._ledger.keys(kind, prefix=prefix, now=now)

    def _opened(self, kind: str, key: str, sealed: bytes | None) -> bytes | None:
        return None if sealed is None else self._cipher.unwrap(sealed, place=_place(kind, key), version=0)


def sealed_value(cipher: Cipher, kind: str, key: str, value: bytes) -> bytes:
    """A value as the ledger keeps it."""
    return cipher.wrap(value, owner=STORE, place=_place(kind, key), version=0)


def _place(kind: str, key: str) -> str:
    # No resource is called so, and no kind has a line break in it.
    return f"{kind}\n{key}"
