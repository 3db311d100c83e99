"""The file of a SQLite store: what it is, how it grows from schema to schema, what is refused, who else may open it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fhir_server.search.entries import Entries, Prose, Ref, Token
from fhir_server.search.predicate import Has, RefersTo, TokenIs, Words, conj, negate
from fhir_server.storage import open_store, system_clock
from fhir_server.storage.interface import Commit, PolicyGuard, Stale, Store, Taken
from fhir_server.storage.sqlite import database
from fhir_server.storage.sqlite.database import APPLICATION_ID, NotOurs, TooNew
from tests.storage.making import NOON, Clock, audit_row, counted, found, ids, of, one, put, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "store.db"


@pytest.fixture
def pair(path: Path, runner: asyncio.Runner) -> Iterator[tuple[Store, Store]]:
    """Two stores over one file, as two processes have them."""
    stores = open_store(str(path), clock=Clock()), open_store(str(path), clock=Clock(NOON - 10_000_000))
    yield stores
    for store in stores:
        runner.run(store.close())


def pragma(path: Path, name: str) -> object:
    """What the file says of itself."""
    with sqlite3.connect(path) as connection:
        (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    connection.close()
    return value


# --- Opening


@pytest.mark.parametrize("prefix", ["sqlite:", "SQLITE:", ""])
async def test_a_store_is_opened_by_url_or_by_path(path: Path, prefix: str) -> None:
    """`sqlite:PATH` and a plain path are one file."""
    store = open_store(f"{prefix}{path}")
    await put(store, write("Observation/o1"))
    await store.close()
    again = open_store(str(path))
    assert await counted(again, "Observation") == 1
    await again.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [("mongodb://host/db", "mongodb"), ("postgres:x", "postgres"), ("sqlite:", "path"), ("", "path")],
)
def test_an_address_without_a_store_is_refused(url: str, says: str) -> None:
    """In words that name the trouble."""
    with pytest.raises(ValueError, match=says):
        open_store(url)


def test_the_clock_of_the_system_counts_microseconds() -> None:
    """Since 1970, as every time in the house."""
    assert 1_700_000_000_000_000 < system_clock() < 5_000_000_000_000_000


async def test_a_store_survives_a_crash_of_the_machine(path: Path) -> None:
    """Write-ahead log, and a sync at every commit."""
    store = open_store(str(path))
    writer = store._writer._connection  # type: ignore[attr-defined]
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    await store.close()


async def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    """The log beside it too."""
    store = open_store(str(path))
    await put(store, write("Observation/o1"))
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    await store.close()


async def test_readers_cannot_write(path: Path) -> None:
    """Even a mistake in a query changes nothing."""
    store = open_store(str(path))
    async with store.snapshot() as snapshot:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            snapshot._cursor.execute("DELETE FROM record")  # type: ignore[attr-defined]
    await store.close()


# --- Schemas


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """Schema 0 to the present one; the file says whose it is."""
    path.touch()
    await open_store(str(path)).close()
    assert pragma(path, "application_id") == APPLICATION_ID
    assert pragma(path, "user_version") == 1 + len(database.STEPS)


async def test_a_file_of_an_older_schema_is_brought_up_with_its_data(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the steps that it lacks are taken, in order."""
    taken: list[str] = []
    store = open_store(str(path))
    await put(store, write("Observation/o1"))
    await store.close()

    def second(connection: sqlite3.Connection) -> None:
        taken.append("second")
        connection.execute("CREATE TABLE added (x)")

    def third(connection: sqlite3.Connection) -> None:
        taken.append("third")
        connection.execute("INSERT INTO added VALUES (1)")

    steps = (*database.STEPS, second, third)
    monkeypatch.setattr(database, "STEPS", steps)
    for _ in range(2):
        store = open_store(str(path))
        assert await counted(store, "Observation") == 1
        await store.close()
    assert taken == ["second", "third"]
    assert pragma(path, "user_version") == 1 + len(steps)


