"""The one door out: hosts that the settings name, and nothing else, however it is put."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from fhir_server.auth.outbound import Outbound, OutboundRefused
from fhir_server.settings import Settings
from tests.live import free_port

ROOT = Path(__file__).parent.parent.parent


class Host(BaseHTTPRequestHandler):
    """Another host: answers by path, and counts what reached it."""

    reached: list[str]

    def do_GET(self) -> None:
        self.reached.append(self.path)
        body = b"x" * 300_000 if self.path == "/large" else b'{"keys":[]}'
        self.send_response(302 if self.path == "/elsewhere" else 200)
        if self.path == "/elsewhere":
            self.send_header("Location", "/")
        if self.path == "/encoded":
            self.send_header("Content-Encoding", "gzip")
        if self.path == "/slow":
            threading.Event().wait(1)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", "a=b")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[str, list[str]]]:
    """`127.0.0.1:port` of another host, and the paths that were asked of it."""
    reached: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Reached", (Host,), {"reached": reached}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", reached
    server.shutdown()
    server.server_close()


def call(url: str, hosts: str, **more: object) -> httpx.Response:
    """One call under those settings."""
    patience = float(str(more.pop("patience", 5)))
    outbound = Outbound(Settings(outbound_hosts=hosts, **more))  # type: ignore[arg-type]
    return asyncio.run(outbound.call("GET", url, patience=patience))


def test_a_host_that_is_named_is_asked(host: tuple[str, list[str]]) -> None:
    """Of its answer the body is given, and the headers that say what it is and how long it holds."""
    where, _ = host
    answer = call(f"http://{where}/keys", f"other.example {where.upper()}")
    assert (answer.status_code, answer.json()) == (200, {"keys": []})
    assert set(answer.headers) == {"content-type", "content-length"}


def test_an_identity_provider_that_is_set_is_asked(host: tuple[str, list[str]]) -> None:
    """It is named by its issuer."""
    assert call(f"http://{host[0]}/x", "", psc_issuer=f"http://{host[0]}/realm").status_code == 200


@pytest.mark.parametrize(
    "url", ["http://{}/x", "http://user@{}/x", "http://{}@other.example/", "ftp://{}/x", "{}", "http://"]
)
@pytest.mark.parametrize("hosts", ["", "other", "127.0.0.1:1", "27.0.0.1", "*"])
def test_a_host_that_is_not_named_is_not_asked(host: tuple[str, list[str]], url: str, hosts: str) -> None:
    """Not as a part of another name, not by a pattern, not by a part of the url that only looks like it."""
    where, reached = host
    before = len(reached)
    with pytest.raises(OutboundRefused):
        call(url.format(where), hosts)
    assert len(reached) == before


def test_a_redirect_is_not_followed(host: tuple[str, list[str]]) -> None:
    """It would lead anywhere."""
    where, reached = host
    before = len(reached)
    assert call(f"http://{where}/elsewhere", where).status_code == 302
    assert reached[before:] == ["/elsewhere"]


def test_a_proxy_of_the_environment_is_not_used(host: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server asks, nobody else is told."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert call(f"http://{host[0]}/x", host[0]).status_code == 200


@pytest.mark.parametrize("path", ["/large", "/encoded"])
def test_an_answer_without_measure_is_refused(host: tuple[str, list[str]], path: str) -> None:
    """One that is long, or that could become so."""
    with pytest.raises(OutboundRefused):
        call(f"http://{host[0]}{path}", host[0])


def test_an_answer_that_takes_long_is_not_waited_for(host: tuple[str, list[str]]) -> None:
    """The whole of it has its time."""
    with pytest.raises(httpx.TimeoutException):
        call(f"http://{host[0]}/slow", host[0], patience=0.1)


def test_a_name_that_leads_inside_is_refused(host: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the settings allow it; and without encryption this machine alone is spoken to."""

    async def inside(self: object, *given: object, **more: object) -> list[object]:
        return [(2, 1, 6, "", ("10.0.0.7", 443)), (2, 1, 6, "", ("93.184.216.34", 443))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", inside)
    with pytest.raises(OutboundRefused, match="private"):
        call("https://keys.example/x", "keys.example")
    with pytest.raises(OutboundRefused, match="https"):
        call("http://keys.example/x", "keys.example")


# --- Nothing else leaves

CONNECTING = {"socket", "http.client", "urllib.request", "smtplib", "ftplib", "telnetlib", "requests", "aiohttp", "ssl"}
LISTENS = {"fhir_server/serving.py"}
"""It names the type of the socket that uvicorn listens on."""


def modules() -> list[Path]:
    """Every module of ours."""
    return sorted(path for top in ("fhir_server", "importers") for path in (ROOT / top).rglob("*.py"))


def test_no_other_module_can_reach_another_host() -> None:
    """Nothing that opens a connection is imported elsewhere, and no client of httpx is made elsewhere."""
    for path in modules():
        name = str(path.relative_to(ROOT))
        if name == "fhir_server/auth/outbound.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert CONNECTING.isdisjoint(alias.name for alias in node.names), name
            if isinstance(node, ast.ImportFrom):
                assert node.module not in CONNECTING or name in LISTENS, name
                assert node.module != "httpx", name
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("open_connection", "create_connection", "sock_connect"), name
                of_httpx = isinstance(node.value, ast.Name) and node.value.id == "httpx"
                assert not of_httpx or node.attr not in ("AsyncClient", "Client", "get", "post", "request", "stream"), (
                    name
                )


# Told by the interpreter itself of every connection that is opened, and every name that is looked up; uvloop opens them
# behind its back.
_HOOKED = """
import sys
sys.modules["uvloop"] = None
def hook(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        print("OUT", event, given[1:] if event == "socket.connect" else given, file=sys.stderr, flush=True)
sys.addaudithook(hook)
"""
_SERVE = "from fhir_server.cli import main; main()"
_CALL = """
import asyncio
from fhir_server.auth.outbound import Outbound
from fhir_server.settings import Settings
asyncio.run(Outbound(Settings(outbound_hosts=sys.argv[1])).call("GET", f"http://{sys.argv[1]}/x"))
"""


def test_a_connection_that_is_opened_is_seen(host: tuple[str, list[str]]) -> None:
    """What the next test looks for is there when one is opened, by this server's own means."""
    done = subprocess.run([sys.executable, "-c", _HOOKED + _CALL, host[0]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "OUT socket.connect" in done.stderr


def test_a_server_opens_no_connection_of_its_own(tmp_path: Path) -> None:
    """From its start to its end, over reads, pages and refusals: no telemetry, no look for a newer version."""
    port, log = free_port(), tmp_path / "log"
    own = {"FHIR_SERVER_PORT": str(port), "FHIR_SERVER_STORE": f"sqlite:{tmp_path / 'record.db'}"}
    command = [sys.executable, "-c", _HOOKED + _SERVE, "demo", "--folder", str(tmp_path)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env={**os.environ, **own}, stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            wait_for(http)
            given = json.loads((tmp_path / "credentials.json").read_bytes())["actors"]["patient"]
            known = {"Authorization": f"Bearer {given['token']}"}
            for path in ("/fhir/metadata", f"/fhir/{given['reference']}", "/.well-known/smart-configuration", "/login"):
                assert http.get(path, headers=known).status_code < 500
    finally:
        process.terminate()
        process.wait(20)
    outbound = [line for line in log.read_text().splitlines() if line.startswith("OUT")]
    # To listen on an address is to look it up.
    assert [line for line in outbound if "getaddrinfo" not in line] == []
    assert all(f"'127.0.0.1', {port}" in line for line in outbound), outbound


def wait_for(http: httpx.Client) -> None:
    """Till the server answers."""
    for _ in range(300):
        try:
            if http.get("/health/ready").status_code == 204:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")
