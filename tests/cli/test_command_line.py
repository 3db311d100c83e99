"""The command line, run as a person runs it."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.live import free_port
from tests.scenarios.test_the_patient_decides import CDA


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`fhir-server …` on a store of its own."""
    known = {**os.environ, "FHIR_SERVER_STORE": f"sqlite:{folder / 'record.db'}", **environment}
    command = [sys.executable, "-m", "fhir_server", *arguments]
    return subprocess.run(command, env=known, cwd=folder, capture_output=True, text=True, timeout=60)


def started(
    folder: Path, *arguments: str, port: int, log: Path = Path(os.devnull), **environment: str
) -> subprocess.Popen[bytes]:
    """A server that answers; `log`: where what it writes goes."""
    own = {"FHIR_SERVER_PORT": str(port), "FHIR_SERVER_STORE": f"sqlite:{folder / 'record.db'}"}
    known = {**os.environ, **own, **environment}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_server", *arguments], env=known, cwd=folder, stdout=output, stderr=output
        )
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 204:
                return process
        except httpx.HTTPError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the server did not start")


def test_the_demonstration_answers_and_leaves_its_credentials_to_their_owner(tmp_path: Path) -> None:
    """`make run` in short: actors, tokens, a document; the file is private; a second start keeps the record."""
    port = free_port()
    totals = []
    for _ in range(2):
        process = started(tmp_path, "demo", port=port)
        try:
            path = tmp_path / ".demo" / "credentials.json"
            given = json.loads(path.read_text())
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert given["base"] == f"http://127.0.0.1:{port}/fhir"
            wanted = "patient representative medecin_traitant care_team other_doctor lgc app admin"
            assert set(wanted.split()) <= given["actors"].keys()
            doctor, patient = given["actors"]["care_team"], given["actors"]["patient"]
            answer = httpx.get(
                f"{given['base']}/DocumentReference?status=current&patient={patient['reference']}",
                headers={"Authorization": f"Bearer {doctor['token']}"},
            )
            totals.append(answer.json()["total"])
        finally:
            process.terminate()
            process.wait(15)
    assert totals == [3, 3]
    assert stat.S_IMODE((tmp_path / ".demo" / "record.db").stat().st_mode) == 0o600


def test_a_token_is_issued_for_scopes_that_there_are(tmp_path: Path) -> None:
    """One that means nothing would be a token that opens nothing, and nobody would know why."""
    whose = ("--role", "admin", "--reference", "Device/ops", "--name", "Ops")
    assert run(tmp_path, "token", "issue", *whose, "--scope", "user/AuditEvent.c").returncode == 0
    assert run(tmp_path, "token", "issue", *whose, "--scope", "user/AuditEvent.xyz").returncode == 2


def test_a_token_is_issued_used_and_revoked(tmp_path: Path) -> None:
    """It is printed once, works, and is dead on the next request after its end."""
    issued = run(tmp_path, "token", "issue", "--role", "admin", "--reference", "Device/ops", "--name", "Ops")
    token = issued.stdout.strip()
    assert issued.returncode == 0, issued.stderr
    assert token.encode() not in (tmp_path / "record.db").read_bytes()
    port = free_port()
    process = started(tmp_path, "serve", port=port)
    try:
        url, bearer = f"http://127.0.0.1:{port}/fhir/Organization", {"Authorization": f"Bearer {token}"}
        assert httpx.get(url, headers=bearer).status_code == 200
        assert run(tmp_path, "token", "revoke", token).returncode == 0
        assert httpx.get(url, headers=bearer).status_code == 401
        assert run(tmp_path, "token", "revoke", token).returncode == 1
    finally:
        process.terminate()
        process.wait(15)


def test_documents_are_imported_once_and_refusals_are_told_by_code(tmp_path: Path) -> None:
    """Exit 1 when one was refused, which is told by the beginning of its SHA-256: its name may be a person's."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.xml").write_bytes(CDA)
    assert run(tmp_path, "import", str(folder)).returncode == 0
    (folder / "b.xml").write_bytes(CDA.replace(b"2.25.77001", b"2.25.77002").replace(b">PAT-TROIS<", b">AUTRE<"))
    again = run(tmp_path, "import", str(folder))
    assert again.returncode == 1
    digest = hashlib.sha256((folder / "b.xml").read_bytes()).hexdigest()
    assert f"{digest[:12]}: rejected 904" in again.stderr
    assert "1 unchanged" in again.stderr
    assert "PAT-TROIS" not in again.stderr + again.stdout
    assert "279035121518989" not in again.stderr + again.stdout


def test_without_create_patient_an_unknown_patient_is_refused(tmp_path: Path) -> None:
    """902."""
    (tmp_path / "a.xml").write_bytes(CDA)
    answer = run(tmp_path, "import", "a.xml", "--no-create-patient")
    assert answer.returncode == 1
    assert "902" in answer.stderr


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit SET body = replace(body, '\"outcome\"', '\"Outcome\"') || ' ' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
        "UPDATE audit SET time = time + 1 WHERE seq = 1",
    ],
)
def test_a_changed_access_log_is_found_out(tmp_path: Path, damage: str) -> None:
    """0 for an intact chain, 1 for any change behind the server's back."""
    for number in range(3):
        (tmp_path / "a.xml").write_bytes(CDA.replace(b"2.25.77001", b"2.25.%d" % number))
        assert run(tmp_path, "import", "a.xml").returncode == 0
    assert run(tmp_path, "audit", "verify").returncode == 0
    file = sqlite3.connect(tmp_path / "record.db")
    file.execute(damage)
    file.commit()
    file.close()
    verdict = run(tmp_path, "audit", "verify")
    assert verdict.returncode == 1
    assert "row" in verdict.stdout


def test_a_log_that_cannot_be_read_is_told_from_a_broken_one(tmp_path: Path) -> None:
    """Exit 2: no store, or no store of ours; nothing is created."""
    assert run(tmp_path, "audit", "verify").returncode == 2
    assert not (tmp_path / "record.db").exists()
    (tmp_path / "record.db").write_bytes(b"not a database, but long enough to look like one" * 100)
    assert run(tmp_path, "audit", "verify").returncode == 2


def test_open_mode_stays_on_loopback(tmp_path: Path) -> None:
    """Refused on any other address."""
    answer = run(tmp_path, "serve", "--open", FHIR_SERVER_HOST="0.0.0.0")
    assert answer.returncode == 2
    assert "loopback" in answer.stderr


def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The variable, not a traceback."""
    answer = run(tmp_path, "serve", FHIR_SERVER_PORT="many")
    assert answer.returncode == 2
    assert "FHIR_SERVER_PORT" in answer.stderr
    assert "Traceback" not in answer.stderr
