"""POST [base]/$import-document: legacy documents in (importers §9)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed
from fhir_server.fhir.json import parse
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.record.documents import Options, check_depositor
from fhir_server.record.incoming import Wanted
from fhir_server.record.pushed import REJECTED, Told, import_pushed
from importers.cda.conversion import Report
from importers.cda.entries.dispatch import Outcome
from importers.cda.labels import KNOWN
from importers.limits import Limits
from importers.metadata import Code

_JSON: Final = ("application/fhir+json", "application/json", "text/json")
_MODES: Final = ("strict", "migration")
_WRITTEN: Final = frozenset({"created", "superseding", "superseded", "deleted"})
_LOINC: Final = "http://loinc.org"


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a request carries: the bytes, and what stands beside them."""

    pushed: bytes
    metadata: dict[str, Any] | None = None
    visibility: tuple[str, ...] = ()


async def run(ctx: Context, request: Request) -> Answer:
    """201 when something was stored, 200 when nothing new was; a refusal carries its code (900 to 906 or ours)."""
    check_depositor(ctx)
    sent = await ctx.aside(request.body, _sent, ctx, request)
    wanted, options = _asked(ctx, request, sent)
    found = await import_pushed(ctx, sent.pushed, wanted, options)
    first = next((each.reference for each in found if each.reference), "")
    return Answer(_status(found, options), orjson.dumps(_parameters(found)), location=first)


def _status(found: Sequence[Told], options: Options) -> int:
    """201 when something was created; of a push of which nothing is stored, the refusal that all have in common."""
    if any(each.status != REJECTED for each in found):
        created = any(each.status in _WRITTEN for each in found)
        return 201 if created and not options.dry_run else 200
    statuses = {each.http for each in found}
    return statuses.pop() if len(statuses) == 1 else 422


def _sent(ctx: Context, request: Request) -> _Sent:
    """The bytes, sent as they are or in Parameters, and what came with them."""
    if not request.body:
        raise Malformed("A document is expected in the body.")
    if request.content_type not in _JSON:
        return _Sent(request.body)
    parameters = ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "Parameters")
    documents, metadata, visibility = [], [], []
    for index, each in enumerate(parameters.get("parameter", ())):
        place = f"Parameters.parameter[{index}]"
        if each["name"] == "document" and "valueBase64Binary" in each:
            documents.append(b64decode(each["valueBase64Binary"]))
        elif each["name"] == "metadata" and each.get("resource", {}).get("resourceType") == "DocumentReference":
            metadata.append(each["resource"])
        elif each["name"] == "visibility" and "valueCode" in each:
            visibility.append(each["valueCode"])
        else:
            text = "Expected are `document` (base64Binary), `metadata` (DocumentReference), `visibility` codes."
            raise Malformed(text, expression=place)
    if len(documents) != 1 or len(metadata) > 1:
        raise Malformed("One `document` is expected, and at most one `metadata`.", expression="Parameters.parameter")
    return _Sent(documents[0], metadata[0] if metadata else None, tuple(visibility))


def _asked(ctx: Context, request: Request, sent: _Sent) -> tuple[Wanted, Options]:
    given: dict[str, str] = {}
    labels = list(sent.visibility)
    for name, value in request.query:
        if name == "visibility" and value:
            labels.append(value)
        elif name in given or not _understood(name, value):
            raise Malformed("This parameter, or its value, is not understood here.", expression=name)
        else:
            given[name] = value
    if not KNOWN.issuperset(labels):
        raise Malformed("This is not a known visibility or confidentiality.", expression="visibility")
    mode = given.get("mode", "strict")
    patient = given.get("patient") or _patient(sent.metadata)
    wanted = wanted_by(
        ctx, mode=mode, visibility=tuple(labels), type_=_code(given), metadata=sent.metadata, named=bool(patient)
    )
    return wanted, Options(mode, given.get("dryRun") == "true", patient)


def _understood(name: str, value: str) -> bool:
    match name:
        case "mode":
            return value in _MODES
        case "dryRun":
            return value in ("true", "false")
        case "patient" | "type":
            return bool(value.strip("|"))
    return name in ("_format", "_pretty")


def wanted_by(
    ctx: Context,
    *,
    mode: str,
    visibility: tuple[str, ...] = (),
    type_: Code | None = None,
    metadata: Mapping[str, Any] | None = None,
    named: bool = False,
) -> Wanted:
    """How this server reads documents now."""
    return Wanted(
        strict=ctx.settings.ins_policy == "strict" and mode == "strict",
        production=ctx.settings.production,
        at=ctx.now(),
        limits=Limits(attachment_bytes=ctx.settings.max_attachment_bytes),
        visibility=visibility,
        type=type_,
        metadata=metadata,
        named=named,
    )


def _code(given: Mapping[str, str]) -> Code | None:
    """The type of a document as `system|code`; a LOINC code may stand alone."""
    system, bar, code = given.get("type", "").rpartition("|")
    return Code(code, system if bar else _LOINC) if code else None


def _patient(metadata: Mapping[str, Any] | None) -> str:
    """Whom the metadata name, by reference: an INS in them is matched as that of a document."""
    reference = (metadata or {}).get("subject", {}).get("reference", "")
    return reference if reference.startswith("Patient/") else ""


def _parameters(found: Sequence[Told]) -> dict[str, Any]:
    issues = [issue for each in found for issue in each.issues]
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "outcome", "resource": operation_outcome(issues)},
            *({"name": "document", "part": _document(each, alone=len(found) == 1)} for each in found),
        ],
    }


def _document(each: Told, *, alone: bool) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"name": "status", "valueCode": each.status}]
    if each.reference:
        parts.insert(0, {"name": "reference", "valueReference": {"reference": each.reference}})
    if each.report:
        parts.append({"name": "report", "part": _report(each.report, each.changes)})
    if not alone and each.issues:
        parts.append({"name": "outcome", "resource": operation_outcome(each.issues)})
    return parts


def _report(report: Report, changes: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    counts = report.entries
    numbers = {
        "level": report.level,
        "sections": report.sections,
        "covered": report.covered,
        "entries": counts.total,
        "mapped": counts.mapped,
        "narrativeOnly": counts.narrative_only,
        "failed": counts.failed,
        "dangling": report.dangling,
        "milliseconds": round(report.milliseconds),
    }
    parts: list[dict[str, Any]] = [{"name": "kind", "valueCode": str(report.kind)}]
    parts += [{"name": name, "valueInteger": n} for name, n in numbers.items()]
    parts += [{"name": what, "part": _numbers(of)} for what, of in changes.items()]
    if report.unknown_systems:
        parts.append({"name": "unknownSystems", "part": _numbers(report.unknown_systems)})
    return parts + [{"name": "entry", "part": _entry(each)} for each in report.outcomes]


def _numbers(of: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "valueInteger": n} for name, n in of.items()]


def _entry(outcome: Outcome) -> list[dict[str, Any]]:
    template = [{"name": "template", "valueString": outcome.template}] if outcome.template else []
    return [
        {"name": "path", "valueString": outcome.path},
        {"name": "line", "valueInteger": outcome.line},
        *template,
        {"name": "bucket", "valueCode": str(outcome.bucket)},
    ]
