"""Seals of the access log: now and then the end of its chain is signed, so that no one rewrites what lies before.

A seal says of row n that the chain had hash h there, signed with Ed25519 (spec access §6). Those in the store prove
something to whom cannot be the one who holds the signing key; those that were exported and kept elsewhere, to everyone.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fhir_server.consent.audit_chain import BEGINNING, Verdict, verify
from fhir_server.storage.chain import CHAIN_ID
from fhir_server.storage.interface import Ledger, System

CHAIN: Final = CHAIN_ID.decode()
_KIND, _KEY_KIND, _KEY = "seal", "key", "audit"
_GENESIS: Final = "genesis"
_SKEW: Final = 5_000_000
"""Microseconds by which two clocks may differ."""

_PEM: Final = re.compile(rb"-----BEGIN (PRIVATE|PUBLIC) KEY-----.+?-----END \1 KEY-----\n?", re.DOTALL)


class Unsealed(ValueError):
    """A key or an exported file of seals cannot be read, or there is no such seal."""


@dataclass(frozen=True, slots=True)
class Seal:
    """That row `n` of `chain` has `hash` (hexadecimal), said at `time` (microseconds). `pruned`: the rows up to n are
    gone, and the chain begins after it. `signature`: base64, of the canonical JSON of the rest, by the key `kid`."""

    chain: str
    n: int
    hash: str
    time: int
    kid: str
    pruned: bool = False
    signature: str = ""

    def signed(self) -> bytes:
        """What the signature is of."""
        said = asdict(self)
        del said["signature"]
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key that signs, and all whose signatures hold, by their names."""

    signing: Ed25519PrivateKey
    known: Mapping[str, Ed25519PublicKey]

    def sign(self, seal: Seal) -> Seal:
        """The seal with the name of the key and its signature."""
        named = replace(seal, kid=kid_of(self.signing.public_key()))
        return replace(named, signature=b64encode(self.signing.sign(named.signed())).decode())


