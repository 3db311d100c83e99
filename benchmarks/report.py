"""From runs to figures: medians of the repeats, ratios to the calibration server of the same repeat, goals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Run
from benchmarks.workloads import HOT, MIXED

# Above this share of one core the client, not the server, may be what is measured.
CLIENT_BOUND: Final = 0.9
AGAINST: Final = {**HOT, **MIXED}
POOL: Final = "pool: "
TRANSACTION: Final = "transaction of 150"
# Operation -> connections; None: those at which the goals are held. Each is measured on both servers.
GUARDED: Final[Mapping[str, int | None]] = {**dict.fromkeys(AGAINST), TRANSACTION: 1}
# name -> (figure, relation, bound, unit); spec: performance, goals.
GOALS: Final[Mapping[str, tuple[str, float, str]]] = {
    "read / raw GET": (">=", 0.60, ""),
    "search 20 / raw GET": (">=", 0.30, ""),
    "create / raw POST": (">=", 0.30, ""),
    "transaction of 150 p50": ("<=", 30.0, "ms"),
    "import": (">=", 2000.0, "entries/s"),
    **{f"access control, {workload}": ("<=", 0.35, "of the cost without") for workload in GUARDED},
    "start-up": ("<=", 1.0, "s"),
    "resident memory idle": ("<=", 150.0, "MB"),
    "$everything of 3,400 p50": ("<=", 60.0, "ms"),
    "CDA convert / lxml parse": ("<=", 2.5, "x"),
    "CDA documents converted": (">=", 60.0, "/s"),
    "CDA documents stored": (">=", 20.0, "/s"),
    "search 20, growth": ("<=", 1.3, "x"),
    "create, growth": ("<=", 1.5, "x"),
}


def summarised(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row for each (workload, server, connections): medians over the repeats."""
    rows = []
    for key in dict.fromkeys((run.workload, run.server, run.connections) for run in runs):
        same = [run for run in runs if (run.workload, run.server, run.connections) == key]
        rows.append(
            {
                "workload": key[0],
                "server": key[1],
                "connections": key[2],
                "tool": same[0].tool,
                "ratio": ratio(runs, same),
                "rate": median(run.rate for run in same),
                "p50": median(run.p50 for run in same),
                "p95": median(run.p95 for run in same),
                "p99": median(run.p99 for run in same),
                "server_cpu_ms": median(run.cost for run in same),
                "client_cpu_share": median(run.client_cpu / run.seconds for run in same if run.seconds),
                "failed": sum(run.failed for run in same),
                "disturbed": sum(run.disturbed for run in same),
                "repeats": len(same),
            }
        )
    return rows


def ratio(runs: Sequence[Run], same: Sequence[Run]) -> float | None:
    """The median, over the repeats, of the rate beside the calibration run of that repeat and concurrency."""
    against = AGAINST.get(same[0].workload)
    raw = {
        run.repeat: run.rate
        for run in runs
        if run.workload == against and run.connections == same[0].connections and run.rate
    }
    ratios = [run.rate / raw[run.repeat] for run in same if run.repeat in raw]
    return median(ratios) if ratios else None


def verdicts(rows: Sequence[Mapping[str, Any]], single: Mapping[str, float], connections: int) -> list[dict[str, Any]]:
    """Each goal with what was measured at `connections`, and whether it is reached. `single`: figures measured once."""
    known = {(row["workload"], row["server"], row["connections"]): row for row in rows}
    measured = dict(single)
    for workload, against in HOT.items():
        if guarded := known.get((workload, "guarded", connections)):
            measured[f"{workload} / {against}"] = guarded["ratio"]
    for workload, count in GUARDED.items():
        pair = [known.get((workload, server, count or connections)) for server in ("guarded", "open")]
        if pair[0] and pair[1]:
            measured[f"access control, {workload}"] = pair[0]["server_cpu_ms"] / pair[1]["server_cpu_ms"] - 1
    return [
        {"goal": name, "relation": relation, "bound": bound, "unit": unit, "measured": measured[name]}
        | {"reached": measured[name] >= bound if relation == ">=" else measured[name] <= bound}
        for name, (relation, bound, unit) in GOALS.items()
        if name in measured
    ]


def show(console: Console, rows: Iterable[Mapping[str, Any]], goals: Iterable[Mapping[str, Any]]) -> None:
    """Three tables: goals first, then every row, the shapes of the search pool apart."""
    table = Table("goal", "wanted", "measured", "reached", title="Goals")
    for goal in goals:
        wanted = f"{goal['relation']} {goal['bound']:g} {goal['unit']}"
        table.add_row(goal["goal"], wanted, f"{goal['measured']:.3g}", "[green]yes" if goal["reached"] else "[red]no")
    console.print(table)
    rows = list(rows)
    _table(console, "Medians of the repeats", [row for row in rows if not row["workload"].startswith(POOL)])
    _table(console, "Search pool, one client", [row for row in rows if row["workload"].startswith(POOL)])


def _table(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    columns = ("operation", "server", "conn", "ratio", "req/s", "p50 ms", "p95", "p99", "CPU ms", "client", "notes")
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(
            row["workload"].removeprefix(POOL),
            row["server"],
            str(row["connections"]),
            "" if row["ratio"] is None else f"{row['ratio']:.0%}",
            f"{row['rate']:.0f}",
            *(f"{row[name]:.2f}" for name in ("p50", "p95", "p99")),
            f"{row['server_cpu_ms']:.3f}",
            f"{row['client_cpu_share']:.0%}",
            _notes(row),
        )
    console.print(table)


def _notes(row: Mapping[str, Any]) -> str:
    notes = [f"{row['failed']} failed"] if row["failed"] else []
    if row["disturbed"]:
        notes.append(f"{row['disturbed']}/{row['repeats']} disturbed")
    if row["client_cpu_share"] > CLIENT_BOUND:
        notes.append("client-bound")
    return ", ".join(notes)


def results(runs: Sequence[Run], **more: Any) -> dict[str, Any]:
    """What `results.json` holds: every run, and whatever else is given."""
    return {**more, "runs": [asdict(run) | {"rate": run.rate, "disturbed": run.disturbed} for run in runs]}
