"""Public keys that clients sign with: which are good enough, and which one a signature names (RFC 7517)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from typing import Any, Final

ALGORITHMS: Final[Mapping[str, tuple[str, str]]] = {"RS384": ("RSA", ""), "ES384": ("EC", "P-384")}
"""What a client may sign with (SMART App Launch 2.2, asymmetric authentication): the type and curve of its key."""

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_LEAST_BYTES: Final = 256
_MOST_BYTES: Final = 1024


def key_fault(key: object) -> str:
    """What is wrong with a key as one to verify signatures with, "" if nothing."""
    if not isinstance(key, Mapping):
        return "A key is a JSON object."
    if not _PRIVATE.isdisjoint(key):
        return "A private key is nobody else's business: give the public one, and make a new one."
    if not isinstance(key.get("kid"), str) or not key["kid"]:
        return "A key has a kid."
    operations = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return "This key is not for signatures."
    if not _of_a_kind(key):
        return "A key is RSA of 2048 bits or more, or EC on P-384."
    return ""


def key_named(keys: Iterable[Any], kid: str, alg: str) -> Mapping[str, Any] | None:
    """The one key with that kid, if it is of the type that `alg` signs with; None when none is, or several are."""
    found = [key for key in keys if isinstance(key, Mapping) and key.get("kid") == kid]
    if len(found) != 1 or key_fault(found[0]):
        return None
    key, (kty, crv) = found[0], ALGORITHMS[alg]
    if key["kty"] != kty or key.get("crv", "") != crv or key.get("alg", alg) != alg:
        return None
    return key


def _of_a_kind(key: Mapping[str, Any]) -> bool:
    if key.get("kty") == "RSA":
        return _LEAST_BYTES <= _size(key.get("n")) <= _MOST_BYTES and 0 < _size(key.get("e")) <= 8
    return key.get("kty") == "EC" and key.get("crv") == "P-384" and _size(key.get("x")) == _size(key.get("y")) == 48


def _size(number: object) -> int:
    """Bytes of a base64url number; 0 for anything else."""
    if not isinstance(number, str):
        return 0
    try:
        return len(urlsafe_b64decode(number + "=" * (-len(number) % 4)))
    except ValueError:
        return 0