def kid_of(key: Ed25519PublicKey) -> str:
    """The name of a key: the beginning of its SHA-256, in hexadecimal."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def holds(seal: Seal, known: Mapping[str, Ed25519PublicKey]) -> bool:
    """Whether it is a seal of this chain, signed by one of these keys."""
    key = known.get(seal.kid)
    if key is None or seal.chain != CHAIN:
        return False
    try:
        key.verify(b64decode(seal.signature, validate=True), seal.signed())
    except (InvalidSignature, ValueError):
        return False
    return True


async def keyring(ledger: Ledger, file: str, now: int) -> Keyring:
    """The keys in that file (PEM, the one that signs first, readable by its owner only), or, without one, in the
    ledger, where the first process on a store makes it. Raises Unsealed."""
    if file:
        return _ring(_private_file(Path(file)))
    await ledger.put(_KEY_KIND, _KEY, _new_key(), expires=None, only_new=True)
    return _ring(await ledger.get(_KEY_KIND, _KEY, now=now) or b"")


async def rotate(ledger: Ledger, file: str, now: int) -> Keyring:
    """A new key signs from now on; what the old ones have signed still holds. Their private halves are gone."""
    path = Path(file)
    known = (await keyring(ledger, file, now)).known.values() if not file or path.exists() else ()
    kept = _new_key() + b"".join(each.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for each in known)
    if file:
        beside = path.with_name(path.name + ".new")
        beside.unlink(missing_ok=True)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            written.write(kept)
        beside.replace(path)
    else:
        await ledger.put(_KEY_KIND, _KEY, kept, expires=None)
    return _ring(kept)


async def seal(system: System, ledger: Ledger, ring: Keyring, now: int) -> Seal | None:
    """Seal the end of the chain; None when nothing was written since the last seal."""
    n, hash = await system.audit_head()
    made = ring.sign(Seal(CHAIN, n, hash.hex(), now, ""))
    if not n or not await ledger.put(_KIND, f"{n:016}", _bytes(made), expires=None, only_new=True):
        return None
    return made


async def fault_of_end(system: System, ledger: Ledger, now: int) -> str:
    """Why the log is not to be written on, "" when it is: its last row is not the one that was recorded apart, or is of
    a time to come, so that one of the clocks was wrong."""
    seq, head = await system.audit_head()
    last = await anext(system.audit_chain(seq), None) if seq else None
    if last is None:
        begun = await genesis(ledger, now) if seq else None
        return "" if seq == (begun.n if begun else 0) else "The end of the access log is missing."
    if (last.seq, last.hash) != (seq, head):
        return "The end of the access log is not what was written."
    return "The clock is behind the access log." if last.row.time > now + _SKEW else ""


async def seals(ledger: Ledger, now: int) -> list[Seal]:
    """All seals that the store keeps, the first row first."""
    kept = [await ledger.get(_KIND, key, now=now) for key in await ledger.keys(_KIND, now=now) if key != _GENESIS]
    return [seal_of(orjson.loads(each)) for each in kept if each is not None]


async def genesis(ledger: Ledger, now: int) -> Seal | None:
    """After which row the chain begins, when earlier ones were pruned."""
    kept = await ledger.get(_KIND, _GENESIS, now=now)
    return seal_of(orjson.loads(kept)) if kept else None


async def prune(system: System, ledger: Ledger, ring: Keyring, n: int, now: int) -> Verdict:
    """Let the rows up to that seal go: what they said is known to be whole, and the chain begins anew after it.

    Raises Unsealed for a row without a seal. Nothing is pruned, and the verdict says why, where the chain is broken.
    """
    known = await seals(ledger, now)
    wanted = next((each for each in known if each.n == n), None)
    if wanted is None:
        raise Unsealed(f"row {n} has no seal")
    verdict = await verified(system, ledger, ring.known, known, now)
    if verdict.intact:
        begun = ring.sign(replace(wanted, time=now, pruned=True, signature=""))
        await system.prune_audit(n, _KIND, _GENESIS, _bytes(begun))
    return verdict


async def verified(
    system: System,
    ledger: Ledger,
    known: Mapping[str, Ed25519PublicKey],
    sealed: Sequence[Seal],
    now: int,
    *,
    first: int = 1,
) -> Verdict:
    """Walk the chain, from row `first` on, and hold it against these seals."""
    begun = await genesis(ledger, now)
    for each in sorted((*sealed, *([begun] if begun else ())), key=lambda each: each.n):
        if not holds(each, known):
            return Verdict(0, each.n, "bad-seal")
    after = (begun.n, bytes.fromhex(begun.hash)) if begun else BEGINNING
    hashes = {each.n: bytes.fromhex(each.hash) for each in sealed}
    if first <= after[0] + 1:
        return await verify(system, after=after, seals=hashes)
    async for before in system.audit_chain(first - 1):
        if before.seq == first - 1 and hashes.get(before.seq, before.hash) == before.hash:
            return await verify(system, after=(before.seq, before.hash), whole=False, seals=hashes)
        break
    return Verdict(0, first - 1, "altered" if first - 1 in hashes else "missing")


def exported(ring: Keyring, kept: Iterable[Seal]) -> bytes:
    """Seals with the public keys that they are checked by, as one JSON object to be kept elsewhere."""
    keys = {
        kid: b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode() for kid, key in ring.known.items()
    }
    told = {"chain": CHAIN, "keys": keys, "seals": [asdict(each) for each in kept]}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def imported(data: bytes) -> tuple[dict[str, Ed25519PublicKey], list[Seal]]:
    """The keys and seals of `exported`. Raises Unsealed for anything else."""
    try:
        told = orjson.loads(data)
        keys = [Ed25519PublicKey.from_public_bytes(b64decode(each, validate=True)) for each in told["keys"].values()]
        return {kid_of(each): each for each in keys}, [seal_of(each) for each in told["seals"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unsealed("this is no export of seals") from error


def seal_of(said: Any) -> Seal:
    """The seal of its JSON. Raises ValueError for anything else."""
    try:
        found = Seal(**said)
        bytes.fromhex(found.hash)
    except TypeError as error:
        raise ValueError("not a seal") from error
    if type(found.n) is not int or type(found.time) is not int or not isinstance(found.signature, str):
        raise ValueError("not a seal")
    return found


def _bytes(seal: Seal) -> bytes:
    return orjson.dumps(asdict(seal), option=orjson.OPT_SORT_KEYS)


def _new_key() -> bytes:
    made = Ed25519PrivateKey.generate()
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _ring(pem: bytes) -> Keyring:
    """The keys of PEM blocks, of which the first is private."""
    signing: Ed25519PrivateKey | None = None
    known = {}
    for block in _PEM.finditer(pem):
        key: Any = load_pem_private_key(block[0], None) if block[1] == b"PRIVATE" else load_pem_public_key(block[0])
        if isinstance(key, Ed25519PrivateKey):
            signing, key = signing or key, key.public_key()
        if not isinstance(key, Ed25519PublicKey):
            raise Unsealed("the keys of seals are of Ed25519")
        known[kid_of(key)] = key
    if signing is None:
        raise Unsealed("there is no private key to seal with")
    return Keyring(signing, known)


def _private_file(path: Path) -> bytes:
    try:
        if path.stat().st_mode & 0o077:
            raise Unsealed(f"{path} must be readable by its owner only (mode 0600)")
        return path.read_bytes()
    except OSError as error:
        raise Unsealed(f"{path} cannot be read") from error
