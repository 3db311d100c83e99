"""`python -m tests.fuzz`: thousands of malformed requests; no 500, no hang, no change of state."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.campaign import Campaign, Finding
from tests.fuzz.generate import Generator
from tests.fuzz.house import House, furnish
from tests.fuzz.minimise import culprits, smallest
from tests.fuzz.state import read_state

_SHOWN = 20


def main() -> int:
    """0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--only", type=int, default=None, help="send this one case of the seed")
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"seed {seed}")
    indexes = range(arguments.requests) if arguments.only is None else range(arguments.only, arguments.only + 1)
    with tempfile.TemporaryDirectory(prefix="fhir-server-fuzz-") as folder:
        house = furnish(Path(folder))
        campaign = _sent(house, seed, indexes, console)
        campaign.judge(read_state(house.store))
        campaign.judge_log()
        chosen = _distinct(campaign.findings)
        reports = _reports(house, chosen) if chosen else []
    for report in reports:
        console.print(report, markup=False, highlight=False)
    counts = Counter(each.fault for each in campaign.findings)
    console.print(f"{sum(counts.values())} findings with seed {seed}", dict(counts.most_common(10)))
    return 1 if chosen else 0


def _sent(house: House, seed: int, indexes: range, console: Console) -> Campaign:
    """The campaign after all its requests; their answers are counted on the console."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    begun = time.monotonic()
    with house.serving(), Progress(*columns, console=console) as progress:
        campaign = Campaign(house, Generator(seed, house.targets()))
        task = progress.add_task("fuzz", total=len(indexes))
        campaign.run(indexes, lambda: progress.advance(task))
    _show(console, campaign)
    took = time.monotonic() - begun
    console.print(f"{len(indexes)} requests in {took:.0f} s, {len(indexes) / took:.0f} a second")
    console.print(f"accepted writes: {len(campaign.accepted)} versions, {len(campaign.documents)} documents")
    console.print(f"slowest: {campaign.slowest[0]:.2f} s: {str(campaign.slowest[1])[:300]}", markup=False)
    return campaign


def _show(console: Console, campaign: Campaign) -> None:
    statuses = sorted({status for _, status in campaign.statuses})
    table = Table("kind", *(str(each or "closed") for each in statuses))
    for kind in sorted({kind for kind, _ in campaign.statuses}):
        table.add_row(kind, *(str(campaign.statuses[kind, each] or "") for each in statuses))
    totals = (sum(n for (_, status), n in campaign.statuses.items() if status == each) for each in statuses)
    table.add_row("all", *(str(each) for each in totals), style="bold")
    console.print(table)


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One of each kind and fault: the same fault is mostly found many times."""
    first: dict[tuple[str, str], Finding] = {}
    for each in findings:
        first.setdefault((each.case.kind, each.fault), each)
    return list(first.values())[:_SHOWN]


def _reports(house: House, findings: list[Finding]) -> list[str]:
    """Each with its smallest request, found on a server started again."""
    with house.serving():
        return [_report(house, each) for each in findings]


def _report(house: House, finding: Finding) -> str:
    lines = [f"\nFAULT {finding.fault}"]
    if finding.response:
        lines.append(f"answer: {finding.response.status} {finding.response.body[:500]!r}")
        lines.append(f"server: {house.logged(finding.response.headers.get('x-request-id', ''))}")
    if finding.case.index >= 0:
        lines += [f"case: {finding.case}", f"smallest: {smallest(house, finding)}"]
    if finding.suspects:
        found = culprits(house, finding.suspects) if len(finding.suspects) > 1 else finding.suspects
        lines += [f"by: {each}" for each in found] or [f"under way: {str(each)[:500]}" for each in finding.suspects]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
