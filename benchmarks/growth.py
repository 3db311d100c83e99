"""How figures change as the store grows: the same patient-scoped search and create on a small and on a large one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import orjson

from benchmarks import workloads
from benchmarks.measure import Run, measure
from benchmarks.processes import fhir_server
from benchmarks.records import Records
from benchmarks.seed import EACH, Seeded, admitted, fill
from fhir_server import __version__

ROOT: Final = Path(__file__).parent.parent
CACHE: Final = ROOT / ".cache" / "bench"
SUFFIXES: Final = ("", "-wal", "-shm")
MEASURED: Final = ("search 20", "create")


@dataclass(frozen=True, slots=True)
class Grown:
    """A store of about `size` resources, and what is in it."""

    size: int
    path: Path
    seeded: Seeded


def prepared(size: int, seed: int, progress: Callable[[int, int], None]) -> Grown:
    """The store of that size, made once and kept in `.cache/bench`; `progress` is told patients done and to do."""
    patients = max(1, size // EACH)
    path = CACHE / f"growth-{size}-{seed}-{_edition()}.db"
    about = path.with_suffix(".json")
    if not about.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        _remove(path)
        done = iter(range(1, patients + 1))
        seeded = asyncio.run(fill(path, Records(seed), patients, lambda: progress(next(done), patients)))
        about.write_bytes(orjson.dumps(asdict(seeded)))
    progress(patients, patients)
    kept: dict[str, Any] = orjson.loads(about.read_bytes())
    seeded = Seeded(**kept | {name: tuple(kept[name]) for name in ("patients", "observations")})
    return Grown(patients * EACH, path, asyncio.run(admitted(path, seeded)))


def compared(
    grown: list[Grown], seed: int, folder: Path, *, seconds: int, repeats: int, step: Callable[[], None]
) -> list[Run]:
    """Runs at one connection on a copy of each store, which take turns; `step` is called after each."""
    runs = []
    with ExitStack() as stack:
        servers, requests = [], []
        for each in grown:
            copy = folder / f"growth-{each.size}.db"
            _copy(each.path, copy)
            stack.callback(_remove, copy)
            servers.append(stack.enter_context(fhir_server(copy, log=folder / "growth.log")))
            records, random = Records(seed + each.size), Random(seed)
            requests.append(workloads.hot_requests(each.seeded, records, random, open=False))
        for repeat in range(repeats):
            for name in MEASURED:
                for each, server, hot in zip(grown, servers, requests, strict=True):
                    key = (f"{name} of {each.size:,}", "guarded")
                    runs.append(measure(server, key, hot[name], connections=1, seconds=seconds, repeat=repeat))
                    step()
    return runs


def growth(runs: list[Run], small: int, large: int) -> dict[str, float]:
    """p50 in the large store as a multiple of that in the small one: the median over the repeats."""
    figures = {}
    for name in MEASURED:
        one, other = ([run.p50 for run in runs if run.workload == f"{name} of {size:,}"] for size in (small, large))
        figures[f"{name}, growth"] = median(b / a for a, b in zip(one, other, strict=True))
    return figures


def _edition() -> str:
    """Of what makes such a file: when that changes, a kept one says nothing."""
    made = [ROOT / "benchmarks" / name for name in ("records.py", "seed.py")]
    made.append(ROOT / "fhir_server" / "storage" / "sqlite" / "schema.sql")
    text = b"".join(path.read_bytes() for path in made) + __version__.encode()
    return sha256(text).hexdigest()[:10]


def _copy(source: Path, target: Path) -> None:
    for suffix in SUFFIXES:
        if Path(f"{source}{suffix}").exists():
            shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")


def _remove(path: Path) -> None:
    for suffix in SUFFIXES:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
