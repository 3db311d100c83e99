"""POST [base]/$import-document: a legacy document in (importers §9)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final

import orjson

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed
from fhir_server.fhir.json import parse
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.record.documents import Imported, Options, import_document

_JSON: Final = ("application/fhir+json", "application/json", "text/json")
_MODES: Final = ("strict", "migration")


async def run(ctx: Context, request: Request) -> Answer:
    """201 when something was stored, 200 when nothing new was; a refusal carries its code (900 to 906 or ours)."""
    document, visibility = _document(ctx, request)
    options = _options(request, visibility)
    imported = await import_document(ctx, document, options)
    status = 200 if imported.status == "unchanged" or options.dry_run else 201
    return Answer(status, orjson.dumps(_parameters(imported)), location=imported.reference)


def _document(ctx: Context, request: Request) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of the document, sent as they are or in Parameters, and the visibility codes beside it."""
    if not request.body:
        raise Malformed("A document is expected in the body.")
    if request.content_type not in _JSON:
        return request.body, ()
    parameters = ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "Parameters")
    documents, visibility = [], []
    for index, each in enumerate(parameters.get("parameter", ())):
        place = f"Parameters.parameter[{index}]"
        if each["name"] == "document" and "valueBase64Binary" in each:
            documents.append(b64decode(each["valueBase64Binary"]))
        elif each["name"] == "visibility" and "valueCode" in each:
            visibility.append(each["valueCode"])
        else:
            raise Malformed("Expected are one `document` (base64Binary) and `visibility` codes.", expression=place)
    if len(documents) != 1:
        raise Malformed("One `document` is expected.", expression="Parameters.parameter")
    return documents[0], tuple(visibility)


def _options(request: Request, visibility: tuple[str, ...]) -> Options:
    mode, dry_run, labels = "strict", False, list(visibility)
    for name, value in request.query:
        if name == "mode" and value in _MODES:
            mode = value
        elif name == "dryRun" and value in ("true", "false"):
            dry_run = value == "true"
        elif name == "visibility" and value:
            labels.append(value)
        elif name not in ("_format", "_pretty"):
            raise Malformed("This parameter, or its value, is not understood here.", expression=name)
    return Options(mode=mode, visibility=tuple(labels), dry_run=dry_run)


def _parameters(imported: Imported) -> dict[str, Any]:
    report = imported.report
    counts = report.entries
    parts: list[dict[str, Any]] = [{"name": "status", "valueCode": imported.status}]
    if imported.reference:
        parts.insert(0, {"name": "reference", "valueReference": {"reference": imported.reference}})
    numbers = {
        "level": report.level,
        "sections": report.sections,
        "entries": counts.total,
        "mapped": counts.mapped,
        "narrativeOnly": counts.narrative_only,
        "failed": counts.failed,
    }
    parts.append({"name": "report", "part": [{"name": name, "valueInteger": n} for name, n in numbers.items()]})
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "outcome", "resource": operation_outcome(report.issues)},
            {"name": "document", "part": parts},
        ],
    }
