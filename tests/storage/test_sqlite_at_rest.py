"""The file of an encrypted store: what lies in it, who opens it, how a clear one becomes one, how a record goes."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from fhir_server.errors import Unavailable
from fhir_server.fhir.identity import INS_NIR
from fhir_server.search.entries import Entries, Prose, Ref, Text, Token
from fhir_server.search.predicate import TRUE, Not, Predicate, Present, StringIs, TokenIs, Words
from fhir_server.storage import open_store
from fhir_server.storage.cipher import Keks, LocalKek, WrongKey
from fhir_server.storage.interface import Commit, PolicyGuard, Stale, Store, Taken, Write
from fhir_server.storage.sqlite import encrypt as encryption_walk
from fhir_server.storage.sqlite.encrypt import encrypt
from fhir_server.storage.sqlite.encryption import Refused
from tests.storage.making import Clock, audit_row, counted, deletion, found, ids, one, put, versions, write

KEKS, OTHERS = Keks(LocalKek("1f" * 32)), Keks(LocalKek("2e" * 32))
NUMBER = "279035121518989"
NAME = "Vandenbrouckhove"
NARRATIVE = "oligoarthrite"
CONTENT = "JVBERi0xLjcgYSBwcml2YXRlIGRvY3VtZW50"
TEXT = Entries(prose=(Prose("_text", f"{NARRATIVE} {NUMBER}"), Prose("_content", "compte rendu")))
PERSON = Entries(
    tokens=(
        Token("identifier", INS_NIR, NUMBER),
        Token("identifier:of-type", "urn:types", f"INS-NIR|{NUMBER}"),
        Token("identifier", "urn:other", "0042"),
    ),
    strings=(Text("family", NAME.lower(), NAME),),
)
RECORD = (
    replace(write("Patient/p1", patient="p1", entries=PERSON, text=NAME), keys=(f"ins {NUMBER}",)),
    write("Observation/o1", entries=replace(TEXT, references=(Ref("subject", "Patient/p1"),)), text=NARRATIVE),
    write("DocumentReference/d1", text="doc", links=frozenset({"Binary/b1"})),
    write("Binary/b1", patient=None, text=CONTENT),
)
OTHERS_TEXT = write("Observation/o2", patient="p2", entries=Entries(prose=(Prose("_text", "tout va bien"),)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "store.db"


@pytest.fixture
def opening(path: Path, runner: asyncio.Runner) -> Iterator[Callable[..., Store]]:
    """Opens the store of the test, encrypted unless told otherwise; it is closed at the end."""
    stores: list[Store] = []

    def open(keks: Keks | None = KEKS, **more: str) -> Store:
        stores.append(open_store(str(path), clock=Clock(), keks=keks, **more))
        return stores[-1]

    yield open
    for store in stores:
        runner.run(store.close())


def lying_in(folder: Path, *texts: str) -> set[str]:
    """Those of these texts that stand in some file of the folder."""
    # By another process: to close a file of SQLite's here would let go the locks that an open store has on it.
    files = sorted(str(file) for file in folder.iterdir() if file.is_file())
    content = subprocess.run(["cat", *files], capture_output=True, check=True).stdout.lower()
    return {text for text in texts if text.lower().encode() in content}


# --- What lies in the file


async def test_bodies_and_secrets_are_not_in_the_file(path: Path, opening: Callable[..., Store]) -> None:
    """Not while it is open, in the log beside it, and not afterwards; an INS not even in the index."""
    store = opening()
    made = await put(store, *RECORD)
    await store.ledger.put("token", "k", b"who-it-stands-for", expires=None)
    hidden = (NUMBER, CONTENT, '"text":', "who-it-stands-for")
    assert lying_in(path.parent, *hidden, "compte") == {"compte"}
    assert [await one(store, f"{each.type}/{each.id}") for each in RECORD] == made
    await store.close()
    assert lying_in(path.parent, *hidden, "compte") == {"compte"}


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (TokenIs("identifier", INS_NIR, NUMBER), ["p1"]),
        (TokenIs("identifier", None, NUMBER), ["p1"]),
        (TokenIs("identifier", "urn:other", NUMBER), []),
        (TokenIs("identifier", INS_NIR, None), ["p1"]),
        (TokenIs("identifier", INS_NIR, NUMBER[:-1]), []),
        (TokenIs("identifier", "urn:other", "0042"), ["p1"]),
        (TokenIs("identifier", None, "0042"), ["p1"]),
        (TokenIs("identifier:of-type", "urn:types", f"INS-NIR|{NUMBER}"), ["p1"]),
        (Not(TokenIs("identifier", INS_NIR, NUMBER)), ["p2"]),
        (Present("identifier"), ["p1"]),
        (Not(Present("identifier")), ["p2"]),
        (StringIs("family", "starts", "vanden"), ["p1"]),
    ],
    ids=repr,
)
async def test_a_blind_index_answers_as_a_clear_one(
    opening: Callable[..., Store], where: Predicate, wanted: list[str]
) -> None:
    """Exact values only, as identifiers are asked for; also once indexed again."""
    store = opening()
    await put(store, RECORD[0], write("Patient/p2", patient="p2"))
    assert ids(await found(store, "Patient", where=where)) == wanted
    assert await counted(store, "Patient", where=where) == len(wanted)
    assert ids(await found(store, "Patient", visible=where)) == wanted
    system = store.system()
    assert await system.reindex([(each, PERSON) for each in await system.live() if each.id == "p1"]) == 1
    assert ids(await found(store, "Patient", where=where)) == wanted


async def test_a_number_in_a_text_is_found_as_a_word(opening: Callable[..., Store]) -> None:
    """It stands in no list of words, and is found by itself."""
    store = opening()
    await put(store, *RECORD)
    assert ids(await found(store, "Observation", where=Words("_text", (NUMBER,)))) == ["o1"]
    assert ids(await found(store, "Observation", where=Words("_content", (NARRATIVE, NUMBER)))) == ["o1"]


async def test_a_key_that_is_taken_is_told_as_it_was_asked_for(opening: Callable[..., Store]) -> None:
    """Whoever asked made it, and knows it by its text."""
    store = opening()
    await put(store, *RECORD)
    with pytest.raises(Taken) as error:
        await put(store, replace(write("Patient/p2", patient="p2"), keys=(f"ins {NUMBER}",)))
    assert (error.value.key, error.value.holder) == (f"ins {NUMBER}", "Patient/p1")


@pytest.mark.parametrize("first", ["content", "document", "together"])
async def test_content_is_under_the_key_of_the_record_it_is_in(
    path: Path, opening: Callable[..., Store], first: str
) -> None:
    """Whichever of the two was written first, and in each of its versions."""
    content, document = RECORD[3], RECORD[2]
    orders = {
        "content": [[content], [document]],
        "document": [[document], [content]],
        "together": [[content, document]],
    }
    store = opening()
    for writes in orders[first]:
        await put(store, *writes)
    await put(store, replace(content, version=2))
    assert await versions(store, "Binary/b1") == [2, 1]
    with sqlite3.connect(path) as connection:
        owners = {body[1:4] for (body,) in connection.execute("SELECT body FROM version")}
    connection.close()
    assert owners == {b"\x02p1"}


async def test_a_body_that_was_changed_in_the_file_is_not_given_out(path: Path, opening: Callable[..., Store]) -> None:
    """Nor one put in the place of another: the store is unavailable, and says why in its log."""
    store = opening()
    await put(store, *RECORD)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE version SET body = (SELECT body FROM version WHERE vid = 2) WHERE vid = 1")
    connection.close()
    with pytest.raises(Unavailable):
        await one(store, "Patient/p1")
    assert await one(store, "Observation/o1")


# --- Who opens it


async def test_a_store_remembers_that_it_is_encrypted(path: Path, opening: Callable[..., Store]) -> None:
    """Without the key, with another, without its file of keys or with that of another store, it is not opened."""
    await opening().close()
    with pytest.raises(Refused, match="FHIR_SERVER_KEK_FILE"):
        opening(None)
    with pytest.raises(WrongKey, match=KEKS.now.name):
        opening(OTHERS)
    other = open_store(str(path.with_name("other.db")), keks=KEKS)
    await other.close()
    with pytest.raises(Refused, match="another store"):
        opening(key_store=f"{path.with_name('other.db')}.keys")
    with pytest.raises(ValueError, match="not a file of data keys"):
        opening(key_store=str(path))
    Path(f"{path}.keys").rename(path.with_name("elsewhere"))
    with pytest.raises(ValueError, match="missing"):
        opening()
    await opening(key_store=str(path.with_name("elsewhere"))).close()
    assert path.with_name("elsewhere").stat().st_mode & 0o777 == 0o600


async def test_a_clear_store_is_not_silently_half_encrypted(path: Path, opening: Callable[..., Store]) -> None:
    """The message names the command; the store goes on in clear text."""
    store = opening(None)
    await put(store, *RECORD)
    await store.close()
    with pytest.raises(Refused, match="keys encrypt"):
        opening()
    assert not Path(f"{path}.keys").exists()
    assert await counted(opening(None), "Patient") == 1


async def test_two_processes_use_one_set_of_keys(opening: Callable[..., Store]) -> None:
    """Keys that one makes the other finds, for the same record too."""
    one_, other = opening(), opening()
    await asyncio.gather(
        *(put((one_, other)[n % 2], write(f"Observation/{n}", patient=f"p{n // 4}")) for n in range(40))
    )
    for n in range(40):
        assert await one((other, one_)[n % 2], f"Observation/{n}")


async def test_without_its_keys_a_store_is_unavailable_till_they_are_back(
    path: Path, opening: Callable[..., Store]
) -> None:
    """For what needs a key that is not in memory; what is answered for is on disk, and nothing hangs."""
    store = opening()
    await put(store, write("Observation/o1"))
    keys = sqlite3.connect(f"{path}.keys", isolation_level=None)
    keys.execute("ALTER TABLE data_key RENAME TO away")
    with pytest.raises(Unavailable):
        await put(store, write("Observation/o2", patient="p2"))
    assert await one(store, "Observation/o1")
    keys.execute("ALTER TABLE away RENAME TO data_key")
    keys.close()
    await put(store, write("Observation/o2", patient="p2"))
    assert await one(store, "Observation/o2")


async def test_the_ledger_swaps_what_it_has_sealed(opening: Callable[..., Store]) -> None:
    """By what was put there, not by how it lies there."""
    ledger = opening().ledger
    await ledger.put("k", "a", b"old", expires=None)
    assert not await ledger.swap("k", "a", b"other", b"new", expires=None)
    assert await ledger.swap("k", "a", b"old", b"new", expires=None)
    assert not await ledger.swap("k", "b", b"old", b"new", expires=None)
    assert await ledger.take("k", "a") == b"new"


# --- From clear to encrypted


async def filled(store: Store) -> list[Write]:
    """A record with a past, and things of nobody's; what was written."""
    past = [*RECORD, replace(write("Patient/p2", patient="p2"), version=1), write("Practitioner/pr1", patient=None)]
    await put(store, *past)
    later = [
        replace(RECORD[1], version=2),
        replace(RECORD[0], version=2, keys=("ins 2",)),
        deletion("DocumentReference/d1", 2, links=frozenset({"Binary/b1"})),
    ]
    await put(store, *later, audits=(audit_row("a1"),))
    await store.ledger.put("token", "k", b"who-it-stands-for", expires=None)
    return [*past, *later]


