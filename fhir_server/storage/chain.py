"""The chain of the access log: each row's hash covers all rows before it, whatever store keeps them (access §6)."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

CHAIN_ID: Final = b"fhir-server audit 1"
GENESIS: Final = sha256(CHAIN_ID).digest()
"""What the first row's hash is linked to."""


def link(before: bytes, body: bytes) -> bytes:
    """The hash of a row: SHA-256 of the hash before it, then its own bytes."""
    return sha256(before + body).digest()
