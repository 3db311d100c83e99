"""batch and transaction: POST [base] (https://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

from typing import Any

from fhir_server.context import Answer, Context, Interaction, Request
from fhir_server.errors import Malformed, TooLarge
from fhir_server.fhir.bundle import bundle
from fhir_server.fhir.json import parse
from fhir_server.fhir.splice import entry_resources
from fhir_server.interactions.entries import answer_entry, entry_request
from fhir_server.interactions.transaction import transaction


async def batch_or_transaction(ctx: Context, request: Request, answer: Interaction) -> Answer:
    """Every entry on its own, or all of them or none, as Bundle.type says; answers in the order of the entries."""
    sent = _envelope(ctx, parse(request.body, max_depth=ctx.settings.max_depth) if request.body else None)
    requests = [
        entry_request(ctx, request, each, body or b"")
        for each, body in zip(sent.get("entry", ()), entry_resources(request.body), strict=True)
    ]
    if sent["type"] == "batch":
        if not requests:
            await ctx.record()
        entries = [await answer_entry(ctx, each, answer) for each in requests]
        return Answer(200, bundle("batch-response", entries))
    resources = [each.get("resource") for each in sent.get("entry", ())]
    full_urls = [each.get("fullUrl", "") for each in sent.get("entry", ())]
    return Answer(200, await transaction(ctx, requests, resources, full_urls, answer))


def _envelope(ctx: Context, sent: Any) -> dict[str, Any]:
    """The Bundle without its resources, which are judged entry by entry."""
    if not isinstance(sent, dict) or sent.get("resourceType") != "Bundle":
        raise Malformed("A Bundle is expected.", expression="Bundle")
    if sent.get("type") not in ("batch", "transaction"):
        raise Malformed("A Bundle of type batch or transaction is expected.", expression="Bundle.type")
    entries = sent.get("entry", [])
    if isinstance(entries, list):
        if len(entries) > ctx.settings.max_entries:
            raise TooLarge(f"A Bundle may have {ctx.settings.max_entries} entries.", expression="Bundle.entry")
        for index, each in enumerate(entries):
            if isinstance(each, dict) and "request" not in each:
                raise Malformed("An entry needs a request.", expression=f"Bundle.entry[{index}].request")
        entries = [
            {name: part for name, part in each.items() if name != "resource"} if isinstance(each, dict) else each
            for each in entries
        ]
    ctx.checked({**sent, "entry": entries} if "entry" in sent else sent, "Bundle")
    return sent
