"""One whole run: fill a store, start the servers side by side, measure them in turn."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import orjson
from rich.progress import Progress

from benchmarks import conversion, report, workloads
from benchmarks.growth import SUFFIXES, Grown, compared, growth, prepared
from benchmarks.measure import Run, measure
from benchmarks.processes import Server, calibration, fhir_server, sync_time
from benchmarks.records import Records
from benchmarks.seed import Seeded, fill

SYNTHEA: Final = Path(__file__).parent.parent.parent / "shared" / "data" / "synthea"
MAIN: Final = 32
LARGE: Final = 3_400
# Raw and real take turns, so that both meet the same weather.
TURNS: Final = ("raw GET", "read", "search 20", "raw POST", "create")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. `bundles`: transactions a repeat; `imported`: entries of the import; `shape`: requests of
    each shape of the search pool; `grown`: sizes of the stores that are compared, none for no comparison."""

    patients: int = 100
    seconds: int = 2
    repeats: int = 3
    connections: tuple[int, ...] = (1, MAIN, 128)
    bundles: int = 25
    imported: int = 12_000
    shape: int = 60
    everything: int = 8
    grown: tuple[int, ...] = (10_000, 100_000)


QUICK: Final = Size(
    patients=20,
    seconds=1,
    repeats=2,
    connections=(1, MAIN),
    bundles=10,
    imported=3_000,
    shape=10,
    everything=3,
    grown=(),
)


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
        advance = self.progress.advance
        seeded = asyncio.run(fill(guarded, records, self.size.patients, lambda: advance(task), large=LARGE))
        _copy(guarded, opened)
        self.single["write to disk ms"] = sync_time(self.folder)
        self._start_up(guarded)
        self._rates(seeded, records, random, guarded, opened)
        self._import(seeded, records, random)
        bodies = conversion.documents()
        self.single |= conversion.factor(bodies) | conversion.stored(bodies, self.folder)
        if self.size.grown:
            self.grow(self.size.grown)

    def grow(self, sizes: Sequence[int]) -> None:
        """Compare stores of these sizes, the first with each other one."""
        grown = [self._prepared(size) for size in sizes]
        steps = 2 * self.size.repeats * len(grown)
        task = self.progress.add_task("growth", total=steps)
        more: dict[str, Any] = {"seconds": self.size.seconds, "repeats": self.size.repeats}
        runs = compared(grown, self.seed, self.folder, step=lambda: self.progress.advance(task), **more)
        self.runs += runs
        for each in grown[1:]:
            self.single |= growth(runs, grown[0].size, each.size)

    def _prepared(self, size: int) -> Grown:
        task = self.progress.add_task(f"store of {size:,}")
        return prepared(size, self.seed, lambda done, of: self.progress.update(task, completed=done, total=of))

    def _start_up(self, store: Path) -> None:
        """Twice: the second start finds files and bytecode in the cache of the machine."""
        for _ in range(2):
            with fhir_server(store) as server:
                self.single |= {"start-up": server.started, "resident memory idle": server.resident()}

    def _rates(self, seeded: Seeded, records: Records, random: Random, guarded: Path, opened: Path) -> None:
        with ExitStack() as stack:
            servers = {
                "calibration": stack.enter_context(calibration()),
                "calibration h11": stack.enter_context(calibration("h11")),
                "guarded": stack.enter_context(fhir_server(guarded, log=self.folder / "guarded.log")),
                "open": stack.enter_context(fhir_server(opened, open=True, log=self.folder / "open.log")),
            }
            samples = workloads.sample(seeded, random, lambda request: _once(servers["guarded"].port, request)[1])
            work = {}
            for name in ("guarded", "open"):
                opened_one = name == "open"
                work[name] = workloads.hot_requests(seeded, records, random, open=opened_one)
                work[name] |= workloads.mixed_requests(seeded, samples, random, open=opened_one)
                _check(servers[name], work[name])
            self._turns(servers, work, workloads.raw_requests(records))
            self._transactions(servers, seeded, records, random)
            self._everything(servers["guarded"], seeded)
            self._pool(servers["guarded"], workloads.pool_requests(seeded, samples, random, self.size.shape))
            self.single["resident memory after load"] = servers["guarded"].resident()

    def _turns(
        self, servers: dict[str, Server], work: dict[str, dict[str, list[bytes]]], raw: dict[str, list[bytes]]
    ) -> None:
        """The hot operations at every concurrency, the mixes at one, each beside the raw server."""
        size, mixed = self.size, tuple(workloads.MIXED)
        steps = size.repeats * (len(size.connections) * len(TURNS) + len(mixed) * 2 + len(workloads.HOT) + 1)
        task = self.progress.add_task("measure", total=steps)
        for repeat in range(size.repeats):
            plan = [(name, "guarded", count) for count in size.connections for name in TURNS]
            plan += [(name, server, MAIN) for name in mixed for server in ("guarded", "open")]
            plan += [(name, "open", MAIN) for name in workloads.HOT]
            for name, server, count in plan:
                if name in raw:
                    self._measure(servers["calibration"], (name, "calibration"), raw[name], count, repeat)
                else:
                    self._measure(servers[server], (name, server), work[server][name], count, repeat)
                self.progress.advance(task)
            pure = ("raw GET, HTTP in Python", "calibration")
            self._measure(servers["calibration h11"], pure, raw["raw GET"], MAIN, repeat)
            self.progress.advance(task)

    def _transactions(self, servers: dict[str, Server], seeded: Seeded, records: Records, random: Random) -> None:
        """The same Bundles to both servers, in turn."""
        size = self.size
        bundles = workloads.transactions(seeded, records, random, size.bundles * size.repeats)
        task = self.progress.add_task("transactions", total=size.repeats)
        for repeat in range(size.repeats):
            part = bundles[repeat * size.bundles : (repeat + 1) * size.bundles]
            for name in ("guarded", "open"):
                self._measure(servers[name], (report.TRANSACTION, name), part, 1, repeat, once=True)
            self.progress.advance(task)
        self.single["transaction of 150 p50"] = self._p50(report.TRANSACTION)

    def _everything(self, server: Server, seeded: Seeded) -> None:
        """One client, the whole record in one answer."""
        requests = workloads.everything_requests(seeded, self.size.everything)
        status, body = _once(server.port, requests[0])
        self.single["$everything entries"] = len(body.get("entry", ())) if status == 200 else 0
        task = self.progress.add_task("$everything", total=self.size.repeats)
        for repeat in range(self.size.repeats):
            self._measure(server, ("$everything of 3,400", "guarded"), requests, 1, repeat, once=True)
            self.progress.advance(task)
        self.single["$everything of 3,400 p50"] = self._p50("$everything of 3,400")

    def _pool(self, server: Server, shapes: dict[str, list[bytes]]) -> None:
        """Each shape of the search pool by itself, one client."""
        task = self.progress.add_task("search pool", total=len(shapes))
        for name, requests in shapes.items():
            self._measure(server, (f"pool: {name}", "guarded"), requests, 1, 0, once=True)
            self.progress.advance(task)

    def _measure(
        self, server: Server, name: tuple[str, str], requests: list[bytes], connections: int, repeat: int, **more: Any
    ) -> None:
        seconds = 60 if more.get("once") else self.size.seconds
        self.runs.append(
            measure(server, name, requests, connections=connections, seconds=seconds, repeat=repeat, **more)
        )

    def _p50(self, workload: str) -> float:
        return median(run.p50 for run in self.runs if run.workload == workload and run.server == "guarded")

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
    for suffix in SUFFIXES:
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
