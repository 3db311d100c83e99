"""batch and transaction: POST [base] (https://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fhir_server.context import Answer, Context, Interaction, Pace, Request
from fhir_server.errors import FhirServerError, Malformed, TooLarge
from fhir_server.fhir.bundle import Entry, bundle
from fhir_server.fhir.json import MAX_PARTS, parse
from fhir_server.fhir.splice import entry_resources, with_links
from fhir_server.interactions.entries import Asked, answer_entry, entry_asked, refusal
from fhir_server.interactions.steps import Named
from fhir_server.interactions.transaction import transaction
from fhir_server.validation.profiles import claimed


async def batch_or_transaction(ctx: Context, request: Request, answer: Interaction) -> Answer:
    """Every entry on its own, or all of them or none, as Bundle.type says; answers in the order of the entries."""
    sent = await ctx.aside(request.body, _envelope, ctx, request.body)
    resources = await ctx.aside(request.body, entry_resources, request.body)
    asked, pace = [], Pace()
    for index, (each, body) in enumerate(zip(sent.get("entry", ()), resources, strict=True)):
        await pace.rest()
        with Named(index):
            asked.append(entry_asked(ctx, request, each, body or b""))
    if sent["type"] == "batch":
        return Answer(200, bundle("batch-response", await _batch(ctx, asked, answer)))
    return Answer(200, await transaction(ctx, asked, answer, profiles=claimed(sent)))


async def _batch(ctx: Context, asked: Sequence[Asked], answer: Interaction) -> list[Entry]:
    if not asked:
        await ctx.record()
    promised = {each.full_url for each in asked if each.full_url.startswith("urn:")}
    entries = []
    for each in asked:
        try:
            await ctx.pace.rest()
            leans = await ctx.aside(each.request.body, _leans_on, each, promised) if promised else False
            if leans:
                raise Malformed("In a batch no entry points to another by its fullUrl; send a transaction.")
        except FhirServerError as error:
            entries.append(await _refused(ctx, each, error))
        else:
            entries.append(await answer_entry(ctx, each.request, answer))
    return entries


async def _refused(ctx: Context, asked: Asked, error: FhirServerError) -> Entry:
    """The entries of a batch do not know each other: what one makes has no place in another. And what comes when the
    time of the whole is over is not tried."""
    own = ctx.entry()
    own.trace.interaction, own.trace.type = "batch", asked.request.path[0] if asked.request.path else ""
    await own.record(error)
    return refusal(error)


def _leans_on(asked: Asked, promised: Collection[str]) -> bool:
    """Whether a resource points to one of the fullUrls; what is inside a Binary points nowhere."""
    found: list[str] = []

    def note(key: str, uri: str) -> None:
        if uri in promised:
            found.append(uri)

    if isinstance(asked.resource, dict) and asked.resource.get("resourceType") != "Binary":
        with_links(asked.request.body, note)
    return bool(found)


def _envelope(ctx: Context, body: bytes) -> dict[str, Any]:
    """The Bundle, valid but for its resources, which are judged entry by entry."""
    sent: Any = parse(body, max_depth=ctx.settings.max_depth, max_parts=MAX_PARTS) if body else None
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
