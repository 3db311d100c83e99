"""A server on an encrypted store: nobody notices, the file tells nothing, and a record can be erased for good."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_server.demo.family import PATIENTS
from tests.cli.test_command_line import run
from tests.conftest import House, open_house
from tests.scenarios.test_the_patient_decides import CDA, push, pushed

PERSON = PATIENTS[0]
INS = f"urn:oid:1.2.250.1.213.1.4.10|{PERSON.ins}"
CONTENT = b"Qm9uam91cg=="


@pytest.fixture
def kek(tmp_path: Path) -> Path:
    """The file of the key that encrypts keys, as the command makes it."""
    path = tmp_path / "kek"
    assert run(tmp_path, "keys", "make", str(path)).returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    return path


@pytest.fixture
def own_house(tmp_path: Path, kek: Path) -> Iterator[House]:
    """A house on an encrypted store."""
    yield from open_house(tmp_path, kek_file=str(kek))


def lying_in(folder: Path, *texts: bytes) -> set[bytes]:
    """Those of these that stand in the store, the log beside it or the file of its keys."""
    # By another process: to close a file of SQLite's here would let go the locks that a server in this one has on it.
    files = sorted(map(str, folder.glob("record.db*")))
    content = subprocess.run(["cat", *files], capture_output=True, check=True).stdout.lower()
    return {text for text in texts if text.lower() in content}


def without_log(folder: Path) -> Path:
    """The folder of a copy of the store that has no access log."""
    copy = folder / "without"
    copy.mkdir()
    with sqlite3.connect(folder / "record.db") as connection:
        connection.execute("VACUUM INTO ?", (str(copy / "record.db"),))
    connection.close()
    connection = sqlite3.connect(copy / "record.db", isolation_level=None)
    connection.execute("DELETE FROM audit")
    connection.execute("VACUUM")
    connection.close()
    return copy


def command(folder: Path, kek: Path, *arguments: str, **more: str) -> str:
    """What `fhir-server keys …` says, whose outcome is a success."""
    done = run(folder, "keys", *arguments, FHIR_SERVER_KEK_FILE=str(kek), **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_document_is_pushed_found_and_read(tmp_path: Path, own_house: House) -> None:
    """By its patient's INS, by lookup, by its content; the INS and the content are nowhere in the file."""
    document = pushed(push(own_house.biologist))
    found = own_house.medecin_traitant.get(f"Patient?identifier={INS}&birthdate={PERSON.born}").json()
    assert [each["resource"]["id"] for each in found["entry"]] == [own_house.cast.id("patient")]
    patient = own_house.patient.reference
    searched = own_house.patient.get(f"DocumentReference?patient={patient}&patient.identifier={INS}").json()
    assert document in {f"DocumentReference/{each['resource']['id']}" for each in searched["entry"]}
    assert own_house.patient.get(f"Patient?identifier:not={INS}").json()["total"] == 0
    read = own_house.patient.get(document).json()
    assert "Lettre" in str(read)
    own_house.patient.get(read["content"][0]["attachment"]["url"]).raise_for_status()
    assert lying_in(tmp_path, PERSON.ins.encode(), CONTENT, b"<ClinicalDocument") == set()


def test_an_erased_record_is_as_absent(tmp_path: Path, own_house: House, kek: Path) -> None:
    """While the server runs: every answer is that about a patient who never was. The log keeps the line of it, which
    still proves itself."""
    document = pushed(push(own_house.biologist))
    patient = own_house.patient.reference
    assert own_house.medecin_traitant.get(patient).status_code == 200
    said = command(tmp_path, kek, "destroy", patient, "--yes")
    assert said.startswith("erased: ")
    never = patient[:-4] + "0000"
    for caller in (own_house.patient, own_house.medecin_traitant, own_house.biologist, own_house.admin):
        for path in ("{}", "{}/_history", "{}/$everything", "Observation?patient={}", "Patient?identifier=" + INS):
            told, absent = (caller.get(path.format(who)) for who in (patient, never))
            assert told.status_code < 500
            assert told.status_code == absent.status_code, path
            assert told.json().get("total", 0) == 0
        assert caller.get(document).status_code == 404
        assert caller.put(patient, {"resourceType": "Patient", "id": patient.split("/")[1]}).status_code in (403, 404)
    refused = own_house.biologist.request("POST", "$import-document", content=CDA, headers={"Content-Type": "text/xml"})
    assert 400 <= refused.status_code < 500
    gone = (PERSON.ins.encode(), CONTENT, PERSON.born.encode(), b"bilan lipidique")
    assert lying_in(tmp_path, *gone) == set()
    # The log alone still names who acted, the holder too.
    named = (PERSON.family.encode(), b"marie-louise")
    assert lying_in(without_log(tmp_path), *gone, *named) == set()
    verified = run(tmp_path, "audit", "verify", FHIR_SERVER_KEK_FILE=str(kek))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    others = own_house.mother.get(own_house.mother.reference)
    assert others.status_code == 200


def test_a_record_is_not_erased_by_mistake(tmp_path: Path, own_house: House, kek: Path) -> None:
    """Not one that is not there, not without its id typed again, not in a store without keys."""
    absent = run(tmp_path, "keys", "destroy", "nobody", "--yes", FHIR_SERVER_KEK_FILE=str(kek))
    assert (absent.returncode, "there is no" in absent.stderr) == (1, True)
    untold = run(tmp_path, "keys", "destroy", own_house.patient.reference, FHIR_SERVER_KEK_FILE=str(kek))
    assert untold.returncode == 1
    without = run(tmp_path, "keys", "destroy", own_house.patient.reference, "--yes")
    assert (without.returncode, "FHIR_SERVER_KEK_FILE" in without.stderr) == (1, True)
    assert own_house.patient.get(own_house.patient.reference).status_code == 200


def test_the_key_of_keys_is_changed_while_servers_run(tmp_path: Path, kek: Path) -> None:
    """Start with both, rotate, start with the new one: at every moment the record can be read."""
    new = tmp_path / "new"
    command(tmp_path, kek, "make", str(new))
    for _ in open_house(tmp_path, kek_file=str(kek)):
        pass
    both = {"FHIR_SERVER_KEK_FILE_BEFORE": str(kek)}
    for house in open_house(tmp_path, kek_file=str(new), kek_file_before=str(kek)):
        assert "wrapped anew: " in command(tmp_path, new, "rotate", **both)
        assert house.patient.get(house.patient.reference).status_code == 200
    assert "wrapped anew: 0" in command(tmp_path, new, "rotate")
    for house in open_house(tmp_path, kek_file=str(new)):
        assert house.patient.get(house.patient.reference).status_code == 200
    old = run(tmp_path, "keys", "rotate", FHIR_SERVER_KEK_FILE=str(kek))
    assert (old.returncode, "the one given" in old.stderr) == (2, True)


def test_a_store_in_use_becomes_encrypted(tmp_path: Path, kek: Path) -> None:
    """Refused while a server has it; afterwards nobody notices but the one who opens it without the key."""
    for house in open_house(tmp_path):
        push(house.biologist)
        refused = run(tmp_path, "keys", "encrypt", FHIR_SERVER_KEK_FILE=str(kek))
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
        token, document = house.patient.token, house.patient.reference
    assert "encrypted: " in command(tmp_path, kek, "encrypt")
    assert lying_in(tmp_path, PERSON.ins.encode(), CONTENT, b"<ClinicalDocument") == set()
    for house in open_house(tmp_path, kek_file=str(kek)):
        house.patient.token = token
        assert house.patient.get(document).status_code == 200
    without = run(tmp_path, "audit", "verify")
    assert without.returncode == 2
