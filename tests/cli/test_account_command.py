"""account …, and what keeps a demonstration a demonstration."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.test_command_line import run, started
from tests.live import free_port
from tests.portal.browser import Browser

PASSWORD = "correct horse battery"


def account(folder: Path, *arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    """`fhir-server account …` with a password on its standard input."""
    known = {**os.environ, "FHIR_SERVER_STORE": f"sqlite:{folder / '.demo' / 'record.db'}"}
    command = [sys.executable, "-m", "fhir_server", "account", *arguments]
    return subprocess.run(
        command, env=known, cwd=folder, input=password + "\n", capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The folder of one that was started and stopped, and what it keeps of its people."""
    folder = tmp_path_factory.mktemp("demonstration")
    process = started(folder, "demo", port=free_port())
    process.terminate()
    process.wait(20)
    return folder, json.loads((folder / ".demo" / "credentials.json").read_text())


def test_an_account_is_made_changed_and_removed(demonstration: tuple[Path, dict]) -> None:
    """The password comes by standard input; each step holds at the page of a running server, from the next login on."""
    folder, given = demonstration
    patient = given["actors"]["patient"]["reference"]
    made = account(folder, "add", "anne", "--name", "Anne", "--patient", patient, password=PASSWORD)
    assert made.returncode == 0, made.stderr
    assert account(folder, "add", "anne", "--name", "Anne", "--admin", password=PASSWORD).returncode == 1
    port = free_port()
    process = started(folder, "demo", port=port)
    try:
        with Browser(f"http://127.0.0.1:{port}") as browser:
            browser.open("/login")
            assert browser.log_in("anne", PASSWORD).title == "My applications"
            assert account(folder, "passwd", "anne", password="another horse battery").returncode == 0
            assert browser.open("/apps").title == "Log in"
            assert browser.log_in("anne", PASSWORD).status == 401
            assert browser.log_in("anne", "another horse battery").title == "My applications"
            code = account(folder, "enrol", "anne").stdout
            assert re.fullmatch(r"([2-9A-Z]{4}-){3}[2-9A-Z]{4}\n", code)
            assert account(folder, "remove", "anne").returncode == 0
            assert browser.open("/apps").title == "Log in"
    finally:
        process.terminate()
        process.wait(20)
    assert account(folder, "remove", "anne").returncode == 1


@pytest.mark.parametrize(
    "who",
    [
        [],
        ["--patient", "Patient/nobody"],
        ["--patient", "Device/1"],
        ["--represents", "Patient/nobody=RelatedPerson/nobody"],
        ["--represents", "RelatedPerson/1"],
        ["--admin", "--patient", "Patient/1"],
    ],
    ids=str,
)
def test_an_account_that_opens_nothing_is_not_made(demonstration: tuple[Path, dict], who: list[str]) -> None:
    """A record that is not there, or does not open to them."""
    folder, _ = demonstration
    assert account(folder, "add", "nobody", "--name", "N", *who, password=PASSWORD).returncode != 0


def test_a_representative_is_one_of_the_record(demonstration: tuple[Path, dict]) -> None:
    """The mother of the child; not for a record that she does not represent."""
    folder, given = demonstration
    mother, patient = given["actors"]["representative"]["reference"], given["actors"]["patient"]["reference"]
    wrong = account(folder, "add", "ruth", "--name", "Ruth", "--represents", f"{patient}={mother}", password=PASSWORD)
    assert wrong.returncode == 1


def test_the_secrets_of_a_demonstration_stay_what_they_were(demonstration: tuple[Path, dict]) -> None:
    """Passwords and private keys are made at the first start; one that is lost is made anew."""
    folder, before = demonstration
    path = folder / ".demo" / "credentials.json"
    for lose in (False, True):
        if lose:
            path.unlink()
        process = started(folder, "demo", port=free_port())
        process.terminate()
        process.wait(20)
        after = json.loads(path.read_text())
        assert (after["accounts"] == before["accounts"]) is not lose
        assert (after["clients"] == before["clients"]) is not lose
        assert after["accounts"].keys() == before["accounts"].keys()
    assert {"demo-app", "demo-lgc", "demo-ncp-de"} == before["clients"].keys()
    assert len(set(before["accounts"].values())) == len(before["accounts"])


def test_the_store_of_a_demonstration_is_served_as_one_or_not_at_all(demonstration: tuple[Path, dict]) -> None:
    """Its secrets are known: without the setting the start is refused, with it only loopback listens."""
    folder, _ = demonstration
    store = f"sqlite:{folder / '.demo' / 'record.db'}"
    refused = run(folder, "serve", FHIR_SERVER_STORE=store, FHIR_SERVER_PORT=str(free_port()))
    assert refused.returncode != 0
    assert "demonstration" in refused.stderr + refused.stdout
    open_to_all = run(folder, "serve", FHIR_SERVER_DEMO="true", FHIR_SERVER_HOST="0.0.0.0", FHIR_SERVER_STORE=store)
    assert open_to_all.returncode != 0


def test_an_identity_provider_that_is_half_configured_stops_the_start(tmp_path: Path) -> None:
    """The setting is named."""
    given = {"FHIR_SERVER_PSC_ISSUER": "https://psc.example.org", "FHIR_SERVER_PORT": str(free_port())}
    refused = run(tmp_path, "serve", **given)
    assert refused.returncode != 0
    assert "psc_client_id" in refused.stderr + refused.stdout


def test_what_is_wrong_with_an_account_is_told(demonstration: tuple[Path, dict]) -> None:
    """The place and the reason; exit 1."""
    folder, given = demonstration
    patient = given["actors"]["patient"]["reference"]
    for arguments, why in (
        (("add", "zoe", "--name", "Zoe", "--patient", "Patient/nobody"), "patient: There is no such record"),
        (("add", "z", "--name", "Zoe", "--patient", patient), "A login has 2 to 100"),
        (("remove", "zoe"), "There is no account of that name."),
    ):
        done = account(folder, *arguments, password=PASSWORD)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    short = account(folder, "add", "zoe", "--name", "Zoe", "--patient", patient, password="short")
    assert (short.returncode, "12" in short.stderr) == (1, True), short.stderr


def test_what_is_done_to_an_account_stands_in_the_log_of_its_record(demonstration: tuple[Path, dict]) -> None:
    """By whoever has a shell on the machine; each act that was done, in its order."""
    folder, given = demonstration
    patient = given["actors"]["patient"]["reference"]
    for arguments in (("add", "ines", "--name", "Inès", "--patient", patient), ("passwd", "ines"), ("enrol", "ines")):
        done = account(folder, *arguments, password=PASSWORD)
        assert done.returncode == 0, done.stderr
    assert account(folder, "remove", "ines").returncode == 0
    with closing(sqlite3.connect(folder / ".demo" / "record.db")) as kept:
        rows = [json.loads(body) for (body,) in kept.execute("SELECT body FROM audit ORDER BY seq")]
    acts = [each for each in rows if "account-ines" in str(each)]
    assert [each["interaction"].partition("-")[0] for each in acts] == ["add", "change", "enrol", "remove"]
    for each in acts:
        assert (each["role"], each["patient"]) == ("admin", patient.partition("/")[2])
        assert "(fhir-server account " in each["name"]
