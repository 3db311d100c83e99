"""Paging tokens: where a page ended, sealed for one search and one caller (spec access §5).

Sealed means encrypted, not only signed: the store's own position grows with every row that is written, visible or not,
so a caller who could read it would count what is hidden.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final, TypeAlias

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from fhir_server.errors import Malformed
from fhir_server.search.plan import Value

_PURPOSE: Final = b"fhir-server page 1"
# A length that does not grow with the position.
_BLOCK: Final = 64

After: TypeAlias = tuple[tuple[Value, ...], int]


class Cursors:
    """Seals and opens paging tokens with one key of 32 bytes, the same in every process of a server."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError for a key of another length."""
        if len(key) != 32:
            raise ValueError("a key of 32 bytes is needed")
        self._cipher = AESSIV(key)

    def seal(self, after: After, *, query: str, binding: str) -> str:
        """A token of URL-safe characters, the same for the same page (AES-SIV, RFC 5297).

        `after`: Plan.after, the place of the last row of a page; `query`: Query.digest; `binding`: the caller, as a
        string that no other caller has.
        """
        position = orjson.dumps(after)
        padded = position.ljust(-(-len(position) // _BLOCK) * _BLOCK)
        sealed = self._cipher.encrypt(padded, [_PURPOSE, query.encode(), binding.encode()])
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, token: str, *, query: str, binding: str) -> After:
        """The position sealed in `token`. Raises Malformed for another search, another caller, or any change."""
        try:
            sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
            position = self._cipher.decrypt(sealed, [_PURPOSE, query.encode(), binding.encode()])
        except (ValueError, Error, InvalidTag):
            raise _refused() from None
        # Two spellings of the same bytes would be two tokens for one page.
        if urlsafe_b64encode(sealed).rstrip(b"=").decode() != token:
            raise _refused()
        values, row = orjson.loads(position)
        return tuple(values), row


def _refused() -> Malformed:
    return Malformed("This link to a page is not valid for this search and caller.", expression="_cursor")
