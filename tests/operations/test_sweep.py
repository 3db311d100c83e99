"""Content that no document came for is removed when its hour is over, and nothing else is (DOC-11)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server import app
from fhir_server.app import services, system_clock
from fhir_server.auth.actor import Actor
from fhir_server.consent.audit_chain import verify
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.errors import Invalid, NotFound
from fhir_server.interactions.router import answer
from fhir_server.operations.sweep import SERVER, sweep
from fhir_server.search.predicate import TRUE
from fhir_server.settings import Settings
from fhir_server.storage.interface import Commit, Version, Write
from tests.cli.test_command_line import run
from tests.consent.consent_store import NOW
from tests.interactions.provided import coded
from tests.leaks.stores import STORES, chosen
from tests.live import running

MINUTE = 60_000_000
ADMIN = Actor("admin", "Device/a", "Administration", "jti-0")
DOCTOR = Actor(
    "ps", "Practitioner/x", "Dr X", "jti-1", frozenset({"rpps:10000000001", "Practitioner/x"}), profession="10"
)
CONTENT = {"resourceType": "Binary", "contentType": "text/plain", "data": "Qm9uam91cg=="}


@dataclass
class Place:
    """A server without its doors, and its clock."""

    parts: Services
    clock: list[int]

    def after(self, minutes: int) -> None:
        """It is so long since the beginning."""
        self.clock[0] = NOW + minutes * MINUTE

    async def send(self, method: str, link: str, resource: Any = None, by: Actor = DOCTOR) -> str:
        """One interaction; "Type/id" of what was made."""
        body = orjson.dumps(resource) if resource else b""
        given = await answer(Context(self.parts, by, Trace()), Request(method, tuple(link.split("/")), body=body))
        return given.location.partition("/_history")[0]

    async def deposit(self, by: Actor = DOCTOR) -> str:
        """Content by itself."""
        return await self.send("POST", "Binary", CONTENT, by)

    async def point(self, patient: str, content: str, by: Actor = DOCTOR) -> str:
        """A document with that content."""
        resource = document(patient, content) | (theirs(patient) if by.role == "patient" else {})
        return await self.send("POST", "DocumentReference", resource, by)

    async def kept(self, link: str) -> Version:
        """The current version, whoever may see it."""
        type_, id_ = link.split("/")
        async with self.parts.store.snapshot() as snapshot:
            found = await snapshot.read(type_, id_, visible=TRUE)
        assert found
        return found

    async def sweep(self) -> int:
        """What the upkeep does."""
        return await sweep(self.parts, self.parts.store.system())

    async def lines(self) -> list[dict[str, Any]]:
        """The access log."""
        return [orjson.loads(each.row.body) async for each in self.parts.store.system().audit_chain()]


def document(patient: str, content: str) -> dict[str, Any]:
    """A report with that content."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "type": coded("http://loinc.org", "11488-4"),
        "content": [{"attachment": {"contentType": "text/plain", "url": content}}],
    }


def theirs(patient: str) -> dict[str, Any]:
    """What a patient's own document says of itself (DOC-26)."""
    expression = coded("TRE_A00-ProducteurDocNonPS", "EXP_PATIENT")
    return {
        "type": coded("TRE_A05-TypeDocComplementaire", "EXPPAT_1"),
        "category": [coded("TRE_A03-ClasseDocument", "90")],
        "author": [{"reference": patient}],
        "context": {"facilityType": expression, "practiceSetting": expression},
    }


@asynccontextmanager
async def place(settings: Settings, beginning: int = NOW) -> AsyncIterator[Place]:
    """A server at its beginning."""
    clock = [beginning]
    async with services(settings, clock=lambda: clock[0]) as parts:
        yield Place(parts, clock)


@pytest.fixture(params=STORES)
def told(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Callable[[Place], Awaitable[None]]], None]:
    """Plays a story on a store in the clear, and on one that is encrypted."""
    settings = replace(Settings(store=f"sqlite:{tmp_path / 'record.db'}"), **chosen(request.param, tmp_path))

    async def play(story: Callable[[Place], Awaitable[None]]) -> None:
        async with place(settings) as at:
            await story(at)

    return lambda story: asyncio.run(play(story))


Told = Callable[[Callable[[Place], Awaitable[None]]], None]


def test_content_alone_is_removed_after_its_hour(told: Told) -> None:
    """At 59 minutes it is its depositor's, at 61 it is deleted; once, for nobody to read and no document to name."""

    async def story(at: Place) -> None:
        patient = await at.send("POST", "Patient", {"resourceType": "Patient"}, ADMIN)
        content = await at.deposit()
        at.after(59)
        assert await at.sweep() == 0
        await at.send("GET", content)
        at.after(61)
        assert await at.sweep() == 1
        gone = await at.kept(content)
        assert (gone.version, gone.deleted) == (2, True)
        assert await at.sweep() == 0
        for link in (content, f"{content}/_history/1"):
            with pytest.raises(NotFound):
                await at.send("GET", link)
        with pytest.raises(Invalid):
            await at.point(patient, content)

    told(story)


