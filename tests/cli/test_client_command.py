"""fhir-server client …: programs are registered, listed and forgotten from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_command_line import run
from tests.oauth import app


def test_a_program_is_registered_listed_and_forgotten(tmp_path: Path) -> None:
    """Its secret is printed once; every fault of a registration is told; exit 1 for what did not happen."""
    file = tmp_path / "client.json"
    file.write_text(json.dumps(app(token_endpoint_auth_method="client_secret_basic")))
    added = run(tmp_path, "client", "add", "client.json")
    assert added.returncode == 0, added.stderr
    told = json.loads(added.stdout)
    assert told["client_id"] == "app"
    secret = told.pop("client_secret")
    assert secret.encode() not in (tmp_path / "record.db").read_bytes()
    assert run(tmp_path, "client", "add", "client.json").returncode == 1
    file.write_text(json.dumps(app("b", scope="nonsense", redirect_uris=["http://far.example.org/"])))
    refused = run(tmp_path, "client", "add", "client.json")
    assert refused.returncode == 1
    assert "scope:" in refused.stderr
    assert "redirect_uris[0]:" in refused.stderr
    listed = run(tmp_path, "client", "list").stdout
    assert [json.loads(line) for line in listed.splitlines()] == [told]
    assert run(tmp_path, "client", "remove", "app").returncode == 0
    assert run(tmp_path, "client", "remove", "app").returncode == 1
    assert run(tmp_path, "client", "list").stdout == ""


def test_signing_keys_are_renewed(tmp_path: Path) -> None:
    """One kid for each algorithm, new each time."""
    first, second = (run(tmp_path, "client", "new-signing-keys").stdout.split() for _ in range(2))
    assert len(first) == len(second) == 2
    assert not set(first) & set(second)


def test_a_command_that_cannot_open_the_store_says_why(tmp_path: Path) -> None:
    """Exit 2 and one line, of every command: a key of keys that others may read, a file that is not there."""
    key = tmp_path / "kek"
    key.write_text("0" * 64)
    key.chmod(0o644)
    for arguments in (("client", "list"), ("account", "remove", "x"), ("token", "revoke", "x")):
        done = run(tmp_path, *arguments, FHIR_SERVER_KEK_FILE=str(key))
        assert (done.returncode, done.stdout) == (2, "")
        assert "FHIR_SERVER_KEK_FILE" in done.stderr
        assert "Traceback" not in done.stderr
    absent = run(tmp_path, "client", "add", "absent.json")
    assert (absent.returncode, "does not exist" in absent.stderr) == (2, True), absent.stderr
