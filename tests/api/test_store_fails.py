"""What happens when the store cannot do its part: 503, and nothing leaves (access §6, §9)."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from fhir_server.app import services
from fhir_server.demo.build import build, credentials
from fhir_server.settings import Settings
from tests.conftest import ROOT
from tests.live import free_port

WAIT = 10.0
"""Seconds."""


@dataclass
class Serving:
    """A server in a process of its own, on a store with people in it."""

    process: subprocess.Popen[bytes]
    file: Path
    http: httpx.Client
    patient: str
    token: str

    def get(self, url: str) -> httpx.Response:
        """As the patient."""
        return self.http.get(f"/fhir/{url}", headers={"Authorization": f"Bearer {self.token}"})

    def ready(self) -> int:
        """The status of readiness."""
        return self.http.get("/health/ready").status_code

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """No file of that process grows any more."""
        before = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, before)

    def damaged(self, statement: str) -> None:
        """Somebody else writes into the file."""
        with sqlite3.connect(self.file) as file:
            file.execute(statement)
        file.close()


def eventually(test: Callable[[], bool]) -> bool:
    """Whether it comes true before long."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if test():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """One server for one test."""
    file, port = tmp_path / "record.db", free_port()
    settings = replace(Settings(), store=f"sqlite:{file}", port=port, demo=True)

    async def people() -> tuple[str, str]:
        async with services(settings) as parts:
            cast = await build(parts)
            return cast["patient"], (await credentials(parts, cast))["patient"]["token"]

    patient, token = asyncio.run(people())
    given = {"FHIR_SERVER_STORE": settings.store, "FHIR_SERVER_PORT": str(port), "FHIR_SERVER_DEMO": "true"}
    command = [sys.executable, "-m", "fhir_server", "serve"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **given}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            made = Serving(process, file, http, patient, token)
            assert eventually(lambda: _answers(made))
            yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _answers(made: Serving) -> bool:
    try:
        return made.ready() == 204
    except httpx.HTTPError:
        return False


def test_what_cannot_be_written_to_the_log_is_not_answered(serving: Serving) -> None:
    """A full disk: 503 for reads, searches and refusals alike, without a word of content; then all is as before, and
    the log is whole."""
    whole = serving.get(serving.patient)
    assert whole.status_code == 200
    found = f"DocumentReference?status=current&patient={serving.patient}"
    urls = (serving.patient, found, "Patient/absent", "Observation?patient=x")
    with serving.full_disk():
        for url in urls:
            answer = serving.get(url)
            assert answer.status_code == 503, url
            assert answer.headers["retry-after"]
            assert answer.json()["issue"][0]["code"] == "transient"
            assert "etag" not in answer.headers
            assert whole.json()["birthDate"] not in answer.text
        assert serving.http.get(f"/fhir/{serving.patient}").status_code == 503
        assert serving.http.get("/fhir/metadata").status_code == 200
    assert eventually(lambda: serving.get(serving.patient).content == whole.content)
    verdict = subprocess.run(
        [sys.executable, "-m", "fhir_server", "audit", "verify"],
        env={**os.environ, "FHIR_SERVER_STORE": f"sqlite:{serving.file}", "FHIR_SERVER_DEMO": "true"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_without_the_policy_nothing_is_decided(serving: Serving) -> None:
    """A store that cannot say what the patient decided: 503, not a guess; nor is such a server ready."""
    assert serving.get(serving.patient).status_code == 200
    serving.damaged("ALTER TABLE record RENAME TO lost")
    for url in (serving.patient, f"DocumentReference?status=current&patient={serving.patient}"):
        answer = serving.get(url)
        assert answer.status_code == 503
        assert "birthDate" not in answer.text
    assert serving.ready() == 503
    serving.damaged("ALTER TABLE lost RENAME TO record")
    assert eventually(lambda: serving.ready() == 204 and serving.get(serving.patient).status_code == 200)


def test_a_log_whose_end_was_changed_makes_a_server_unready(serving: Serving) -> None:
    """The head of the chain is part of readiness; so is a clock that is behind what was written."""
    assert serving.get(serving.patient).status_code == 200
    assert eventually(lambda: serving.ready() == 204)
    serving.damaged("UPDATE head SET hash = zeroblob(32)")
    assert eventually(lambda: serving.ready() == 503)
    assert serving.http.get("/health/live").status_code == 204
    assert "access log" in serving.http.get("/health/ready").text
