"""That no line of the access log can be changed, added or taken away unseen (access §6, I14)."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.consent import seals
from fhir_server.consent.audit import row
from fhir_server.consent.audit_chain import Verdict, verify
from fhir_server.storage import open_store
from fhir_server.storage.chain import link
from fhir_server.storage.interface import AuditEntry, AuditRow, Commit, Store
from tests.consent.consent_store import DOCTOR, NOW, House
from tests.consent.test_audit import Asked
from tests.consent.test_policy import run

GENESIS = sha256(b"chain").digest()
ROWS, SEALED = 12, (4, 8, 11)
T = TypeVar("T")

# A chain in memory


class Chain:
    """A chain of lines in memory, as storage.interface.System tells it."""

    def __init__(self, rows: Iterable[AuditRow]) -> None:
        self.entries: list[AuditEntry] = []
        before = GENESIS
        for seq, each in enumerate(rows, 1):
            before = sha256(before + each.body).digest()
            self.entries.append(AuditEntry(seq, before, each))
        self.head = (len(self.entries), before)

    async def audit_chain(self, first: int = 1) -> AsyncIterator[AuditEntry]:
        """Every row from there, as it stands."""
        for each in [each for each in self.entries if each.seq >= first]:
            yield each

    async def audit_head(self) -> tuple[int, bytes]:
        """The last row as the store remembers it."""
        return self.head


def _chain(length: int = 6) -> Chain:
    return Chain(row(DOCTOR, Asked(id=f"o{each}"), outcome="", now=NOW + each) for each in range(length))


def _verdict(chain: Chain) -> Verdict:
    return asyncio.run(verify(chain, after=(0, GENESIS)))


@pytest.mark.parametrize("length", [0, 1, 6])
def test_a_whole_chain_is_intact(length: int) -> None:
    """An empty one too."""
    verdict = _verdict(_chain(length))
    assert verdict.intact
    assert str(verdict) == f"intact: {length} rows"


@settings(max_examples=100)
@given(st.integers(0, 5), st.data())
def test_any_changed_byte_is_found_at_its_row(place: int, data: st.DataObject) -> None:
    """I14: the first bad row is named."""
    chain = _chain()
    entry = chain.entries[place]
    index = data.draw(st.integers(0, len(entry.row.body) - 1))
    body = bytearray(entry.row.body)
    body[index] ^= data.draw(st.integers(1, 255))
    chain.entries[place] = replace(entry, row=replace(entry.row, body=bytes(body)))
    assert _verdict(chain) == Verdict(place, place + 1, "altered")


@pytest.mark.parametrize("change", [{"id": "other"}, {"patient": "p2"}, {"time": 1}], ids=str)
def test_a_column_that_no_longer_says_what_its_line_says_is_found(change: dict[str, Any]) -> None:
    """The hash covers the body; the columns are held to it."""
    chain = _chain()
    chain.entries[2] = replace(chain.entries[2], row=replace(chain.entries[2].row, **change))
    assert _verdict(chain) == Verdict(2, 3, "altered")


@pytest.mark.parametrize("place", range(6))
def test_a_line_taken_out_is_missing(place: int) -> None:
    """At the end it is truncation."""
    chain = _chain()
    del chain.entries[place]
    assert _verdict(chain) == Verdict(place, place + 1, "missing" if place < 5 else "truncated")


@pytest.mark.parametrize("place", range(5))
def test_lines_that_changed_places_are_reordered(place: int) -> None:
    """Whether they kept their numbers or not."""
    chain = _chain()
    one, other = chain.entries[place : place + 2]
    chain.entries[place : place + 2] = [replace(other, seq=one.seq), replace(one, seq=other.seq)]
    assert _verdict(chain) == Verdict(place, place + 1, "reordered")
    chain = _chain()
    chain.entries[place], chain.entries[place + 1] = chain.entries[place + 1], chain.entries[place]
    assert not _verdict(chain).intact


def test_a_chain_of_another_genesis_or_head_is_not_this_one() -> None:
    """A chain replaced from its first row is altered there; a last row replaced with its hash, at the head."""
    chain = _chain()
    assert asyncio.run(verify(chain, after=(0, sha256(b"other").digest()))) == Verdict(0, 1, "altered")
    longer = _chain(7)
    chain.entries[-1] = longer.entries[-1]
    assert not _verdict(chain).intact
    swapped = _chain()
    swapped.head = (6, b"x" * 32)
    assert _verdict(swapped) == Verdict(6, 6, "altered")


def test_the_chain_of_a_store_is_intact(tmp_path: Path) -> None:
    """What the store writes is what the verification expects."""

    async def story(at: House) -> None:
        assert (await verify(at.store.system())).intact
        await at.log(*(row(DOCTOR, Asked(id=f"o{each}"), outcome="", now=NOW) for each in range(4)))
        assert await verify(at.store.system()) == Verdict(4)

    run(tmp_path, story)


# A store, with seals


def _with(path: Path, act: Callable[[Store], Awaitable[T]]) -> T:
    async def go() -> T:
        store = open_store(f"sqlite:{path}", clock=lambda: NOW)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(go())


async def _sealed(store: Store) -> bytes:
    """Write the rows, seal some of them; the seals as they are exported."""
    ring = await seals.keyring(store.ledger, "", NOW)
    for seq in range(1, ROWS + 1):
        asked = Asked(id=f"o{seq}", patient=f"p{seq % 3}")
        await store.commit(Commit(audits=(row(DOCTOR, asked, outcome="", now=NOW + seq),)))
        if seq in SEALED:
            made = await seals.seal(store.system(), store.ledger, ring, NOW + seq)
            assert made is not None
            assert made.n == seq
    return seals.exported(ring, await seals.seals(store.ledger, NOW))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A store with a sealed log, and the seals that were kept elsewhere."""
    path = tmp_path_factory.mktemp("log") / "record.db"
    return path, _with(path, _sealed)


