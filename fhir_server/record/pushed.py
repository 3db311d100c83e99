"""What was pushed at once: one document, or all of an archive or a request, each stored or refused on its own.

Source: importers page §9 and §10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from fhir_server.context import Context
from fhir_server.errors import FhirServerError, Invalid, Issue
from fhir_server.interactions.status import status_of
from fhir_server.record.documents import Imported, Options, import_document
from fhir_server.record.incoming import Wanted, prepared
from fhir_server.record.submission_sets import keep_set
from importers.cda.conversion import Report
from importers.cda.datatypes import URI, Key
from importers.coded import master_identifier
from importers.issues import refusal
from importers.submission import Submission, open_submission

log = structlog.get_logger()

REJECTED: Final = "rejected"


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one document. `status`: as in Imported, or "rejected"; `http`: of the refusal alone."""

    status: str
    reference: str = ""
    report: Report | None = None
    changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()
    http: int = 200

    @property
    def codes(self) -> tuple[str, ...]:
        """What the refusal is called."""
        return tuple(each.coding[1] if each.coding else each.code for each in self.issues if each.severity == "error")


async def import_pushed(ctx: Context, pushed: bytes, wanted: Wanted, options: Options) -> list[Told]:
    """Store the documents of what was pushed, each in a commit and with a line of the access log of its own.

    Raises what `open_submission` raises, and of a single document what `prepared` and `import_document` raise.
    """
    submissions = await ctx.aside(pushed, open_submission, pushed, wanted.limits)
    if not submissions:
        raise refusal(Invalid, "no-content")
    wanted = replace(wanted, others=unique_ids(submissions))
    if len(submissions) == 1 and submissions[0].metadata is None and submissions[0].refused is None:
        return [told(await _one(ctx, submissions[0], wanted, options))]
    found: dict[int, Told] = {}
    patients: dict[str, list[str]] = {}
    for index in ordered(submissions):
        inner = ctx.entry()
        inner.trace.interaction = ctx.trace.interaction
        try:
            found[index] = told(await _one(inner, submissions[index], wanted, options))
            stored = found[index].reference and found[index].status != "deleted"
            patients.setdefault(inner.trace.patient or "", []).extend([found[index].reference] if stored else [])
        except FhirServerError as error:
            await inner.record(error)
            found[index] = refused(error)
    if not options.dry_run:
        await _keep_sets(ctx, submissions, patients)
    return [found[index] for index in sorted(found)]


async def _keep_sets(ctx: Context, submissions: Sequence[Submission], patients: Mapping[str, Sequence[str]]) -> None:
    """The set that all of it was submitted in. Documents of several patients are no set of anybody's."""
    submitted = {
        each.metadata.submission_set.id: each.metadata.submission_set
        for each in submissions
        if each.metadata and each.metadata.submission_set
    }
    if len(submitted) != 1 or len(patients) != 1:
        return
    [patient] = patients
    try:
        await keep_set(ctx.entry(), next(iter(submitted.values())), patients[patient], patient)
    except FhirServerError as error:
        # The documents are stored; that they came together is told by their times too.
        log.warning("no submission set", kind=type(error).__name__)


async def _one(ctx: Context, submission: Submission, wanted: Wanted, options: Options) -> Imported:
    if submission.refused or submission.document is None:
        raise Invalid(issues=[submission.refused] if submission.refused else ())
    document = submission.document
    incoming = await ctx.aside.always(prepared, document, submission.metadata, wanted)
    return await import_document(ctx, incoming, options)


def told(imported: Imported) -> Told:
    """The outcome of a document that was taken."""
    report = imported.report
    return Told(imported.status, imported.reference, report, imported.changes, report.issues)


def refused(error: FhirServerError) -> Told:
    """The outcome of a document that was not."""
    return Told(REJECTED, issues=error.issues, http=status_of(error))


def unique_ids(submissions: Iterable[Submission]) -> dict[str, Key]:
    """The uniqueId of each document by the id of its entry."""
    found: dict[str, Key] = {}
    for each in submissions:
        if each.metadata and each.metadata.entry.unique_id:
            master = master_identifier(each.metadata.entry.unique_id)
            found[each.metadata.entry.id] = Key(master.get("system", URI), master["value"])
    return found


def ordered(submissions: Sequence[Submission]) -> list[int]:
    """The places of the documents, each after those that it says something of."""
    places = {each.metadata.entry.id: place for place, each in enumerate(submissions) if each.metadata}
    done: dict[int, None] = {}
    waiting = list(range(len(submissions)))
    while waiting:
        ready = [each for each in waiting if all(one in done for one in _before(submissions[each], places))]
        # Those that say it of each other come as they stand.
        done |= dict.fromkeys(ready or waiting)
        waiting = [each for each in waiting if each not in done]
    return list(done)


def _before(submission: Submission, places: Mapping[str, int]) -> list[int]:
    if submission.metadata is None:
        return []
    own = submission.metadata.entry.id
    return [
        places[each.target]
        for each in submission.metadata.associations
        if each.source == own and each.target in places and each.target != own
    ]
