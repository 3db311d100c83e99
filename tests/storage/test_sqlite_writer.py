"""The writer of SQLite: groups, faults of the disk, and what a fault may not touch or tell."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fhir_server.errors import Unavailable
from fhir_server.search.entries import Entries, Number, Ref, Span, Token
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE, RefersTo, TokenIs
from fhir_server.storage.interface import Commit
from fhir_server.storage.sqlite import names, writer
from fhir_server.storage.sqlite.store import SqliteStore
from fhir_server.storage.sqlite.writer import Unwritable
from tests.storage.making import Clock, audit_row, counted, deletion, found, ids, one, put, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path, runner: asyncio.Runner) -> Iterator[SqliteStore]:
    """An empty store that waits a tenth of a second for a lock."""
    made = SqliteStore(path, clock=Clock(), busy=0.1)
    yield made
    runner.run(made.close())


async def test_commits_that_wait_are_written_together(store: SqliteStore) -> None:
    """Two hundred at once are a few transactions: they share their times."""
    made = await asyncio.gather(*(put(store, write(f"Observation/o{n}")) for n in range(200)))
    assert len({versions[0].time for versions in made}) <= 20
    assert await counted(store, "Observation") == 200


async def test_what_is_asked_for_in_one_turn_of_the_loop_is_one_group(store: SqliteStore) -> None:
    """One fsync for all of it, written by the loop itself when it is little."""
    made = await asyncio.gather(*(put(store, write(f"Observation/o{n}")) for n in range(20)))
    assert len({versions[0].time for versions in made}) == 1


@pytest.mark.parametrize("writes", [1, 200], ids=["a small group", "a large one"])
async def test_the_loop_goes_on_while_another_process_writes(store: SqliteStore, path: Path, writes: int) -> None:
    """It never waits for a lock itself: what it cannot write at once is left to the thread."""
    patient = SqliteStore(path, clock=Clock(), busy=30)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.gather(*(put(patient, write(f"Observation/o{n}")) for n in range(writes)))
    turns = 0
    while turns < 20:
        await asyncio.sleep(0.001)
        turns += 1
        assert not waiting.done()
    other.execute("ROLLBACK")
    other.close()
    assert len(await waiting) == writes
    assert await counted(store, "Observation") == writes
    await patient.close()


@pytest.mark.parametrize(("refused", "outcome"), [(1, list), (99, Unavailable)], ids=["once", "each time"])
async def test_a_group_that_cannot_be_made_durable_is_tried_one_by_one(
    store: SqliteStore, refused: int, outcome: type
) -> None:
    """Nothing of it was there, so nothing is there twice; and who is told that it was written has it."""
    left = [refused]

    def deny(action: int, name: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_TRANSACTION and name == "COMMIT" and left[0]:
            left[0] -= 1
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    store._writer._connection.set_authorizer(deny)
    audited = [Commit((write(f"Observation/o{n}"),), audits=(audit_row(f"a{n}"),)) for n in range(5)]
    outcomes = await asyncio.gather(*map(store.commit, audited), return_exceptions=True)
    store._writer._connection.set_authorizer(None)
    assert [type(each) for each in outcomes] == [outcome] * 5
    written = 5 if outcome is list else 0
    assert await counted(store, "Observation") == written
    assert [entry.seq async for entry in store.system().audit_chain()] == list(range(1, written + 1))
    await store.commit(Commit(audits=(audit_row("after"),)))
    assert (await store.system().audit_head())[0] == written + 1


async def test_what_waits_is_written_before_the_store_is_closed(store: SqliteStore, path: Path) -> None:
    """Who asked in time gets an answer; who asks later is refused."""
    waiting = asyncio.gather(*(put(store, write(f"Observation/o{n}")) for n in range(600)))
    await asyncio.sleep(0)
    await store.close()
    assert len(await waiting) == 600
    with pytest.raises(Unavailable):
        await put(store, write("Observation/late"))
    again = SqliteStore(path, clock=Clock())
    assert await counted(again, "Observation") == 600
    await again.close()


async def test_commits_are_taken_in_the_order_they_come(store: SqliteStore) -> None:
    """So that a version begun after another stands on it, in the same group too."""
    writes = [write("Observation/o1", version=n, text=str(n)) for n in range(1, 40)]
    made = await asyncio.gather(*(put(store, each) for each in writes))
    assert [versions[0].version for versions in made] == list(range(1, 40))


async def test_one_store_serves_several_event_loops(store: SqliteStore) -> None:
    """Each caller is woken on its own."""

    async def caller(name: str) -> list[str]:
        made = await asyncio.gather(*(put(store, write(f"Observation/{name}{n}")) for n in range(20)))
        return [version.id for versions in made for version in versions]

    answers: dict[str, list[str]] = {}
    threads = [
        threading.Thread(target=lambda name=name: answers.update({name: asyncio.run(caller(name))})) for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert answers == {name: [f"{name}{n}" for n in range(20)] for name in "ab"}


async def test_a_full_disk_fails_the_group_and_nothing_else(store: SqliteStore) -> None:
    """Unavailable, nothing half written, and writing goes on when there is room again."""
    await put(store, write("Observation/before"))
    connection = store._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    big = [write(f"Observation/o{n}", text="x" * 10_000, authors=frozenset({f"rpps:{n}"})) for n in range(20)]
    outcomes = await asyncio.gather(*(put(store, each) for each in big), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 20
    assert ids(await found(store, "Observation")) == ["before"]
    connection.execute("PRAGMA max_page_count = 1000000").fetchone()
    await asyncio.gather(*(put(store, each) for each in big))
    assert await counted(store, "Observation") == 21


async def test_a_file_locked_for_long_is_unavailable_for_writing(store: SqliteStore, path: Path) -> None:
    """Reading goes on; writing too, when the lock is gone."""
    await put(store, write("Observation/before"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await put(store, write("Observation/o1"))
    with pytest.raises(Unavailable):
        await store.ledger.put("kind", "key", b"x", expires=None)
    assert ids(await found(store, "Observation")) == ["before"]
    other.execute("ROLLBACK")
    other.close()
    await put(store, write("Observation/o1"))


UNWRITABLE = [
    Entries(dates=(Span("date", 0, 2**80),)),
    Entries(numbers=(Number("probability", float("nan"), 1.0),)),
    Entries(tokens=(Token("code", None, "secret-\udcff"),)),
    Entries(references=(Ref("subject", "Patient/secret-\udcff"),)),
]


@pytest.mark.parametrize("entries", UNWRITABLE, ids=["a huge date", "not a number", "half a character", "in a link"])
async def test_a_commit_that_cannot_be_written_harms_no_other(store: SqliteStore, entries: Entries) -> None:
    """It fails alone, and neither the error nor the log says what was in it."""
    bad = write("Observation/secret-id", entries=entries, text="secret-text")
    writes = [write(f"Observation/o{n}") for n in range(5)] + [bad] + [write(f"Observation/o{n}") for n in range(5, 9)]
    with capture_logs() as logged:
        outcomes = await asyncio.gather(*(put(store, each) for each in writes), return_exceptions=True)
    failed = outcomes.pop(5)
    assert isinstance(failed, Unavailable | Unwritable)
    assert "secret" not in repr(failed)
    assert failed.__cause__ is None
    assert failed.__context__ is None
    assert all(isinstance(outcome, list) for outcome in outcomes)
    assert await counted(store, "Observation") == 9
    assert await one(store, "Observation/secret-id") is None
    assert [each["log_level"] for each in logged] == ["error"]
    assert "secret" not in repr(logged)


async def test_two_audit_rows_of_one_id_are_a_fault_of_the_second(store: SqliteStore) -> None:
    """The chain has no gap where it was."""
    await store.commit(Commit(audits=(audit_row("a"),)))
    with pytest.raises(Unavailable):
        await store.commit(Commit(audits=(audit_row("b"), audit_row("a"))))
    await store.commit(Commit(audits=(audit_row("c"),)))
    assert [(entry.seq, entry.row.id) async for entry in store.system().audit_chain()] == [(1, "a"), (2, "c")]


async def test_a_long_queue_is_written_in_several_groups(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the first does not wait for the last."""
    monkeypatch.setattr(writer, "_MOST_JOBS", 5)
    made = await asyncio.gather(*(put(store, write(f"Observation/o{n}")) for n in range(30)))
    assert len({versions[0].time for versions in made}) >= 6