async def _judged(store: Store, kept: bytes | None = None, first: int = 1) -> Verdict:
    """The verdict, by the store's own seals or by those that were kept elsewhere."""
    if kept is None:
        ring = await seals.keyring(store.ledger, "", NOW)
        known, sealed = dict(ring.known), await seals.seals(store.ledger, NOW)
    else:
        known, sealed = seals.imported(kept)
    return await seals.verified(store.system(), store.ledger, known, sealed, NOW, first=first)


def _copy(original: tuple[Path, bytes], folder: Path) -> Path:
    return Path(shutil.copy(original[0], folder / "copy.db"))


def _rewrite(file: sqlite3.Connection, place: int, change: Callable[[dict[str, Any]], None]) -> None:
    """What somebody does who knows the format: another line, and every hash after it made to fit, the head too."""
    (before,) = file.execute("SELECT hash FROM audit WHERE seq = ?", (place - 1,)).fetchone() or (seals.BEGINNING[1],)
    for seq, body in file.execute("SELECT seq, body FROM audit WHERE seq >= ? ORDER BY seq", (place,)).fetchall():
        said = orjson.loads(body)
        if seq == place:
            change(said)
        body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
        before = link(before, body)
        file.execute("UPDATE audit SET body = ?, hash = ? WHERE seq = ?", (body, before, seq))
    file.execute("UPDATE head SET hash = ?", (before,))


def test_a_sealed_log_is_intact_by_its_own_seals_and_by_those_kept_elsewhere(original: tuple[Path, bytes]) -> None:
    """From the first row, and from any other."""
    path, kept = original
    for elsewhere in (None, kept):
        for first in range(1, ROWS + 1):
            verdict = _with(path, lambda store, e=elsewhere, f=first: _judged(store, e, f))  # type: ignore[misc]
            assert verdict == Verdict(ROWS - first + 1, sealed=sum(each >= first for each in SEALED))