async def everything(store: Store) -> object:
    """All that can be asked of it."""
    links = ("Patient/p1", "Observation/o1", "DocumentReference/d1", "Binary/b1", "Patient/p2", "Practitioner/pr1")
    async with store.snapshot() as snapshot:
        history = [await snapshot.history(*link.split("/"), visible=TRUE) for link in links]
        changes = await snapshot.changes(("Patient", "Observation", "Binary"), visible=TRUE)
    searches = [
        ids(await found(store, "Patient", where=TokenIs("identifier", INS_NIR, NUMBER))),
        ids(await found(store, "Observation", where=Words("_text", (NUMBER,)))),
    ]
    log = [entry async for entry in store.system().audit_chain()]
    return history, changes, searches, log, await store.ledger.get("token", "k", now=0)


@pytest.mark.parametrize("broken_off", [False, True])
async def test_a_clear_store_is_encrypted(
    path: Path, opening: Callable[..., Store], broken_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every version, index entry, word, unique key and secret; in one go, or after it was broken off. Nothing of it is
    left in the file, and nobody sees a difference."""
    monkeypatch.setattr(encryption_walk, "_AT_ONCE", 2)
    store = opening(None)
    await filled(store)
    wanted = await everything(store)
    await store.close()
    told: list[tuple[int, int]] = []

    def tell(at: int, of: int) -> None:
        told.append((at, of))
        if broken_off and len(told) == 2:
            raise KeyboardInterrupt

    if broken_off:
        with pytest.raises(KeyboardInterrupt):
            encrypt(str(path), KEKS, told=tell)
        for keks in (None, KEKS):
            with pytest.raises(Refused, match=r"is encrypted|keys encrypt"):
                opening(keks)
    assert encrypt(str(path), KEKS, told=tell) == (5 if broken_off else 9)
    assert told[-1] == (9, 9)
    assert lying_in(path.parent, NUMBER, CONTENT, '"text":', "who-it-stands-for") == set()
    with pytest.raises(Refused, match="already"):
        encrypt(str(path), KEKS)
    store = opening()
    assert await everything(store) == wanted
    with pytest.raises(Taken):
        await put(store, replace(write("Patient/p3", patient="p3"), keys=("ins 2",)))
    with pytest.raises(Refused):
        opening(None)


async def test_a_store_that_is_open_is_not_encrypted(path: Path, opening: Callable[..., Store]) -> None:
    """What its server does not know of, it could not read."""
    store = opening(None)
    await put(store, *RECORD)
    with pytest.raises(Refused, match="stop it first"):
        encrypt(str(path), KEKS)
    assert await counted(store, "Patient") == 1


# --- Erasing a record


@pytest.mark.parametrize("keks", [KEKS, None], ids=["encrypted", "clear"])
async def test_an_erased_record_leaves_nothing(path: Path, opening: Callable[..., Store], keks: Keks | None) -> None:
    """Neither name nor number nor narrative nor content in any file; the log of it stays, with a line about it, and
    everybody else's records."""
    store = opening(keks)
    await filled(store)
    await put(store, OTHERS_TEXT)
    assert lying_in(path.parent, NARRATIVE, NAME) == {NARRATIVE, NAME}
    erased = await store.system().erase("p1", (audit_row("a2"),))
    assert erased == 7
    hidden = (NUMBER, NAME, NARRATIVE, CONTENT)
    assert lying_in(path.parent, *hidden) == set()
    for link in ("Patient/p1", "Observation/o1", "DocumentReference/d1", "Binary/b1"):
        assert await one(store, link) is None
        assert await versions(store, link) == []
    assert await counted(store, "Observation", "Patient", "Binary", "DocumentReference") == 2
    assert ids(await found(store, "Observation", where=Words("_text", ("tout", "va", "bien")))) == ["o2"]
    assert [entry.row.id async for entry in store.system().audit_chain()] == ["a1", "a2"]
    async with store.snapshot() as snapshot:
        assert [entry.row.id for entry in await snapshot.audits("p1", visible=TRUE)] == ["a2", "a1"]
        assert await snapshot.changes(("Patient", "Observation"), visible=TRUE, patients=("p1",)) == []
    await store.close()
    assert lying_in(path.parent, *hidden) == set()


async def test_what_was_decided_before_a_record_was_erased_is_not_written(opening: Callable[..., Store]) -> None:
    """Its policy has moved on; its key is not made again, even for who asks for no policy."""
    store = opening()
    await put(store, *RECORD)
    await store.system().erase("p1")
    with pytest.raises(Stale):
        await store.commit(Commit(guards=(PolicyGuard("p1", 0),)))
    with pytest.raises(Stale):
        await put(store, write("Observation/o9"))
    assert await store.system().erase("p1") == 0
    assert await store.system().erase("never") == 0


async def test_a_copy_from_before_does_not_bring_a_record_back(path: Path, opening: Callable[..., Store]) -> None:
    """Its keys lie elsewhere: what the copy has of it cannot be read, and is taken out when it is opened."""
    store = opening()
    await filled(store)
    await store.close()
    copy = shutil.copy(path, path.with_name("copy"))
    store = opening()
    await store.system().erase("p1")
    await store.close()
    shutil.copy(copy, path)
    store = opening()
    assert await one(store, "Patient/p1") is None
    assert await counted(store, "Patient") == 1
    await store.close()
    assert lying_in(path.parent / "", NUMBER) == set()
    Path(copy).unlink()
    assert lying_in(path.parent, NAME, NARRATIVE) == set()


async def test_another_process_sees_no_more_of_an_erased_record(opening: Callable[..., Store]) -> None:
    """Though it had its key in memory."""
    one_, other = opening(), opening()
    await put(one_, *RECORD)
    assert await one(other, "Observation/o1")
    await one_.system().erase("p1")
    assert await one(other, "Observation/o1") is None
    with pytest.raises(Stale):
        await other.commit(Commit((write("Observation/o9"),), guards=(PolicyGuard("p1", 0),)))


async def test_what_a_destroyed_key_sealed_is_as_if_it_never_was(opening: Callable[..., Store]) -> None:
    """Should a row of it be met all the same, by one who looked before it was taken out."""
    store = opening()
    await put(store, *RECORD)
    store._cipher.destroy("p1")  # type: ignore[attr-defined]
    assert await one(store, "Observation/o1") is None
    assert await found(store, "Observation") == []
    assert await versions(store, "Observation/o1") == []
    async with store.snapshot() as snapshot:
        assert await snapshot.changes(("Observation",), visible=TRUE) == []
    assert await store.system().live() == []


async def test_keys_are_wrapped_anew_while_the_store_is_used(opening: Callable[..., Store]) -> None:
    """A server that knows both goes on; the old key opens nothing afterwards."""
    first = opening()
    made = await put(first, *RECORD)
    both = opening(Keks(OTHERS.now, (KEKS.now,)))
    seen: list[int] = []
    assert await both.system().rewrap(seen.append) == 2
    assert await both.system().rewrap(seen.append) == 0
    assert await one(both, "Patient/p1") == made[0]
    assert await one(opening(OTHERS), "Patient/p1") == made[0]
    with pytest.raises(WrongKey):
        opening(KEKS)
    assert orjson.loads(made[0].body)["id"] == "p1"
