"""fhirclient (npm), the SMART JavaScript client, is let in by a person in headless Chromium, over CORS and with PKCE.

Skipped without node, Chromium, or the packages that `make clients` fetches. On the way axe judges every page shown.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fhir_server.auth.clients import register
from fhir_server.context import Services
from tests.conftest import ROOT, House
from tests.portal.desk import open_desk

PACKAGES = ROOT / ".cache" / "clients" / "node_modules"
HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *said: Any) -> None:
        """Nothing."""


@contextmanager
def application(folder: Path) -> Iterator[str]:
    """A server of the application's page on an origin of its own."""
    shutil.copy(HERE / "smart_app.html", folder / "index.html")
    shutil.copy(PACKAGES / "fhirclient" / "build" / "fhir-client.js", folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def needed() -> tuple[str, str]:
    """node and Chromium."""
    node = shutil.which("node")
    chromium = next((found for found in map(shutil.which, CHROMIUM) if found), None)
    if node is None or chromium is None:
        pytest.skip("node and Chromium are needed")
    missing = [each for each in ("fhirclient", "playwright-core", "axe-core") if not (PACKAGES / each).is_dir()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not fetched: `make clients`")
    return node, chromium


def test_it_is_let_in_by_a_person_in_a_browser(house: House, tmp_path: Path) -> None:
    """Discovery, PKCE, consent, token, refresh, id_token, reads; no page has anything that axe finds wrong, none is
    wider than a telephone, and the Content-Security-Policy stops nothing of it."""
    node, chromium = needed()
    desk = open_desk(house)
    with application(tmp_path) as app:

        async def add(parts: Services) -> None:
            registration = {
                "client_id": "js-app",
                "client_name": "An application",
                "kind": "app",
                "token_endpoint_auth_method": "none",
                "redirect_uris": [f"{app}/"],
                "scope": "openid fhirUser launch/patient offline_access patient/*.rs",
            }
            await register(parts.store.ledger, parts.passwords, registration)

        desk.inside(add)
        playwright = (PACKAGES / "playwright-core" / "index.mjs").as_uri()
        axe = PACKAGES / "axe-core" / "axe.min.js"
        arguments = [playwright, axe, chromium, app, house.base, desk.passwords["demo-mother"]]
        done = subprocess.run([node, HERE / "smart_app.mjs", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["told"] == {
        "patient": house.cast.id("mother"),
        "born": "1977-07-14",
        "again": "1977-07-14",
        "user": house.cast["mother"],
        "documents": 0,
        "scope": "openid fhirUser launch/patient offline_access patient/*.rs",
    }
    assert found["refused"] == []
    assert len(found["violations"]) == 9
    assert {name: faults for name, faults in found["violations"].items() if faults} == {}