@settings(max_examples=60)
@given(data=st.data())
def test_any_tampering_with_the_table_is_seen(
    original: tuple[Path, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """I14: whatever is changed, taken out, put in, moved or cut off, column by column, row by row."""
    path = _copy(original, tmp_path_factory.mktemp("tampered"))
    seq = st.integers(1, ROWS)
    one, other = data.draw(st.lists(seq, min_size=2, max_size=2, unique=True))
    act = data.draw(
        st.sampled_from(
            [
                ("UPDATE audit SET id = id || 'x' WHERE seq = ?", (one,)),
                ("UPDATE audit SET time = time + 1 WHERE seq = ?", (one,)),
                ("UPDATE audit SET cid = 0 WHERE seq = ?", (one,)),
                ("UPDATE audit SET cid = (SELECT max(cid) + 1 FROM audit) WHERE seq = ?", (one,)),
                ("UPDATE audit SET body = CAST(body AS TEXT) WHERE seq = ?", (one,)),
                ("UPDATE audit SET body = replace(body, '\"R\"', '\"C\"') WHERE seq = ?", (one,)),
                ("UPDATE audit SET body = X'7B7D' WHERE seq = ?", (one,)),
                ("UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = ?) WHERE seq = ?", (other, one)),
                ("UPDATE audit SET hash = hex(hash) WHERE seq = ?", (one,)),
                ("DELETE FROM audit WHERE seq = ?", (one,)),
                ("DELETE FROM audit WHERE seq >= ?", (one,)),
                ("DELETE FROM audit WHERE seq <= ?", (one,)),
                ("UPDATE audit SET seq = -seq WHERE seq = ?", (one,)),
                ("UPDATE audit SET seq = seq + 100 WHERE seq >= ?", (one,)),
                (
                    "INSERT INTO audit SELECT seq + 100, id || 'y', cid, time, body, hash FROM audit WHERE seq = ?",
                    (one,),
                ),
                ("INSERT INTO audit SELECT -seq, id || 'y', cid, time, body, hash FROM audit WHERE seq = ?", (one,)),
                ("INSERT INTO audit SELECT 0, id || 'y', cid, time, body, hash FROM audit WHERE seq = ?", (one,)),
                ("UPDATE head SET seq = seq - ?", (one,)),
                ("UPDATE head SET hash = zeroblob(32) WHERE ?", (1,)),
            ]
        )
    )
    with sqlite3.connect(path) as file:
        assert file.execute(*act).rowcount > 0
    file.close()
    for elsewhere in (None, original[1]):
        assert not _with(path, lambda store, e=elsewhere: _judged(store, e)).intact  # type: ignore[misc]


@pytest.mark.parametrize("place", range(1, ROWS + 1))
def test_a_chain_rewritten_from_some_row_to_its_end_is_seen_by_a_seal(
    original: tuple[Path, bytes], tmp_path: Path, place: int
) -> None:
    """Every hash fits, and yet: the first sealed row from there on is not what was signed. What is written after the
    last seal is the one thing that is not proved yet."""
    path = _copy(original, tmp_path)
    with sqlite3.connect(path) as file:
        _rewrite(file, place, lambda said: said.update(name="Nobody"))
    file.close()
    assert _with(path, lambda store: verify(store.system())).intact
    next_seal = next((each for each in SEALED if each >= place), None)
    expected = Verdict(next_seal - 1, next_seal, "altered") if next_seal else Verdict(ROWS, sealed=len(SEALED))
    assert _with(path, lambda store: _judged(store, original[1])) == expected


def test_a_log_cut_off_with_its_seals_is_seen_by_those_kept_elsewhere(
    original: tuple[Path, bytes], tmp_path: Path
) -> None:
    """Whoever may write the file can take its last seals along with the rows; not those that were exported."""
    path = _copy(original, tmp_path)
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM audit WHERE seq > 9")
        file.execute("DELETE FROM ledger WHERE kind = 'seal' AND key > ?", (f"{9:016}",))
        file.execute("UPDATE head SET seq = 9, hash = (SELECT hash FROM audit WHERE seq = 9)")
    file.close()
    assert _with(path, _judged).intact
    assert _with(path, lambda store: _judged(store, original[1])) == Verdict(9, 10, "truncated")


@pytest.mark.parametrize("name", ["n", "hash", "time", "kid", "signature", "chain"])
def test_a_seal_that_was_changed_is_a_bad_seal(original: tuple[Path, bytes], name: str) -> None:
    """Whatever it says; and one that another key has signed."""
    path, kept = original
    told = orjson.loads(kept)
    other = {"n": 5, "hash": "00" * 32, "time": 1, "kid": "0" * 16, "signature": "AAAA", "chain": "other"}
    told["seals"][1][name] = other[name]
    verdict = _with(path, lambda store: _judged(store, orjson.dumps(told)))
    assert verdict.fault == "bad-seal"
    forged = seals.Keyring(Ed25519PrivateKey.generate(), {})
    known, sealed = seals.imported(kept)
    sealed[0] = forged.sign(replace(sealed[0], signature=""))
    ours = _with(path, lambda store: seals.verified(store.system(), store.ledger, known, sealed, NOW))
    assert ours == Verdict(0, SEALED[0], "bad-seal")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"keys":{"a":"!"},"seals":[]}', b'{"keys":{},"seals":[{"n":1}]}']
)
def test_what_is_no_export_of_seals_is_refused(data: bytes) -> None:
    """Unreadable is not intact."""
    with pytest.raises(seals.Unsealed):
        seals.imported(data)


def test_a_seal_is_made_once_for_a_row(tmp_path: Path) -> None:
    """Not of an empty log, nor again before something was written, whichever process tries."""

    async def story(at: House) -> None:
        ring = await seals.keyring(at.store.ledger, "", NOW)
        assert await seals.seal(at.store.system(), at.store.ledger, ring, NOW) is None
        await at.log(row(DOCTOR, Asked(), outcome="", now=NOW))
        made = await asyncio.gather(*(seals.seal(at.store.system(), at.store.ledger, ring, NOW) for _ in range(3)))
        assert [each.n for each in made if each] == [1]

    run(tmp_path, story)


# Pruning, keys


