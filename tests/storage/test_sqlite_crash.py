"""A process killed while it writes loses nothing that it acknowledged and leaves nothing half written.

`CRASH_ROUNDS` sets how often it is killed (20); `CRASH_SEED` the moments.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE, AnyRef, Eq, Has, Predicate, TokenIs
from fhir_server.storage import open_store
from fhir_server.storage.chain import GENESIS
from fhir_server.storage.interface import Store
from tests.storage.crash_child import CALLERS, commit, pair

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
BOTH = ("Observation", "Condition")


def killed(path: Path, after: float) -> Counter[tuple[str, int]]:
    """Run the child on the store and kill it that many seconds after it has opened it: the last version acknowledged
    by kind of line and pair."""
    command = [sys.executable, "-m", "tests.storage.crash_child", str(path)]
    acknowledged: Counter[tuple[str, int]] = Counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        time.sleep(after)
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().split(b"\n")
    assert child.returncode == -signal.SIGKILL
    for line in lines[:-1]:
        kind, n, version = line.decode().split()
        acknowledged[kind, int(n)] = max(acknowledged[kind, int(n)], int(version))
    return acknowledged


async def versions(store: Store) -> list[int]:
    """The version each pair has reached, after proving that the pair is whole and found by what it says now alone."""
    reached = []
    async with store.snapshot() as snapshot:

        async def found(where: Predicate) -> list[str]:
            return [each.id for each in await snapshot.search(Plan(BOTH, where=where), visible=TRUE)]

        for n in range(CALLERS):
            first = await snapshot.read("Observation", f"a{n}", visible=TRUE)
            second = await snapshot.read("Condition", f"b{n}", visible=TRUE)
            version = first.version if first else 0
            reached.append(version)
            assert await snapshot.policy_version(f"p{n}") == version
            assert len(await snapshot.audits(f"p{n}", visible=TRUE, limit=100_000)) == version
            if first is None or second is None:
                assert first is second
                continue
            assert first.version == second.version
            assert first.time == second.time
            for made, wanted in zip((first, second), pair(n, version), strict=True):
                assert made.facts == wanted.facts
                assert orjson.loads(made.body)["text"] == orjson.loads(wanted.body)["text"]
                history = await snapshot.history(made.type, made.id, visible=TRUE, limit=100_000)
                assert [each.version for each in history] == list(range(version, 0, -1))
            both = [f"a{n}", f"b{n}"]
            assert await found(TokenIs("code", "urn:pair", f"{n}v{version}")) == both
            assert await found(TokenIs("code", "urn:pair", f"{n}v{version - 1}")) == []
            of_pair = Plan(BOTH, where=Has("authors", f"rpps:{version}"), patients=(f"p{n}",))
            assert [each.id for each in await snapshot.search(of_pair, visible=Eq("patient", f"p{n}"))] == both
        assert len(await found(TokenIs("code", None, "always"))) == 2 * sum(version > 0 for version in reached)
        assert await found(AnyRef(TRUE)) == []
    return reached


async def intact_chain(store: Store) -> int:
    """How long the chain is, after proving that each hash covers all before it."""
    hash, seq = GENESIS, 0
    async for entry in store.system().audit_chain():
        hash, seq = sha256(hash + entry.row.body).digest(), seq + 1
        assert (entry.seq, entry.hash) == (seq, hash)
    assert await store.system().audit_head() == (seq, hash)
    return seq


async def examined(path: Path) -> tuple[list[int], Store]:
    """Open the file again and look at all there is; the store is still open."""
    store = open_store(str(path))
    reached = await versions(store)
    assert await intact_chain(store) == sum(reached)
    return reached, store


def sound(path: Path) -> None:
    """What SQLite says of the file, and that its narrow tables hold the current versions' rows and no others."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (resources, live) = connection.execute("SELECT count(*), sum(deleted = 0) FROM resource").fetchone()
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("token", "span", "link", "multi")
        }
        assert resources == (live or 0)
        assert counts == {"token": 2 * resources, "span": resources, "link": 3 * resources, "multi": resources}
        stray = "SELECT count(*) FROM resource AS r LEFT JOIN version AS v USING (vid) WHERE v.version IS NOT r.version"
        assert connection.execute(stray).fetchone() == (0,)
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where the store is."""
    return tmp_path / "store.db"


async def test_nothing_acknowledged_is_lost_and_nothing_is_half_written(path: Path) -> None:
    """Killed again and again on one file: every acknowledged commit is there, whole, and the chain is unbroken."""
    moments = random.Random(SEED)
    before = [0] * CALLERS
    acknowledged_at_all = 0
    for _ in range(ROUNDS):
        acknowledged = await asyncio.to_thread(killed, path, moments.uniform(0.0, 0.25))
        reached, store = await examined(path)
        for n in range(CALLERS):
            assert reached[n] >= max(before[n], acknowledged["pair", n])
            # A caller has one commit on its way when it is killed: no more than that is there unacknowledged.
            assert reached[n] <= max(before[n], acknowledged["pair", n]) + 1
            if version := acknowledged["mark", n]:
                assert await store.ledger.get("mark", f"{n}-{version}", now=0) == b"x"
        await store.close()
        before = reached
        acknowledged_at_all += sum(acknowledged.values())
    assert acknowledged_at_all > 5 * ROUNDS
    sound(path)


async def test_a_log_cut_short_gives_an_earlier_whole_state(path: Path, tmp_path: Path) -> None:
    """A disk that lost the end of the write-ahead log loses commits, but never half of one."""
    store = open_store(str(path))
    store._writer._connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()  # type: ignore[attr-defined]
    for version in range(1, 11):
        commits = [commit(n, version) for n in range(CALLERS)]
        await asyncio.gather(*(store.commit(each) for each in commits))
    log = Path(f"{path}-wal").read_bytes()
    moments = random.Random(SEED)
    lengths = []
    for n, length in enumerate(sorted(moments.randrange(len(log)) for _ in range(12))):
        copy = tmp_path / str(n) / "store.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        Path(f"{copy}-wal").write_bytes(log[:length])
        reached, again = await examined(copy)
        await again.close()
        sound(copy)
        lengths.append(sum(reached))
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 4
    await store.close()