def schema(path: Path) -> set[tuple[str, str]]:
    """Every table and index, as it was made."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {(name, " ".join(sql.split())) for name, sql in rows}


def back_to_schema_3(connection: sqlite3.Connection) -> None:
    """Facts with many values by row; no way to what is deleted."""
    connection.execute("DROP INDEX of_deleted")
    rows = connection.execute("SELECT rid, fact, value FROM multi").fetchall()
    connection.execute("DROP TABLE multi")
    connection.execute("CREATE TABLE multi (rid, fact, value, PRIMARY KEY (rid, fact, value)) WITHOUT ROWID")
    connection.executemany("INSERT INTO multi VALUES (?, ?, ?)", rows)
    connection.execute("PRAGMA user_version = 3")


async def test_schema_3_is_brought_up_with_its_facts(path: Path, tmp_path: Path) -> None:
    """Rows are found by who wrote them, as before."""
    store = open_store(str(path))
    await put(store, write("Observation/o1", authors=frozenset({"rpps:1"})), write("Observation/o2"))
    await store.close()
    with sqlite3.connect(path) as connection:
        back_to_schema_3(connection)
    connection.close()
    store = open_store(str(path))
    wrote = Has("authors", "rpps:1")
    assert ids(await found(store, "Observation", visible=conj(of("p1"), wrote))) == ["o1"]
    assert ids(await found(store, "Observation", visible=conj(of("p1"), negate(wrote)))) == ["o2"]
    await store.close()
    await open_store(str(tmp_path / "new.db")).close()
    assert schema(path) == schema(tmp_path / "new.db")


async def test_schema_1_is_brought_up_and_can_be_indexed_again(path: Path, tmp_path: Path) -> None:
    """Its resources are there as before; words are found from the next reindex on."""
    text = Entries(tokens=(Token("code", None, "x"),), prose=(Prose("_content", "mots"),))
    store = open_store(str(path))
    (made,) = await put(store, write("Observation/o1", entries=text))
    await store.close()
    with sqlite3.connect(path) as connection:
        back_to_schema_3(connection)
        connection.execute("DROP TABLE encryption")
        connection.execute("DROP TABLE words")
        connection.execute("DROP INDEX referrer")
        connection.execute("CREATE INDEX referrer ON link (target, rid, pid)")
        # As schema 1 had them: seven kinds, each there.
        (pid,) = connection.execute("SELECT pid FROM parameter WHERE name = 'Observation.code'").fetchone()
        packed = msgspec.msgpack.encode([[[pid, "x", 0]], [], [], [], [], [], []])
        connection.execute("UPDATE version SET entries = ?", (packed,))
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = open_store(str(path))
    assert await one(store, "Observation/o1") == made
    assert await counted(store, "Observation", where=TokenIs("code", None, "x")) == 1
    assert await counted(store, "Observation", where=Words("_content", ("mots",))) == 0
    assert await store.system().reindex([(made, text)]) == 1
    assert await counted(store, "Observation", where=Words("_content", ("mots",))) == 1
    await store.close()
    await open_store(str(tmp_path / "new.db")).close()
    assert schema(path) == schema(tmp_path / "new.db")


async def test_schema_2_is_brought_up_as_it_is(path: Path, tmp_path: Path) -> None:
    """It is not encrypted; nothing in it changes."""
    store = open_store(str(path))
    (made,) = await put(store, write("Observation/o1"))
    await store.close()
    with sqlite3.connect(path) as connection:
        back_to_schema_3(connection)
        connection.execute("DROP TABLE encryption")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    store = open_store(str(path))
    assert await one(store, "Observation/o1") == made
    await store.close()
    await open_store(str(tmp_path / "new.db")).close()
    assert schema(path) == schema(tmp_path / "new.db")


async def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps or none; the old server can go on with it."""
    steps = database.STEPS
    await open_store(str(path)).close()

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise LookupError

    monkeypatch.setattr(database, "STEPS", (*steps, half))
    with pytest.raises(LookupError):
        open_store(str(path))
    monkeypatch.setattr(database, "STEPS", steps)
    store = open_store(str(path))
    await put(store, write("Observation/o1"))
    await store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    connection.close()


