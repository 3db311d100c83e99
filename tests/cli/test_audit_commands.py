"""`fhir-server audit`: verify, seals, prune, new-key, run as a person runs them (access §6)."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from pathlib import Path

import httpx
import pytest

from tests.cli.test_command_line import run, started
from tests.live import free_port
from tests.scenarios.test_the_patient_decides import CDA

FILE = "record.db"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a log of a few rows, sealed twice; the seals are in `kept.json`."""
    folder = tmp_path_factory.mktemp("logged")
    for number in range(3):
        (folder / "a.xml").write_bytes(CDA.replace(b"2.25.77001", b"2.25.%d" % number))
        assert run(folder, "import", "a.xml").returncode == 0
        if number:
            done = run(folder, "audit", "seals", "--now", "--out", "kept.json")
            assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((folder / "kept.json").stat().st_mode) == 0o600
    return folder


@pytest.fixture
def log(logged: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    for name in (FILE, "kept.json"):
        shutil.copy(logged / name, tmp_path / name)
    return tmp_path


def damage(folder: Path, *statements: str) -> None:
    """Write into the file behind the server's back."""
    with sqlite3.connect(folder / FILE) as file:
        for each in statements:
            file.execute(each)
    file.close()


def sealed(folder: Path) -> list[int]:
    """The rows that were sealed."""
    return [each["n"] for each in json.loads((folder / "kept.json").read_text())["seals"]]


def test_an_intact_log_is_said_to_be_so(log: Path) -> None:
    """Exit 0: whole, from a row on, by its own seals and by those kept elsewhere."""
    for more in ([], ["--seals", "kept.json"], ["--from", "2"], ["--chain", "fhir-server audit 1"]):
        done = run(log, "audit", "verify", *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("intact: ")
        assert " seals" in done.stdout


def edited(table: str, column: str, old: str, new: str, where: str) -> str:
    """A statement that changes a text within bytes."""
    text = f"replace(CAST({column} AS TEXT), '{old}', '{new}')"
    return f"UPDATE {table} SET {column} = CAST({text} AS BLOB) WHERE {where}"


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (edited("audit", "body", '"C"', '"D"', "seq = 2"), "altered: row 2"),
        ("DELETE FROM audit WHERE seq = 2", "missing: row 2"),
        ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", "truncated: row "),
        ("UPDATE audit SET time = time + 1 WHERE seq = 1", "altered: row 1"),
        ("INSERT INTO audit SELECT 0, 'x', cid, time, body, hash FROM audit WHERE seq = 1", "reordered: row 1"),
        (edited("ledger", "value", '"time":', '"time":1', "kind = 'seal'"), "bad-seal: row "),
    ],
)
def test_the_first_bad_row_is_named_and_what_befell_it(log: Path, statement: str, fault: str) -> None:
    """Exit 1."""
    damage(log, statement)
    done = run(log, "audit", "verify")
    assert done.returncode == 1, done.stdout
    assert done.stdout.startswith(fault)


def test_what_cannot_be_read_proves_nothing(log: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Exit 2: no store, no log, another chain, no such file of seals; none of them makes a store."""
    empty = tmp_path_factory.mktemp("empty")
    assert run(empty, "audit", "verify").returncode == 2
    assert not (empty / FILE).exists()
    assert run(log, "audit", "verify", "--chain", "other").returncode == 2
    assert run(log, "audit", "verify", "--seals", "none.json").returncode == 2
    (log / "nonsense.json").write_text("{}")
    assert run(log, "audit", "verify", "--seals", "nonsense.json").returncode == 2
    damage(log, "DROP TABLE audit")
    assert run(log, "audit", "verify").returncode == 2


def test_a_log_is_pruned_up_to_a_seal_and_goes_on_from_there(log: Path) -> None:
    """Exit 2 where there is no seal; then the rest is proved, by the seals from before too."""
    assert run(log, "audit", "prune", "--until-seal", "1").returncode == 2
    first, last = sealed(log)
    done = run(log, "audit", "prune", "--until-seal", str(first))
    assert (done.returncode, done.stdout.strip()) == (0, f"pruned to row {first}")
    for more in ([], ["--seals", "kept.json"]):
        verdict = run(log, "audit", "verify", *more)
        assert verdict.stdout.strip() == f"intact: {last - first} rows, 1 seals"
    damage(log, f"DELETE FROM audit WHERE seq = {first + 1}")
    assert run(log, "audit", "prune", "--until-seal", str(last)).returncode == 1


def test_a_key_in_a_file_is_made_changed_and_needed(log: Path) -> None:
    """The file is its owner's; without it nothing is proved, and no server starts."""
    key = {"FHIR_SERVER_AUDIT_KEY_FILE": str(log / "seals.pem")}
    assert run(log, "audit", "verify", **key).returncode == 2
    names = {run(log, "audit", "new-key", **key).stdout.strip() for _ in range(2)}
    assert len(names) == 2
    assert stat.S_IMODE((log / "seals.pem").stat().st_mode) == 0o600
    assert run(log, "audit", "seals", "--now", "--out", "again.json", **key).returncode == 0
    (log / "seals.pem").chmod(0o644)
    done = run(log, "serve", **key)
    assert done.returncode != 0


def test_a_server_seals_what_it_wrote_when_it_stops(tmp_path: Path) -> None:
    """The last rows are not left unproved; nothing new, no new seal."""
    port = free_port()
    counts = []
    for asks in (True, True, False):
        process = started(tmp_path, "serve", port=port)
        try:
            if asks:
                assert httpx.get(f"http://127.0.0.1:{port}/fhir/Patient/x").status_code == 401
        finally:
            process.terminate()
            process.wait(20)
        kept = json.loads(run(tmp_path, "audit", "seals").stdout)
        counts.append([each["n"] for each in kept["seals"]])
    assert counts == [[1], [1, 2], [1, 2]]
    assert run(tmp_path, "audit", "verify").stdout.strip() == "intact: 2 rows, 2 seals"