def test_rows_are_pruned_up_to_a_seal_only_and_the_rest_stays_proved(
    original: tuple[Path, bytes], tmp_path: Path
) -> None:
    """The chain begins anew after that row, which is signed; seals from before hold for what is left."""
    path = _copy(original, tmp_path)

    async def story(store: Store) -> None:
        ring = await seals.keyring(store.ledger, "", NOW)
        with pytest.raises(seals.Unsealed):
            await seals.prune(store.system(), store.ledger, ring, 5, NOW)
        assert (await seals.prune(store.system(), store.ledger, ring, 8, NOW)).intact
        assert [each.seq async for each in store.system().audit_chain()] == [9, 10, 11, 12]
        assert await _judged(store) == await _judged(store, original[1]) == Verdict(4, sealed=1)
        assert await seals.fault_of_end(store.system(), store.ledger, NOW) == ""
        await store.commit(Commit(audits=(row(DOCTOR, Asked(), outcome="", now=NOW),)))
        assert await _judged(store) == Verdict(5, sealed=1)

    _with(path, story)
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM audit WHERE seq = 9")
    file.close()
    assert _with(path, _judged) == Verdict(0, 9, "missing")


def test_a_beginning_that_nobody_signed_is_a_bad_seal(original: tuple[Path, bytes], tmp_path: Path) -> None:
    """Or rows could be taken away as if they had been pruned."""
    path = _copy(original, tmp_path)
    told = orjson.loads(original[1])["seals"][1]
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM audit WHERE seq <= 8")
        value = orjson.dumps({**told, "pruned": True})
        file.execute("INSERT INTO ledger (kind, key, value) VALUES ('seal', 'genesis', ?)", (value,))
    file.close()
    assert _with(path, _judged) == Verdict(0, 8, "bad-seal")


def test_nothing_is_pruned_of_a_broken_log(original: tuple[Path, bytes], tmp_path: Path) -> None:
    """What would be lost is the proof."""
    path = _copy(original, tmp_path)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE audit SET time = 1 WHERE seq = 3")
    file.close()

    async def story(store: Store) -> None:
        ring = await seals.keyring(store.ledger, "", NOW)
        assert not (await seals.prune(store.system(), store.ledger, ring, 8, NOW)).intact
        assert len([each async for each in store.system().audit_chain()]) == ROWS

    _with(path, story)


@pytest.mark.parametrize("in_file", [False, True])
def test_a_new_key_signs_and_old_seals_still_hold(tmp_path: Path, in_file: bool) -> None:
    """Rotation, of a key in the ledger and of one in a file of its owner; private halves of old keys are gone."""
    file = str(tmp_path / "seals.pem") if in_file else ""

    async def story(at: House) -> None:
        first = await seals.rotate(at.store.ledger, file, NOW)
        await at.log(row(DOCTOR, Asked(), outcome="", now=NOW))
        await seals.seal(at.store.system(), at.store.ledger, first, NOW)
        await seals.rotate(at.store.ledger, file, NOW)
        second = await seals.keyring(at.store.ledger, file, NOW)
        await at.log(row(DOCTOR, Asked(), outcome="", now=NOW))
        await seals.seal(at.store.system(), at.store.ledger, second, NOW)
        kept = await seals.seals(at.store.ledger, NOW)
        assert len({each.kid for each in kept}) == 2
        verdict = await seals.verified(at.store.system(), at.store.ledger, second.known, kept, NOW)
        assert verdict == Verdict(2, sealed=2)

    run(tmp_path, story)
    if in_file:
        assert Path(file).read_bytes().count(b"BEGIN PRIVATE KEY") == 1
        assert Path(file).stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Mode 0600, and an Ed25519 key in it."""

    async def story(at: House) -> None:
        path = tmp_path / "seals.pem"
        await seals.rotate(at.store.ledger, str(path), NOW)
        path.chmod(0o644)
        with pytest.raises(seals.Unsealed, match="0600"):
            await seals.keyring(at.store.ledger, str(path), NOW)
        path.chmod(0o600)
        path.write_bytes(b"no key")
        with pytest.raises(seals.Unsealed):
            await seals.keyring(at.store.ledger, str(path), NOW)
        with pytest.raises(seals.Unsealed):
            await seals.keyring(at.store.ledger, str(tmp_path / "none.pem"), NOW)

    run(tmp_path, story)


def test_the_end_of_the_log_is_looked_at(original: tuple[Path, bytes], tmp_path: Path) -> None:
    """What readiness rests on: the last row is the recorded one, and not of a time to come."""
    path = _copy(original, tmp_path)

    async def fault(store: Store) -> str:
        return await seals.fault_of_end(store.system(), store.ledger, NOW)

    assert _with(path, fault) == ""

    async def early(store: Store) -> str:
        return await seals.fault_of_end(store.system(), store.ledger, NOW - 60_000_000)

    assert "clock" in _with(path, early)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE audit SET hash = zeroblob(32) WHERE seq = ?", (ROWS,))
    assert "not what was written" in _with(path, fault)
    with file:
        file.execute("DELETE FROM audit WHERE seq = ?", (ROWS,))
    file.close()
    assert "missing" in _with(path, fault)
