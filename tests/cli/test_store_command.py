"""`fhir-server store …`: a copy is made while the store is in use, and proves itself when it is put back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.cli.test_command_line import run
from tests.conftest import open_house


def test_a_copy_is_made_and_put_back(tmp_path: Path) -> None:
    """With what was committed before, and not what came after; private, like the store; its log whole."""
    copy, back = tmp_path / "copy.db", tmp_path / "back"
    back.mkdir()
    for house in open_house(tmp_path):
        patient = house.patient.reference
        assert house.patient.get(patient).status_code == 200
        assert run(tmp_path, "store", "backup", str(copy)).returncode == 0
        with sqlite3.connect(copy) as connection:
            before = connection.execute("SELECT count(*) FROM audit").fetchone()
        connection.close()
        assert house.patient.get(patient).status_code == 200
    assert copy.stat().st_mode & 0o777 == 0o600
    done = run(back, "store", "restore", str(copy))
    assert (done.returncode, f"{before[0]} rows" in done.stdout) == (0, True), done.stdout + done.stderr
    assert (back / "record.db").stat().st_mode & 0o777 == 0o600
    for house in open_house(back):
        assert house.patient.get(house.patient.reference).status_code == 200


def test_a_copy_with_a_changed_log_says_so(tmp_path: Path) -> None:
    """Exit 1, and the first bad row."""
    copy, back = tmp_path / "copy.db", tmp_path / "back"
    back.mkdir()
    for house in open_house(tmp_path):
        house.patient.get(house.patient.reference)
    assert run(tmp_path, "store", "backup", str(copy)).returncode == 0
    with sqlite3.connect(copy) as connection:
        connection.execute("UPDATE audit SET body = replace(body, 'read', 'rxad') WHERE seq = 2")
    connection.close()
    done = run(back, "store", "restore", str(copy))
    assert (done.returncode, "row 2" in done.stdout) == (1, True), done.stdout + done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a file by a copy, nor a store by a copy put back; what is no store is not put anywhere."""
    for house in open_house(tmp_path):
        house.patient.get(house.patient.reference)
    copy, other = tmp_path / "copy.db", tmp_path / "other"
    other.mkdir()
    assert run(tmp_path, "store", "backup", str(copy)).returncode == 0
    for arguments, folder in (
        (("backup", str(copy)), tmp_path),
        (("restore", str(copy)), tmp_path),
        (("backup", "new"), other),
        (("restore", "absent"), other),
    ):
        done = run(folder, "store", *arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.strip()
    assert list(other.iterdir()) == []
