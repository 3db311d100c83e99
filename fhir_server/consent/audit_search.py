"""The access log of one record as its holder or a representative reads it (access §6, record REC-110 to REC-114)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.audit_event import to_audit_events
from fhir_server.consent.audit_feed import named_in, to_external_event
from fhir_server.consent.data_time import PARIS
from fhir_server.errors import Malformed
from fhir_server.fhir.dates import parse_instant, search_range
from fhir_server.search.entries import Entries, Span
from fhir_server.search.facts import INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX, Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import FALSE, AnyRef, Bit, DateIs, Eq, Predicate, Rng, UriIs, conj, disj, negate
from fhir_server.storage.interface import AuditEntry, Snapshot

_PAGE: Final = 200
_PREFIXES: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
_MOST: Final = 500
_LINE: Final = Facts(rtype="AuditEvent", id="", kind="record")
_HIDDEN_FROM_REPRESENTATIVES: Final = Bit(INVISIBLE_REPRESENTANTS_LEGAUX)
_DATE_PARAMETERS: Final = ("date", "period-start")

Place = tuple[int, int]
"""Where a page goes on: with the rows below this seq, after so many events of the first of them."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """AuditEvents, newest first. `after`: where the next page goes on, None when there is none."""

    events: list[dict[str, Any]] = field(default_factory=list)
    after: Place | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads the log, of whose record, with what right. `visible`: their predicate on the log; `documents`: on the
    documents whose titles they are told; `now`: microseconds; `base`: the FHIR base url of this server."""

    actor: Actor
    patient: str
    visible: Predicate
    now: int
    base: str
    documents: Predicate = FALSE


async def search_audits(
    snapshot: Snapshot, reader: Reader, parameters: Sequence[tuple[str, str]], *, after: Place | None = None
) -> LogPage:
    """The events that match `parameters`: date, action, outcome, type, subtype, agent, entity; `_count`.

    Filters judge what the reader is shown: the id of a withheld document finds nothing. Raises Malformed, naming the
    parameter, for one that is not understood.
    """
    wanted, count = _filters(parameters), count_of(parameters)
    before, done = after or (None, 0)
    events: list[dict[str, Any]] = []
    async for entry in _rows(snapshot, reader, before=before):
        for number, event in enumerate(await as_seen(snapshot, reader, entry)):
            if number >= done and all(each(event) for each in wanted):
                if len(events) == count:
                    return LogPage(events, (entry.seq + 1, number))
                events.append(event)
        done = 0
    return LogPage(events)


async def read_log(
    snapshot: Snapshot, reader: Reader, *, since: int | None, until: int | None, count: int, after: Place | None = None
) -> LogPage:
    """One event for each interaction of that time, as $access-log tells it."""
    events: list[dict[str, Any]] = []
    async for entry in _rows(snapshot, reader, before=after[0] if after else None, since=since, until=until):
        for event in (await as_seen(snapshot, reader, entry))[:1]:
            if len(events) == count:
                return LogPage(events, (entry.seq + 1, 0))
            events.append(event)
    return LogPage(events)


async def _rows(
    snapshot: Snapshot, reader: Reader, *, before: int | None, **span: int | None
) -> AsyncIterator[AuditEntry]:
    """The rows of the log, newest first."""
    while True:
        page = await snapshot.audits(reader.patient, visible=reader.visible, before=before, limit=_PAGE, **span)
        for entry in page:
            yield entry
        if len(page) < _PAGE:
            return
        before = page[-1].seq


async def as_seen(snapshot: Snapshot, reader: Reader, entry: AuditEntry) -> list[dict[str, Any]]:
    """The events of one line as the reader may see them; none of a line that is not for them.

    A document not yet shown to the patient is not named; a representative has no line about what is hidden from them,
    nor of a secret session.
    """
    said = orjson.loads(entry.row.body)
    by_representative = reader.actor.role == "rep"
    if by_representative and (said.get("secret") or await _about(snapshot, reader, said, _HIDDEN_FROM_REPRESENTATIVES)):
        return []
    unreleased = conj(Bit(INVISIBLE_PATIENT), negate(Rng("release_at", None, reader.now + 1)))
    withheld = await _about(snapshot, reader, said, unreleased)
    if said.get("event"):
        return [to_external_event(said, withheld=withheld)]
    title = "" if withheld else await _title(snapshot, reader, said)
    return to_audit_events(entry, base=reader.base, withheld=withheld, title=title)