async def test_a_file_of_a_newer_server_is_refused_untouched(path: Path) -> None:
    """The message says what to do."""
    await open_store(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(TooNew, match=r"schema 99.*newer version"):
        open_store(str(path))
    assert pragma(path, "user_version") == 99


@pytest.mark.parametrize("mark", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 3"])
def test_a_database_of_another_program_is_refused_untouched(path: Path, mark: str) -> None:
    """Nobody's data is overwritten."""
    with sqlite3.connect(path) as connection:
        connection.execute(mark)
    connection.close()
    with pytest.raises(NotOurs, match="another program"):
        open_store(str(path))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'version'").fetchone() == (0,)
    connection.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """SQLite's own error; the file stays."""
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        open_store(str(path))
    assert path.read_bytes().startswith(b"not a database")


# --- Two processes


async def test_what_one_process_commits_the_other_sees(pair: tuple[Store, Store]) -> None:
    """Resources, entries under texts and parameters that the other has just named, policies, the chain."""
    one_, other = pair
    for n in range(6):
        writer, reader = (one_, other) if n % 2 else (other, one_)
        entries = Entries(
            tokens=(Token(f"param{n // 2}", f"urn:{n}", "x"),), references=(Ref("subject", f"Patient/s{n}"),)
        )
        commit = Commit((write(f"Observation/o{n}", entries=entries, authors=frozenset({f"rpps:{n}"})),))
        await writer.commit(Commit(commit.writes, bump=frozenset({"p1"}), audits=(audit_row(f"a{n}"),)))
        wanted = TokenIs(f"param{n // 2}", f"urn:{n}", "x")
        assert ids(await found(reader, "Observation", where=wanted)) == [f"o{n}"]
        assert ids(await found(reader, "Observation", where=RefersTo("subject", f"Patient/s{n}"))) == [f"o{n}"]
        async with reader.snapshot() as snapshot:
            assert await snapshot.policy_version("p1") == n + 1
    assert [entry.seq async for entry in one_.system().audit_chain()] == list(range(1, 7))
    assert await one_.system().audit_head() == await other.system().audit_head()


async def test_two_processes_decide_on_the_same_state(pair: tuple[Store, Store]) -> None:
    """Bases, policy guards and keys of one hold for the other; times go forward over both."""
    one_, other = pair
    (first,) = await put(one_, write("Observation/o1", keys=("k",)))
    with pytest.raises(Stale):
        await put(other, write("Observation/o1"))
    (second,) = await put(other, write("Observation/o1", version=2, keys=("k",)))
    assert second.time > first.time
    assert second.position == first.position
    with pytest.raises(Taken):
        await put(one_, write("Observation/o2", keys=("k",)))
    await other.commit(Commit(bump=frozenset({"p1"})))
    with pytest.raises(Stale):
        await one_.commit(Commit(guards=(PolicyGuard("p1", 0),)))


async def test_two_processes_write_at_once_without_losing_anything(pair: tuple[Store, Store]) -> None:
    """They wait for each other; every row, place and number is given once."""
    commits = [
        Commit((write(f"Observation/{n}", authors=frozenset({f"rpps:{n}"})),), audits=(audit_row(f"a{n}"),))
        for n in range(100)
    ]
    made = await asyncio.gather(*(pair[n % 2].commit(commit) for n, commit in enumerate(commits)))
    assert len({versions[0].position for versions in made}) == 100
    assert await counted(pair[0], "Observation") == await counted(pair[1], "Observation") == 100
    assert [entry.seq async for entry in pair[0].system().audit_chain()] == list(range(1, 101))
    for n in (0, 99):
        read = await one(pair[1 - n % 2], f"Observation/{n}")
        assert read == made[n][0]
