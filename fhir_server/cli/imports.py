"""import …: legacy documents from folders and archives into the record, resumable and in parallel.

The terminal names no file, since a file name may be a person's: the journal and the report do.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer

from fhir_server.cli.parts import console, progress, settings_given, with_services
from fhir_server.context import Services
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.record.files import places_in
from fhir_server.record.migration import Migration, Outcome, migrate
from fhir_server.record.pushed import REJECTED, Told
from fhir_server.record.readers import readers

_MODES = ("strict", "migration")


@dataclass(slots=True)
class Journal:
    """What is done: one line a file, of its path, its SHA-256 and its outcome. What was refused is tried again."""

    done: dict[str, set[str]] = field(default_factory=dict)
    file: BinaryIO | None = None

    def note(self, outcome: Outcome) -> None:
        """Keep an outcome. It is in the record already: if this is lost, the file is imported again, and unchanged."""
        if self.file and not outcome.known:
            line = {"path": str(outcome.place), "sha256": outcome.sha256, "outcome": outcome.status}
            self.file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            self.file.flush()


@contextmanager
def journal_at(path: Path | None) -> Iterator[Journal]:
    """The journal in that file, to go on with; a line that was broken off is passed over."""
    if path is None:
        yield Journal()
        return
    done, whole = dict[str, set[str]](), b""
    if path.exists():
        whole = path.read_bytes()
        for line in whole.splitlines():
            try:
                known = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if known["outcome"] not in (REJECTED, "mixed"):
                done.setdefault(known["path"], set()).add(known["sha256"])
    with path.open("ab") as file:
        if whole and not whole.endswith(b"\n"):
            file.write(b"\n")
        yield Journal(done, file)


def import_(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Documents, archives, or folders of them.")],
    create_patient: Annotated[bool, typer.Option(help="Create the patients that the record does not know.")] = True,
    mode: Annotated[
        str, typer.Option(help="strict, or migration: takes versions in any order and without their predecessor.")
    ] = "strict",
    dry_run: Annotated[bool, typer.Option(help="Do everything but keep the result.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes that read and convert; 0: one for each core.")] = 0,
    journal: Annotated[
        Path | None, typer.Option(help="What is done, so that it can be broken off and begun again.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="One line of JSON a file, then a summary; - for the terminal.")
    ] = None,
) -> None:
    """Import legacy documents (CDA, XDM, ebRIM, PDF with its metadata beside it) into the record of FHIR_SERVER_STORE.

    Exits 1 if one was refused.
    """
    if mode not in _MODES:
        raise typer.BadParameter("strict or migration", param_hint="--mode")
    if jobs < 0:
        raise typer.BadParameter("must not be negative", param_hint="--jobs")
    places, jobs = places_in(paths), jobs or os.cpu_count() or 1
    counts: Counter[str] = Counter()

    async def everything(parts: Services) -> None:
        with (
            journal_at(None if dry_run else journal) as kept,
            _report(report) as told,
            readers(min(jobs, len(places))) as executor,
            progress() as bar,
        ):
            task = bar.add_task("import", total=len(places))

            migration = Migration(mode, dry_run, create_patient)
            outcomes = migrate(parts, places, migration, executor=executor, jobs=jobs, done=kept.done)
            async for each in outcomes:
                kept.note(each)
                if not each.known:
                    told(_line(each))
                _count(counts, each)
                bar.advance(task)
            told({"summary": dict(sorted(counts.items()))})

    with_services(settings_given(), everything)
    console.print("  ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to import")
    raise typer.Exit(1 if counts[REJECTED] else 0)


def _count(counts: Counter[str], outcome: Outcome) -> None:
    counts.update(each.status for each in outcome.documents)
    if not outcome.documents:
        counts[outcome.status] += 1
    if outcome.refused:
        console.print(f"{outcome.sha256[:12]}: {outcome.status} {' '.join(outcome.codes)}", style="yellow")


@contextmanager
def _report(path: Path | None) -> Iterator[Any]:
    """What writes a line of the report."""
    if path is None:
        yield lambda line: None
    elif str(path) == "-":
        yield lambda line: typer.echo(orjson.dumps(line))
    else:
        with path.open("wb") as file:
            yield lambda line: file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _line(outcome: Outcome) -> dict[str, Any]:
    return {
        "path": str(outcome.place),
        "sha256": outcome.sha256,
        "outcome": outcome.status,
        "documents": [_document(each) for each in outcome.documents],
    }


def _document(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = {"status": told.status, "reference": told.reference, **told.changes}
    if told.report:
        entries = told.report.entries
        found |= {
            "kind": str(told.report.kind),
            "level": told.report.level,
            "sections": {"total": told.report.sections, "covered": told.report.covered},
            "entries": {
                "total": entries.total,
                "mapped": entries.mapped,
                "narrativeOnly": entries.narrative_only,
                "failed": entries.failed,
                "list": [[each.path, each.line, each.template, str(each.bucket)] for each in told.report.outcomes],
            },
            "dangling": told.report.dangling,
            "unknownSystems": dict(told.report.unknown_systems),
            "milliseconds": round(told.report.milliseconds, 1),
        }
    return {**found, "issues": operation_outcome(told.issues)["issue"] if told.issues else []}
