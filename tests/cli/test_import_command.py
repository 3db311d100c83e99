"""fhir-server import: folders and archives, resumable after a kill, in parallel, with a report; nobody is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from importers.export.entries import submission
from importers.export.xdm import archive
from tests.live import ENVIRONMENT
from tests.operations.test_import_archives import PDF, SET, entry
from tests.record.cda_versions import document

NAMES = ("PAT-TROIS", "DOMINIQUE", "279035121518989")


def command(folder: Path, *arguments: str) -> list[str]:
    """The command on the store of that folder."""
    return [sys.executable, "-m", "fhir_server", "import", *arguments]


def environment(folder: Path) -> dict[str, str]:
    """With the store of that folder."""
    return os.environ | ENVIRONMENT | {"FHIR_SERVER_STORE": f"sqlite:{folder / 'record.db'}", "PYTHONWARNINGS": ""}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to the end."""
    return subprocess.run(
        command(folder, *arguments), env=environment(folder), capture_output=True, text=True, timeout=300, check=False
    )


def lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a report or a journal."""
    return [json.loads(each) for each in file.read_text().splitlines()]


def lives(process: int) -> bool:
    """Whether a process is at work; one that has ended may wait to be buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with reports in folders, an XDM archive, a zip that is a folder, and things that are no documents."""
    folder = tmp_path / "PAT-TROIS DOMINIQUE"
    (folder / "2024").mkdir(parents=True)
    for number in range(4):
        (folder / "2024" / f"{number}.xml").write_bytes(document(30_000 + number, {"718-7": "1.5"}))
    (folder / "export.zip").write_bytes(
        archive(submission([entry(30_010), entry(30_011, "text/xml")], SET), _contents())
    )
    with zipfile.ZipFile(folder / "2023.zip", "w") as packed:
        packed.writestr("a/one.xml", document(30_020))
        packed.writestr("a/readme.txt", "rien")
    (folder / "notes.txt").write_text("rien")
    (folder / "other.xml").write_text("<other/>")
    return folder


def _contents() -> dict[str, bytes]:
    return {entry(30_010).id: PDF, entry(30_011).id: document(30_011, {"718-7": "2"})}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_folders_and_archives_are_walked_and_nobody_is_named(tmp_path: Path, documents: Path, jobs: str) -> None:
    """Everything is imported, what is no document is passed over; the report has a line a file and a summary."""
    report = tmp_path / "report.jsonl"
    done = run(tmp_path, str(documents), "--jobs", jobs, "--report", str(report))
    assert done.returncode == 0, done.stderr
    assert not any(name in done.stdout + done.stderr for name in NAMES)
    *files, summary = lines(report)
    assert summary == {"summary": {"created": 7, "skipped": 3}}
    by_name = {each["path"].removeprefix(str(documents)): each for each in files}
    assert by_name["/2023.zip!a/one.xml"]["outcome"] == "created"
    archive_line = by_name["/export.zip"]
    assert [each["status"] for each in archive_line["documents"]] == ["created", "created"]
    [one] = by_name["/2024/0.xml"]["documents"]
    counted = one["entries"]
    assert counted["total"] == counted["mapped"] + counted["narrativeOnly"] + counted["failed"] == 1
    assert counted["list"][0][3] == "mapped"
    assert one["created"]["Observation"] == 1
    again = run(tmp_path, str(documents), "--jobs", jobs, "--report", str(report))
    assert again.returncode == 0
    assert lines(report)[-1] == {"summary": {"skipped": 3, "unchanged": 7}}


def test_a_refused_document_is_told_by_its_hash_and_fails_the_command(tmp_path: Path) -> None:
    """Exit 1, with the code; a file that the operator names has to be a document."""
    bad = tmp_path / "DOMINIQUE.xml"
    bad.write_bytes(document(30_100).replace(b"19790328", b""))
    done = run(tmp_path, str(bad))
    assert done.returncode == 1
    assert "905" in done.stderr
    assert not any(name in done.stdout + done.stderr for name in NAMES)
    other = tmp_path / "other.xml"
    other.write_text("<other/>")
    assert run(tmp_path, str(other)).returncode == 1


def test_a_dry_run_keeps_nothing(tmp_path: Path, documents: Path) -> None:
    """Neither the documents nor the journal."""
    journal = tmp_path / "journal"
    assert run(tmp_path, str(documents), "--dry-run", "--journal", str(journal)).returncode == 0
    assert not journal.exists()
    done = run(tmp_path, str(documents))
    assert "7 created" in done.stderr


def test_a_migration_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 in the middle, twice; then all is there, once, and the journal knows it."""
    folder, count = tmp_path / "files", 60
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.xml").write_bytes(document(31_000 + number, {"718-7": "1.5", "2951-2": "140"}))
    journal, report = tmp_path / "journal.jsonl", tmp_path / "report.jsonl"
    arguments = (str(folder), "--journal", str(journal), "--jobs", "2")
    for enough in (5, 25):
        running = subprocess.Popen(
            command(tmp_path, *arguments), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + 120
        while not journal.exists() or journal.read_bytes().count(b"\n") < enough:
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        children = [int(each) for each in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
        running.kill()
        running.wait()
        assert running.stdout
        running.stdout.close()
        # Nobody is left waiting for work that will not come.
        while any(map(lives, children)):
            assert time.monotonic() < end
            time.sleep(0.01)
    # What the power took with it: half a line, and a line that was never written.
    whole = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(whole[:-2]) + whole[-1][:20])
    assert len(whole) < count
    done = run(tmp_path, *arguments, "--report", str(report))
    assert done.returncode == 0, done.stderr
    summary = lines(report)[-1]["summary"]
    assert sum(summary.values()) == count
    assert summary["unchanged"] >= 2
    last = run(tmp_path, *arguments, "--report", str(report))
    assert (last.returncode, lines(report)) == (0, [{"summary": {"done before": count}}])
    (tmp_path / "journal.jsonl").unlink()
    again = run(tmp_path, str(folder), "--report", str(report))
    assert (again.returncode, lines(report)[-1]) == (0, {"summary": {"unchanged": count}})


def test_a_pdf_is_imported_with_the_documentreference_beside_it(tmp_path: Path) -> None:
    """In a folder and in a zip; one that nothing is said of is passed over, one that is badly described is refused, and
    so is one of a patient whom the record does not know: nobody is made of a number alone."""
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "0.xml").write_bytes(document(30_200))

    def described(name: str, ins: str = NAMES[2]) -> bytes:
        subject = {"identifier": {"system": "urn:oid:1.2.250.1.213.1.4.10", "value": ins}}
        kind = {"coding": [{"system": "http://loinc.org", "code": "57833-6"}]}
        content = [{"attachment": {"contentType": "application/pdf", "title": name}}]
        told = {"resourceType": "DocumentReference", "status": "current", "subject": subject, "type": kind}
        return json.dumps(told | {"content": content}).encode()

    for name in ("told", "untold", "badly", "stranger"):
        (folder / f"{name}.pdf").write_bytes(PDF + name.encode())
    (folder / "told.json").write_bytes(described("Ordonnance"))
    (folder / "badly.json").write_bytes(b'{"resourceType": "DocumentReference"}')
    (folder / "stranger.json").write_bytes(described("Ordonnance", "277076322082910"))
    with zipfile.ZipFile(folder / "more.zip", "w") as packed:
        packed.writestr("a/packed.pdf", PDF + b"packed")
        packed.writestr("a/packed.json", described("Dans une archive"))
    report = tmp_path / "report.jsonl"
    done = run(tmp_path, str(folder), "--report", str(report))
    assert done.returncode == 1, done.stderr
    outcomes = {each["path"].rpartition("/")[2]: each["outcome"] for each in lines(report)[:-1]}
    assert outcomes["told.pdf"] == outcomes["packed.pdf"] == outcomes["0.xml"] == "created"
    assert outcomes["untold.pdf"] == outcomes["told.json"] == "skipped"
    assert outcomes["badly.pdf"] == outcomes["stranger.pdf"] == "rejected"
    assert lines(report)[-1] == {"summary": {"created": 3, "rejected": 2, "skipped": 5}}
    assert lines_of_refusal(report, "stranger.pdf") == ["902"]
    again = run(tmp_path, str(folder / "told.pdf"), "--report", str(report))
    assert again.returncode == 0, again.stderr
    assert lines(report)[-1] == {"summary": {"unchanged": 1}}


def lines_of_refusal(report: Path, name: str) -> list[str]:
    """The codes of the refusal of a file."""
    [line] = [each for each in lines(report)[:-1] if each["path"].endswith(name)]
    return [found["details"]["coding"][0]["code"] for each in line["documents"] for found in each["issues"]]