async def test_an_event_loop_that_closed_before_its_answer_stops_nobody(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commits are written, in several groups; the writer goes on for the others."""
    monkeypatch.setattr(writer, "_MOST_JOBS", 1)
    patient = SqliteStore(path, clock=Clock(), busy=10)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def leave() -> None:
        tasks = [asyncio.create_task(put(patient, write(f"Observation/left{n}"))) for n in range(3)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()

    await asyncio.to_thread(lambda: asyncio.run(leave()))
    other.execute("ROLLBACK")
    other.close()
    await put(patient, write("Observation/after"))
    assert ids(await found(store, "Observation")) == ["left0", "left1", "left2", "after"]
    await patient.close()


async def test_a_file_that_cannot_be_read_is_unavailable(store: SqliteStore, path: Path) -> None:
    """Fail closed: in a snapshot, in the ledger, in the unrestricted view, at the start of a snapshot."""
    await put(store, write("Observation/o1"))
    with sqlite3.connect(path) as connection:
        for table in ("version", "ledger", "head"):
            connection.execute(f"DROP TABLE {table}")
    connection.close()
    with pytest.raises(Unavailable):
        await found(store, "Observation")
    with pytest.raises(Unavailable):
        await one(store, "Observation/o1")
    with pytest.raises(Unavailable):
        await store.ledger.get("kind", "key", now=0)
    with pytest.raises(Unavailable):
        await store.system().audit_head()
    with pytest.raises(Unavailable):
        await put(store, write("Observation/o2"))
    for reader in store._pool._idle:
        reader.connection.close()
    with pytest.raises(Unavailable):
        await counted(store, "Observation")
    assert await counted(store, "Observation") == 1


async def test_a_snapshot_is_over_after_its_block(store: SqliteStore) -> None:
    """Its connection belongs to the next."""
    async with store.snapshot() as snapshot:
        await snapshot.count(Plan(("Observation",)), visible=TRUE)
    with pytest.raises(AttributeError):
        await snapshot.count(Plan(("Observation",)), visible=TRUE)


async def test_snapshots_of_one_turn_share_a_transaction_and_the_next_turn_has_its_own(
    store: SqliteStore, path: Path
) -> None:
    """What another process has written meanwhile is seen by whoever runs later; no transaction is left open."""
    other = SqliteStore(path, clock=Clock())
    for n in range(3):
        seen = []
        for _ in range(2):
            async with store.snapshot() as snapshot:
                seen.append((snapshot._reader, await snapshot.count(Plan(("Observation",)), visible=TRUE)))
        assert seen[0] == seen[1]
        assert seen[0][1] == n
        await put(other, write(f"Observation/o{n}"))
    await asyncio.sleep(0)
    assert not any(reader.connection.in_transaction for reader in store._pool._idle)
    await other.close()


async def test_a_snapshot_that_outlives_its_turn_is_for_itself(store: SqliteStore) -> None:
    """It goes on as it began; who comes later begins anew."""
    async with store.snapshot() as old:
        assert await old.count(Plan(("Observation",)), visible=TRUE) == 0
        await put(store, write("Observation/o1"))
        async with store.snapshot() as new:
            assert await new.count(Plan(("Observation",)), visible=TRUE) == 1
        assert await old.count(Plan(("Observation",)), visible=TRUE) == 0
    async with store.snapshot() as later:
        assert await later.count(Plan(("Observation",)), visible=TRUE) == 1


async def test_what_was_looked_at_in_a_snapshot_is_what_is_read_there(store: SqliteStore) -> None:
    """Whose record, its policy version and the resource come from one look; another resource is looked at anew."""
    await store.commit(Commit((write("Observation/o1"), write("Observation/o2", patient="p2")), bump=frozenset({"p2"})))
    await put(store, write("Practitioner/x"))
    async with store.snapshot() as snapshot:
        for id, patient, version in (("o1", "p1", 0), ("o2", "p2", 1), ("never", None, 0), ("o1", "p1", 0)):
            assert await snapshot.compartment("Observation", id) == patient
            assert await snapshot.policy_version(patient or "nobody") == version
            found = await snapshot.read("Observation", id, visible=TRUE)
            assert (found.id if found else "never") == id
        assert await snapshot.compartment("Practitioner", "x") is None
        assert await snapshot.policy_version("p2") == 1


async def test_many_snapshots_stand_open_at_once(store: SqliteStore) -> None:
    """Each as it began; their connections are kept or closed when they end."""
    opened = []
    for n in range(12):
        context = store.snapshot()
        opened.append((context, await context.__aenter__()))
        assert await opened[-1][1].count(Plan(("Observation",)), visible=TRUE) == n
        await put(store, write(f"Observation/o{n}"))
    for n, (context, snapshot) in enumerate(opened):
        assert await snapshot.count(Plan(("Observation",)), visible=TRUE) == n
        await context.__aexit__(None, None, None)
    assert await counted(store, "Observation") == 12


async def test_a_snapshot_may_outlive_the_store(path: Path) -> None:
    """Closing does not pull the rows from under a reader."""
    store = SqliteStore(path, clock=Clock())
    await put(store, write("Observation/o1"))
    async with store.snapshot() as snapshot:
        assert await snapshot.count(Plan(("Observation",)), visible=TRUE) == 1
        await store.close()
        assert await snapshot.count(Plan(("Observation",)), visible=TRUE) == 1
    await store.close()


async def test_texts_are_kept_once_and_memory_is_bounded(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is forgotten is looked up again, never given a second number."""
    monkeypatch.setattr(names, "_KEPT", 5)
    for version in range(1, 4):
        for n in range(10):
            entries = Entries(
                tokens=(Token("code", f"urn:{n}", f"c{version}"),), references=(Ref("subject", f"Patient/s{n}"),)
            )
            await put(store, write(f"Observation/o{n}", version=version, entries=entries, authors=frozenset({f"k{n}"})))
    for n in range(10):
        assert ids(await found(store, "Observation", where=TokenIs("code", f"urn:{n}", "c3"))) == [f"o{n}"]
        assert ids(await found(store, "Observation", where=RefersTo("subject", f"Patient/s{n}"))) == [f"o{n}"]
    with sqlite3.connect(path) as connection:
        texts = [text for (text,) in connection.execute("SELECT text FROM symbol")]
    connection.close()
    assert len(texts) == len(set(texts)) == 32


async def test_narrow_tables_hold_what_is_live_and_no_more(store: SqliteStore, path: Path) -> None:
    """After updates and deletions nothing is left that nobody could find."""
    entries = Entries(tokens=(Token("code", None, "x"),), references=(Ref("subject", "Patient/p1"),))
    full = write("Observation/o1", entries=entries, keys=("k",), labels=frozenset({"PSY"}), links=frozenset({"A/b"}))
    await put(store, full, replace(full, id="o2", facts=replace(full.facts, id="o2"), keys=()))
    await put(store, replace(full, version=2, entries=Entries()), deletion("Observation/o2", 2))
    with sqlite3.connect(path) as connection:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("token", "link", "multi", "held", "resource", "version")
        }
    connection.close()
    assert rows == {"token": 0, "link": 1, "multi": 1, "held": 1, "resource": 2, "version": 4}