async def _about(snapshot: Snapshot, reader: Reader, said: Mapping[str, Any], hidden: Predicate) -> bool:
    """Whether what a line is about, or a document whose content it is, is hidden so: when the line was written, or as
    it is in this record today. The line remembers what has since been deleted, or was never kept."""
    type_, id_ = said.get("type", ""), said.get("resource", "")
    then = Facts(type_, id_, "record", vis=said.get("vis", 0), release_at=said.get("release_at"))
    if holds(hidden, Row(then, Entries(), 0)):
        return True
    links = named_in(said["event"], reader.base) if said.get("event") else {(type_, id_)} if id_ else set()
    for type_, id_ in sorted(links):
        of_record = conj(Eq("kind", "record"), Eq("patient", reader.patient), hidden)
        visible = AnyRef(of_record) if type_ == "Binary" else of_record
        if await snapshot.read(type_, id_, visible=visible) is not None:
            return True
    return False


async def _title(snapshot: Snapshot, reader: Reader, said: Mapping[str, Any]) -> str:
    """What the document is called that a line is about, or whose content that is, if the reader sees it."""
    type_, id_ = said.get("type"), said.get("resource")
    if type_ not in ("DocumentReference", "Binary") or not id_ or reader.documents == FALSE:
        return ""
    urls = (f"Binary/{id_}", f"{reader.base}/Binary/{id_}")
    where = Eq("id", id_) if type_ != "Binary" else disj(*(UriIs("location", "exact", url) for url in urls))
    plan = Plan(("DocumentReference",), where, patients=(reader.patient,), limit=1)
    for found in await snapshot.search(plan, visible=reader.documents):
        document = orjson.loads(found.body)
        titles = (each.get("attachment", {}).get("title") for each in document.get("content", ()))
        return str(document.get("description") or next(filter(None, titles), ""))
    return ""


_Filter = Callable[[dict[str, Any]], bool]


def _filters(parameters: Sequence[tuple[str, str]]) -> list[_Filter]:
    """One test for each parameter; repeated ones all hold."""
    found: list[_Filter] = []
    for name, value in parameters:
        if name == "_count" or (name, value) == ("_sort", "-date"):
            # Newest first is the order that the log has.
            continue
        if name in _DATE_PARAMETERS:
            found.append(_date_filter(name, value))
        elif name in _VALUES:
            found.append(_value_filter(name, value))
        else:
            raise Malformed("This parameter is not understood here.", expression=name)
    return found


def count_of(parameters: Sequence[tuple[str, str]]) -> int:
    """`_count`, 20 when it is not given. Raises Malformed for what is no positive number."""
    text = next((value for name, value in parameters if name == "_count"), "20")
    if not (text.isascii() and text.isdecimal()) or not int(text):
        raise Malformed("A positive whole number is expected.", expression="_count")
    return min(int(text), _MOST)


def _date_filter(name: str, value: str) -> _Filter:
    prefix, text = (value[:2], value[2:]) if value[:2] in _PREFIXES else ("eq", value)
    try:
        low, high = search_range(text, zone=PARIS)
    except ValueError as error:
        raise Malformed("A FHIR date is expected.", expression=name) from error

    wanted = DateIs("date", prefix, low, high)

    def test(event: dict[str, Any]) -> bool:
        moment = parse_instant(event["recorded"])
        return holds(wanted, Row(_LINE, Entries(dates=(Span("date", moment, moment + 1),)), 0))

    return test


def _value_filter(name: str, value: str) -> _Filter:
    """Any of the values that commas separate; of a token the system may be left out."""
    wanted = value.split(",")

    def test(event: dict[str, Any]) -> bool:
        return any(text in wanted for text in _VALUES[name](event))

    return test


def _tokens(*codings: Mapping[str, str]) -> Iterator[str]:
    for coding in codings:
        yield coding.get("code", "")
        yield f"{coding.get('system', '')}|{coding.get('code', '')}"


def _agents(event: dict[str, Any]) -> Iterator[str]:
    for each in event["agent"]:
        if "reference" in each.get("who", {}):
            yield each["who"]["reference"]


def _entities(event: dict[str, Any]) -> Iterator[str]:
    for each in event.get("entity", ()):
        if "reference" in each.get("what", {}):
            yield each["what"]["reference"].partition("/_history/")[0]


_VALUES: Final[Mapping[str, Callable[[dict[str, Any]], Iterator[str]]]] = {
    "action": lambda event: iter((event.get("action", ""),)),
    "outcome": lambda event: iter((event.get("outcome", ""),)),
    "type": lambda event: _tokens(event["type"]),
    "subtype": lambda event: _tokens(*event.get("subtype", ())),
    "agent": _agents,
    "entity": _entities,
}
