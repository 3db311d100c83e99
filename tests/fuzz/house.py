"""The demonstration's people in a store of their own, behind a real server in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import orjson

from fhir_server.app import services
from fhir_server.demo.build import Cast, build, credentials, documents
from fhir_server.fhir.definitions import load_definitions
from fhir_server.search.registry import SearchRegistry
from fhir_server.settings import Settings
from tests.fuzz.case import Case
from tests.fuzz.state import State, live_bodies, read_state
from tests.fuzz.targets import SEARCHED, Targets
from tests.fuzz.wire import Closed, Connection
from tests.live import ENVIRONMENT, free_port

# What the console script `fhir-server` runs.
_COMMAND: Final = (sys.executable, "-c", "from fhir_server.cli import main; main()")

# What comes in pages; {} is the patient.
_PAGED: Final = (
    *("DocumentReference?patient={}&_count=1", "DocumentReference?patient={}&_sort=-date,status&_count=1"),
    *("{}/*?_count=1", "?_type=DocumentReference,Consent&patient={}&_count=1", "{}/$everything?_count=2"),
    *("{}/_history?_count=1", "Organization/_history?_count=1", "_history?_count=1"),
)


@dataclass(frozen=True, slots=True)
class House:
    """`tokens`: by actor; `people`: the cast, key to reference; `log`: standard error of the server; `before`: the
    state before it was started."""

    port: int
    store: Path
    log: Path
    tokens: dict[str, str]
    people: dict[str, str]
    before: State

    def token(self, case: Case) -> str:
        """The token that travels with a case."""
        return self.tokens.get(case.actor, "")

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A server on this store for the length of the block."""
        own = {"FHIR_SERVER_STORE": f"sqlite:{self.store}", "FHIR_SERVER_PORT": str(self.port)}
        more = {**ENVIRONMENT, **own, "FHIR_SERVER_DEMO": "true"}
        with self.log.open("ab") as errors:
            process = subprocess.Popen([*_COMMAND, "serve"], env={**os.environ, **more}, stdout=errors, stderr=errors)
        try:
            _wait(process, self.port)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def targets(self) -> Targets:
        """What to aim at; the server must be running."""
        definitions = load_definitions()
        registry = SearchRegistry(definitions)
        return Targets(
            people=self.people,
            stored=tuple(sorted({key for key, _ in self.before.versions})),
            definitions=definitions,
            resources=tuple(orjson.loads(body) for body in live_bodies(self.store)),
            cursors=asyncio.run(self._cursors()),
            documents=tuple(body for _, body in documents()),
            actors=("", *self.tokens),
            parameters={
                type_: tuple((each.code, each.type) for each in registry.searchable(type_)) for type_ in SEARCHED
            },
            links=tuple(_links(registry)),
        )

    def audit_verdict(self) -> str:
        """What `audit verify` finds wrong with the chain of the access log, "" when it is whole."""
        environment = {**os.environ, "FHIR_SERVER_STORE": f"sqlite:{self.store}"}
        done = subprocess.run([*_COMMAND, "audit", "verify"], env=environment, capture_output=True, text=True)
        return "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stdout}{done.stderr}"

    def logged(self, request_id: str) -> str:
        """What the server wrote about a request."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines if request_id and request_id in line)

    async def _cursors(self) -> tuple[str, ...]:
        """Real links to a second page, of two people and of everything that has pages."""
        connection = Connection(self.port)
        found = []
        paged = [each.format(self.people["patient"]) for each in _PAGED]
        for actor, path in product(("patient", "medecin_traitant"), paged):
            case = Case(0, "page", actor, target=f"/fhir/{path}")
            response = await connection.send(case.wire(self.tokens[actor]))
            links = orjson.loads(response.body).get("link", ())
            found += [each["url"].partition("/fhir")[2].lstrip("/") for each in links if each["relation"] == "next"]
        await connection.close()
        return tuple(found)


def furnish(folder: Path) -> House:
    """Play the demonstration's cast and note what is stored."""
    store, port = folder / "record.db", free_port()
    cast, tokens = asyncio.run(_people(Settings(store=f"sqlite:{store}", port=port)))
    return House(port, store, folder / "server.log", tokens, cast.references, read_state(store))


def _links(registry: SearchRegistry) -> Iterator[tuple[str, str, str]]:
    for type_ in SEARCHED:
        for each in registry.searchable(type_):
            known = SEARCHED if each.leads and not each.targets else each.targets if each.leads else ()
            yield from ((type_, each.code, target) for target in known if target in SEARCHED)


async def _people(settings: Settings) -> tuple[Cast, dict[str, str]]:
    async with services(settings) as parts:
        cast = await build(parts)
        given = await credentials(parts, cast)
    return cast, {name: each["token"] for name, each in given.items()}


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < 60:
        try:
            asyncio.run(_alive(port))
        except Closed:
            time.sleep(0.02)
            continue
        return
    raise RuntimeError("the server did not start")


async def _alive(port: int) -> None:
    connection = Connection(port)
    await connection.send(Case(0, "start", "", target="/health/live").wire(""))
    await connection.close()
