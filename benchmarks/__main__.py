"""`python -m benchmarks`: measure this server beside a raw ASGI server, on this machine, in about six minutes.

With --growth N …: only how figures change from a store of the first size to the others, which `.cache/bench` keeps.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import strftime
from typing import Any, Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.bench import MAIN, QUICK, Bench, Size
from benchmarks.measure import wrk
from fhir_server import __version__

RESULTS: Final = Path(__file__).with_name("results.json")
GROWTH: Final = Path(__file__).with_name("growth.json")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--growth", type=int, nargs="+", metavar="N", help="resources of the stores to compare")
    parser.add_argument("--quick", action="store_true", help="half a minute, for a first look")
    parser.add_argument("--seed", type=int, default=1, help="of the generated records")
    parser.add_argument("--results", type=Path, help="where the figures are kept")
    arguments = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(f"client: {wrk() or 'asyncio, in a process of its own (wrk is not installed)'}; loopback only")
    with (
        tempfile.TemporaryDirectory(prefix="fhir-server-benchmark-") as folder,
        Progress(TextColumn("{task.description:15}"), BarColumn(), TimeElapsedColumn(), console=console) as progress,
    ):
        bench = Bench(QUICK if arguments.quick else Size(), arguments.seed, Path(folder), progress)
        if arguments.growth:
            bench.grow(arguments.growth)
        else:
            bench.go()
    rows = report.summarised(bench.runs)
    goals = report.verdicts(rows, bench.single, MAIN)
    report.show(console, rows, goals)
    about = {"machine": _machine(), "time": strftime("%Y-%m-%dT%H:%M:%S%z"), "seed": arguments.seed}
    results = report.results(bench.runs, about=about, goals=goals, summary=rows, single=bench.single)
    kept = arguments.results or (GROWTH if arguments.growth else RESULTS)
    kept.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    console.print(f"kept in {kept}")


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "uvicorn": version("uvicorn"),
        "fhir-server": __version__,
    }


if __name__ == "__main__":
    main()