def test_content_that_a_document_ever_had_stays(told: Told) -> None:
    """The document as it is, and a patient's own as it was before they changed it."""

    async def story(at: Place) -> None:
        patient = await at.send("POST", "Patient", {"resourceType": "Patient"}, ADMIN)
        holder = Actor("patient", patient, "P", "jti-2", frozenset({patient}), (patient.partition("/")[2],))
        now, once, later, alone = [await at.deposit(holder) for _ in range(4)]
        await at.point(patient, now, holder)
        changed = await at.point(patient, once, holder)
        whole = orjson.loads((await at.kept(changed)).body)
        await at.send("PUT", changed, {**whole, "content": document(patient, later)["content"]}, holder)
        assert (await at.kept(changed)).facts.links == {patient, later}
        at.after(24 * 60)
        assert await at.sweep() == 1
        assert [(await at.kept(each)).deleted for each in (now, once, later, alone)] == [False, False, False, True]

    told(story)


def test_each_removal_has_its_line_in_the_access_log(told: Told) -> None:
    """As a deletion by the server, of that resource, in nobody's record; the chain is whole."""

    async def story(at: Place) -> None:
        links = [await at.deposit() for _ in range(3)]
        at.after(61)
        before = len(await at.lines())
        assert await at.sweep() == 3
        lines = (await at.lines())[before:]
        assert [f"{each['type']}/{each['resource']}" for each in lines] == links
        for each in lines:
            assert (each["action"], each["interaction"], each["who"]) == ("D", "delete", SERVER.reference)
            assert "patient" not in each
            assert each["time"] == NOW + 61 * MINUTE
        assert (await verify(at.parts.store.system())).intact

    told(story)


def test_more_than_a_page_is_removed_in_one_go(told: Told) -> None:
    """However the orphans lie among what stays; what is too young waits for its own hour."""

    async def story(at: Place) -> None:
        first = await at.kept(await at.deposit())
        many = [replace(first.facts, id=f"b{n}", lineage=f"Binary/b{n}") for n in range(450)]
        await at.parts.store.commit(Commit(tuple(Write("Binary", each.id, 1, first.body, each) for each in many)))
        at.after(30)
        young = await at.deposit()
        at.after(61)
        assert await at.sweep() == 451
        assert not (await at.kept(young)).deleted
        at.after(91)
        assert await at.sweep() == 1

    told(story)


def test_two_who_sweep_at_once_remove_each_content_once(told: Told) -> None:
    """The second finds it gone."""

    async def story(at: Place) -> None:
        links = [await at.deposit() for _ in range(8)]
        at.after(61)
        assert sum(await asyncio.gather(at.sweep(), at.sweep())) == 8
        assert [(await at.kept(each)).version for each in links] == [2] * 8

    told(story)


@pytest.mark.parametrize("open", [False, True])
def test_a_server_sweeps_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open: bool) -> None:
    """Again and again; not without authorization, where nobody's content is hidden when its hour is over."""
    monkeypatch.setattr(app, "_SWEEP", 0.05)
    settings = Settings(store=f"sqlite:{tmp_path / 'record.db'}")

    async def deposited() -> str:
        async with place(settings, system_clock() - 61 * MINUTE) as at:
            return await at.deposit()

    async def gone(link: str) -> bool:
        async with place(settings) as at:
            return (await at.kept(link)).deleted

    link = asyncio.run(deposited())
    with running(tmp_path, open=open):
        deadline = time.monotonic() + (0.5 if open else 20)
        while not asyncio.run(gone(link)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert asyncio.run(gone(link)) is not open


def test_the_command_does_the_same(tmp_path: Path) -> None:
    """`fhir-server store sweep` says how many, and the log names who ran it."""
    settings = Settings(store=f"sqlite:{tmp_path / 'record.db'}")

    async def deposited() -> None:
        async with place(settings, system_clock() - 61 * MINUTE) as at:
            await at.deposit()

    async def last() -> dict[str, Any]:
        async with place(settings) as at:
            return (await at.lines())[-1]

    asyncio.run(deposited())
    for removed in (1, 0):
        done = run(tmp_path, "store", "sweep")
        assert (done.returncode, done.stdout) == (0, f"removed: {removed} Binaries\n"), done.stderr
    line = asyncio.run(last())
    assert (line["action"], line["type"]) == ("D", "Binary")
    assert "(fhir-server store sweep)" in line["name"]
