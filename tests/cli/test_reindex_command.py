"""`fhir-server reindex` as a person runs it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.cli.test_command_line import run, started
from tests.live import free_port
from tests.operations.test_reindex import NICKNAME, URL, person


def stored(folder: Path, *resources: dict[str, object]) -> None:
    """Put resources into the record of that folder, through an open server."""
    port = free_port()
    process = started(folder, "serve", "--open", port=port)
    try:
        for each in resources:
            answer = httpx.post(f"http://127.0.0.1:{port}/fhir/{each['resourceType']}", json=each)
            assert answer.status_code == 201, answer.text
    finally:
        process.terminate()
        process.wait(20)


def test_the_command_reports_what_it_did_as_one_line_of_json(tmp_path: Path) -> None:
    """The last line of standard output is the report; progress goes to standard error."""
    stored(tmp_path, person("Zoé"), NICKNAME)
    done = run(tmp_path, "reindex", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report == {"resources": 2, "indexed": 2, "resumed": False, "parameters": [URL], "refused": {}}
    again = run(tmp_path, "reindex")
    assert again.returncode == 0
    assert "up to date" in again.stdout


def test_a_parameter_that_is_left_out_is_named_and_fails_the_command(tmp_path: Path) -> None:
    """Exit 1, so that a script notices; the others are in force all the same."""
    stored(tmp_path, NICKNAME, NICKNAME | {"url": URL + "-bad", "code": "bad", "expression": "Patient.name.("})
    done = run(tmp_path, "reindex")
    assert done.returncode == 1
    assert URL + "-bad" in done.stderr
    assert URL in done.stdout


@pytest.mark.parametrize(("level", "said"), [("warning", True), ("error", False)])
def test_serving_an_index_made_with_other_definitions_names_the_command(tmp_path: Path, level: str, said: bool) -> None:
    """A store whose ledger does not say what its index is made with is as good as one made with nothing. It is a
    warning, which who sets FHIR_SERVER_LOG_LEVEL higher does not read."""
    stored(tmp_path, person("Zoé"))
    with sqlite3.connect(tmp_path / "record.db") as db:
        db.execute("DELETE FROM ledger WHERE kind = 'index'")
    db.close()
    port = free_port()
    log = tmp_path / "log"
    process = started(tmp_path, "serve", "--open", port=port, log=log, FHIR_SERVER_LOG_LEVEL=level)
    try:
        strict = {"Prefer": "handling=strict"}
        answer = httpx.get(f"http://127.0.0.1:{port}/fhir/Patient?gender=female", headers=strict)
        assert answer.status_code == 400
    finally:
        process.terminate()
        process.wait(20)
    assert ("fhir-server reindex" in log.read_text()) is said
