"""The access log of one record as its holder or a representative reads it (access §6, record REC-110 to REC-114)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.audit_event import to_audit_event
from fhir_server.errors import Malformed
from fhir_server.fhir.dates import parse_instant, search_range
from fhir_server.search.entries import Entries, Span
from fhir_server.search.facts import INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX, Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.predicate import AnyRef, Bit, DateIs, Eq, Predicate, Rng, conj, negate
from fhir_server.storage.interface import AuditEntry, Snapshot

_PAGE: Final = 200
_PREFIXES: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
_MOST: Final = 500
_LINE: Final = Facts(rtype="AuditEvent", id="", kind="record")
_HIDDEN_FROM_REPRESENTATIVES: Final = Bit(INVISIBLE_REPRESENTANTS_LEGAUX)


@dataclass(frozen=True, slots=True)
class LogPage:
    """AuditEvents, newest first. `before`: what to go on with for the next page, None when there is none."""

    events: list[dict[str, Any]] = field(default_factory=list)
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads the log, of whose record, with what right. `visible`: their predicate; `now`: microseconds; `base`: the
    FHIR base url of this server."""

    actor: Actor
    patient: str
    visible: Predicate
    now: int
    base: str


async def search_audits(
    snapshot: Snapshot, reader: Reader, parameters: Sequence[tuple[str, str]], *, before: int | None = None
) -> LogPage:
    """The lines that match `parameters`: date, action, outcome, type, subtype, agent, entity; `_count`.

    Filters judge what the reader is shown: the id of a withheld document finds nothing. Raises Malformed, naming the
    parameter, for one that is not understood.
    """
    wanted, count = _filters(parameters), _count(parameters)
    events: list[dict[str, Any]] = []
    while True:
        page = await snapshot.audits(reader.patient, visible=reader.visible, before=before, limit=_PAGE)
        for entry in page:
            event = await as_seen(snapshot, reader, entry)
            if event is not None and all(each(event) for each in wanted):
                if len(events) == count:
                    return LogPage(events, before)
                events.append(event)
            before = entry.seq
        if len(page) < _PAGE:
            return LogPage(events)


async def as_seen(snapshot: Snapshot, reader: Reader, entry: AuditEntry) -> dict[str, Any] | None:
    """One line as the reader may see it; None for a line that is not for them.

    A document not yet shown to the patient is not named; a representative has no line about what is hidden from them,
    nor of a secret session.
    """
    said = orjson.loads(entry.row.body)
    by_representative = reader.actor.role == "rep"
    if by_representative and (said.get("secret") or await _about(snapshot, reader, said, _HIDDEN_FROM_REPRESENTATIVES)):
        return None
    unreleased = conj(Bit(INVISIBLE_PATIENT), negate(Rng("release_at", None, reader.now + 1)))
    return to_audit_event(entry, base=reader.base, withheld=await _about(snapshot, reader, said, unreleased))


async def _about(snapshot: Snapshot, reader: Reader, said: Mapping[str, Any], hidden: Predicate) -> bool:
    """Whether the resource of a line, or a document whose content it is, is hidden so: when the line was written, or as
    it is in this record today. The line remembers what has since been deleted, or was never kept."""
    type_, id_ = said.get("type", ""), said.get("resource", "")
    then = Facts(type_, id_, "record", vis=said.get("vis", 0), release_at=said.get("release_at"))
    if holds(hidden, Row(then, Entries(), 0)):
        return True
    if not id_:
        return False
    of_record = conj(Eq("kind", "record"), Eq("patient", reader.patient), hidden)
    visible = AnyRef(of_record) if type_ == "Binary" else of_record
    return await snapshot.read(type_, id_, visible=visible) is not None


_Filter = Callable[[dict[str, Any]], bool]


def _filters(parameters: Sequence[tuple[str, str]]) -> list[_Filter]:
    """One test for each parameter; repeated ones all hold."""
    found: list[_Filter] = []
    for name, value in parameters:
        if name == "_count":
            continue
        if name == "date":
            found.append(_date_filter(value))
        elif name in _VALUES:
            found.append(_value_filter(name, value))
        else:
            raise Malformed("This parameter is not understood here.", expression=name)
    return found


def _count(parameters: Sequence[tuple[str, str]]) -> int:
    text = next((value for name, value in parameters if name == "_count"), "20")
    if not (text.isascii() and text.isdecimal()) or not int(text):
        raise Malformed("A positive whole number is expected.", expression="_count")
    return min(int(text), _MOST)


def _date_filter(value: str) -> _Filter:
    prefix, text = (value[:2], value[2:]) if value[:2] in _PREFIXES else ("eq", value)
    try:
        low, high = search_range(text)
    except ValueError as error:
        raise Malformed("A FHIR date is expected.", expression="date") from error

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


def _token(coding: Mapping[str, str]) -> Iterator[str]:
    yield coding["code"]
    yield f"{coding['system']}|{coding['code']}"


def _subtypes(event: dict[str, Any]) -> Iterator[str]:
    for each in event.get("subtype", ()):
        yield from _token(each)


def _agents(event: dict[str, Any]) -> Iterator[str]:
    for each in event["agent"]:
        if "reference" in each["who"]:
            yield each["who"]["reference"]


def _entities(event: dict[str, Any]) -> Iterator[str]:
    for each in event.get("entity", ()):
        if "reference" in each.get("what", {}):
            yield each["what"]["reference"].partition("/_history/")[0]


_VALUES: Final[Mapping[str, Callable[[dict[str, Any]], Iterator[str]]]] = {
    "action": lambda event: iter((event["action"],)),
    "outcome": lambda event: iter((event["outcome"],)),
    "type": lambda event: _token(event["type"]),
    "subtype": _subtypes,
    "agent": _agents,
    "entity": _entities,
}
