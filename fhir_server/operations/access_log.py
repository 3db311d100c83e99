"""Patient/[id]/$access-log: who came to a record, one event an interaction, for its holder and representatives.

The answer is a searchset of the AuditEvents that a search gives too, so that any client can read and page it. Each says
besides what the document is called, where the reader sees that document (access §6, record REC-110).
"""

from __future__ import annotations

from typing import Final

from fhir_server.consent.audit_search import Reader, count_of, read_log
from fhir_server.consent.data_time import PARIS
from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Malformed
from fhir_server.fhir.dates import search_range
from fhir_server.fhir.json import parse
from fhir_server.interactions.access_log import place, told
from fhir_server.interactions.paging import ABOUT_FORM, CURSOR, Pages

# Parameter -> the member of Parameters.parameter that holds it.
_VALUES: Final = {"from": "valueDate", "to": "valueDate", "_count": "valueInteger"}


async def run(ctx: Context, request: Request) -> Answer:
    """The log between `from` and `to`, both included, newest first; empty for whoever it is not for."""
    patient = request.path[1]
    ctx.trace.type, ctx.trace.id = "Patient", patient
    ctx.allow("AuditEvent", "s")
    asked = _asked(ctx, request)
    cursor = asked.pop(CURSOR, "")
    count = count_of(list(asked.items()))
    since, until = _bound(asked, "from", 0), _bound(asked, "to", 1)
    pages = Pages(ctx, request, f"Patient/{patient}/$access-log", sorted(asked.items()))
    after = place(pages.after(cursor))
    async with ctx.store.snapshot() as snapshot:
        await ctx.about(snapshot, "Patient", patient)
        narrow = ctx.services.narrow
        visible = await narrow.for_search(snapshot, ctx.actor, (patient,), only=("AuditEvent",))
        documents = await narrow.for_search(snapshot, ctx.actor, (patient,), only=("DocumentReference",))
        reader = Reader(ctx.actor, patient, visible, ctx.now(), ctx.base, documents)
        page = await read_log(snapshot, reader, since=since, until=until, count=count, after=after)
    await ctx.record()
    return Answer(200, told(ctx, pages, cursor, page))


def _asked(ctx: Context, request: Request) -> dict[str, str]:
    """The parameters, of the url or of a posted Parameters resource. Raises Malformed for one that is not known."""
    given = [pair for pair in request.query if pair[0] not in ABOUT_FORM]
    if request.body:
        posted = ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "Parameters")
        given += [(each["name"], str(each.get(_VALUES.get(each["name"], ""), ""))) for each in posted["parameter"]]
    for name, _ in given:
        if name not in (*_VALUES, CURSOR):
            raise Malformed("This parameter is not understood here.", expression=name)
    if len(dict(given)) < len(given):
        raise Malformed("Each parameter is given once.", expression="$access-log")
    return dict(given)


def _bound(asked: dict[str, str], name: str, end: int) -> int | None:
    """The begin or the end (0, 1) of the time that a parameter names, days as in Paris."""
    if name not in asked:
        return None
    try:
        return search_range(asked[name], zone=PARIS)[end]
    except ValueError as error:
        raise Malformed("A FHIR date is expected.", expression=name) from error
