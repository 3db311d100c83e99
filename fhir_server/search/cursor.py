"""Paging tokens: where a page ended, sealed for one search and one caller (spec access §5)."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import sha256
from typing import Final

import orjson

from fhir_server.errors import Malformed

_MAC: Final = 32
_PURPOSE: Final = b"fhir-server page 1"

After = tuple[int | str, int]


class Cursors:
    """Seals and opens paging tokens with one key, at least 32 bytes, the same in every process of a server."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError for a short key."""
        if len(key) < 32:
            raise ValueError("a key of at least 32 bytes is needed")
        self._key = key

    def seal(self, after: After, *, query: str, binding: str) -> str:
        """A token of URL-safe characters. `after`: (sort key, position) of the last row of a page; `query`:
        Query.digest; `binding`: the caller, as a string that no other caller has."""
        position = orjson.dumps(after)
        return urlsafe_b64encode(self._mac(position, query, binding) + position).rstrip(b"=").decode()

    def open(self, token: str, *, query: str, binding: str) -> After:
        """The position sealed in `token`. Raises Malformed for another search, another caller, or any change."""
        try:
            sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (ValueError, Error):
            raise _refused() from None
        mac, position = sealed[:_MAC], sealed[_MAC:]
        genuine = hmac.compare_digest(mac, self._mac(position, query, binding))
        # Two spellings of the same bytes would be two tokens for one page.
        if not genuine or urlsafe_b64encode(sealed).rstrip(b"=").decode() != token:
            raise _refused()
        key, row = orjson.loads(position)
        return key, row

    def _mac(self, position: bytes, query: str, binding: str) -> bytes:
        """Every part is led by its length, so that none can lend characters to the next."""
        parts = (_PURPOSE, query.encode(), binding.encode(), position)
        framed = b"".join(len(part).to_bytes(8) + part for part in parts)
        return hmac.digest(self._key, framed, sha256)


def _refused() -> Malformed:
    return Malformed("This link to a page is not valid for this search and caller.", expression="_cursor")
