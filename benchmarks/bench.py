"""One whole run: fill a store, start the servers side by side, measure them in turn."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import orjson
from rich.progress import Progress

from benchmarks import workloads
from benchmarks.measure import Run, measure
from benchmarks.processes import Server, calibration, fhir_server, sync_time
from benchmarks.records import Records
from benchmarks.seed import Seeded, fill

SYNTHEA: Final = Path(__file__).parent.parent.parent / "shared" / "data" / "synthea"
MAIN: Final = 32
# Raw and real take turns, so that both meet the same weather.
TURNS: Final = ("raw GET", "read", "search 20", "raw POST", "create")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. `bundles`: transactions a repeat; `imported`: entries of the import."""

    patients: int = 100
    seconds: int = 2
    repeats: int = 3
    connections: tuple[int, ...] = (1, MAIN, 128)
    bundles: int = 25
    imported: int = 12_000


QUICK: Final = Size(patients=20, seconds=1, repeats=2, connections=(1, MAIN), bundles=10, imported=3_000)


@dataclass(slots=True)
class Bench:
    """One whole run."""

    size: Size
    seed: int
    folder: Path
    progress: Progress
    runs: list[Run] = field(default_factory=list)
    single: dict[str, float] = field(default_factory=dict)

    def go(self) -> None:
        """Fill the store, then measure everything."""
        records, random = Records(self.seed), Random(self.seed)
        guarded, opened = self.folder / "guarded.db", self.folder / "open.db"
        task = self.progress.add_task("fill the store", total=self.size.patients)
        seeded = asyncio.run(fill(guarded, records, self.size.patients, lambda: self.progress.advance(task)))
        _copy(guarded, opened)
        self.single["write to disk ms"] = sync_time(self.folder)
        self._start_up(guarded)
        self._rates(seeded, records, random, guarded, opened)
        self._import(seeded, records, random)

    def _start_up(self, store: Path) -> None:
        """Twice: the second start finds files and bytecode in the cache of the machine."""
        for _ in range(2):
            with fhir_server(store) as server:
                self.single |= {"start-up": server.started, "resident memory idle": server.resident()}

    def _rates(self, seeded: Seeded, records: Records, random: Random, guarded: Path, opened: Path) -> None:
        size = self.size
        raw = workloads.raw_requests(records)
        hot = {
            each: workloads.hot_requests(seeded, records, random, open=each == "open") for each in ("guarded", "open")
        }
        bundles = workloads.transactions(seeded, records, random, size.bundles * size.repeats)
        steps = size.repeats * (len(size.connections) * 5 + 4)
        task = self.progress.add_task("measure", total=steps)
        with ExitStack() as stack:
            servers = {
                "calibration": stack.enter_context(calibration()),
                "guarded": stack.enter_context(fhir_server(guarded, log=self.folder / "guarded.log")),
                "open": stack.enter_context(fhir_server(opened, open=True, log=self.folder / "open.log")),
            }
            for name in ("guarded", "open"):
                _check(servers[name], hot[name])
            for repeat in range(size.repeats):
                for connections in size.connections:
                    for name in TURNS:
                        server = "calibration" if name in raw else "guarded"
                        requests = raw[name] if name in raw else hot["guarded"][name]
                        self._measure(servers[server], (name, server), requests, connections, repeat)
                        self.progress.advance(task)
                for name in workloads.HOT:
                    self._measure(servers["open"], (name, "open"), hot["open"][name], MAIN, repeat)
                    self.progress.advance(task)
                part = bundles[repeat * size.bundles : (repeat + 1) * size.bundles]
                self._measure(servers["guarded"], ("transaction of 150", "guarded"), part, 1, repeat, once=True)
                self.progress.advance(task)
            self.single["resident memory after load"] = servers["guarded"].resident()
        done = [run.p50 for run in self.runs if run.workload == "transaction of 150"]
        self.single["transaction of 150 p50"] = median(done)

    def _measure(
        self, server: Server, name: tuple[str, str], requests: list[bytes], connections: int, repeat: int, **more: Any
    ) -> None:
        seconds = 60 if more.get("once") else self.size.seconds
        self.runs.append(
            measure(server, name, requests, connections=connections, seconds=seconds, repeat=repeat, **more)
        )

    def _import(self, seeded: Seeded, records: Records, random: Random) -> None:
        """Synthea's bundles hold people without INS and of no doctor here: they are loaded into an open server."""
        real = SYNTHEA.is_dir()
        if real:
            first, bundles = workloads.synthea(SYNTHEA, self.size.imported)
        else:
            first, bundles = [], workloads.generated_import(seeded, records, random, self.size.imported // 150)
        task = self.progress.add_task("import", total=2)
        source = self.folder / ("import.db" if real else "guarded.db")
        with fhir_server(source, open=real, log=self.folder / "import.log") as server:
            if first:
                measure(server, ("directory", "open"), first, connections=1, seconds=60, once=True)
            self.progress.advance(task)
            name = ("import of Synthea", "open") if real else ("import of generated bundles", "guarded")
            requests = [request for request, _ in bundles]
            run = measure(server, name, requests, connections=2, seconds=60, once=True)
            self.progress.advance(task)
        self.runs.append(run)
        if run.failed:
            raise SystemExit(f"{run.failed} of {run.requests} bundles were refused")
        # Bundles are sent in their order, so the first of them are those that were answered in time.
        entries = sum(size for _, size in bundles[: run.requests])
        self.single |= {"import": entries / run.seconds, "imported entries": entries}


def _copy(source: Path, target: Path) -> None:
    """The store as it was closed, with what its log still holds."""
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{source}{suffix}").exists():
            shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")


def _check(server: Server, requests: dict[str, list[bytes]]) -> None:
    for name, each in requests.items():
        fault = workloads.wrong(name, *_once(server.port, each[0]))
        if fault:
            raise SystemExit(fault)


def _once(port: int, request: bytes) -> tuple[int, Any]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, path, _ = first.split(" ")
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body or None, dict(line.split(": ", 1) for line in lines[1:]))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, orjson.loads(content) if content else None
