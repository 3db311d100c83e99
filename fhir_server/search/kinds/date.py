"""Dates, moments and periods (https://hl7.org/fhir/R4/search.html#date)."""

from __future__ import annotations

from datetime import tzinfo
from functools import lru_cache
from typing import Any, Final

from fhir_server.fhir.dates import date_range, search_range
from fhir_server.search.entries import Span
from fhir_server.search.kinds.asked import Asked, prefixed
from fhir_server.search.kinds.sink import Add, Sink, passed_over
from fhir_server.search.predicate import DateIs, Predicate, Updated, negate

MODIFIERS: Final = frozenset({""})
_SHORT: Final = 40
BEGINNING: Final = -(2**62)
END: Final = 2**62
_ALWAYS: Final = (BEGINNING, END)


def where(asked: Asked, text: str) -> Predicate:
    """A date of any precision, with a prefix."""
    prefix, low, high = read(asked, text)
    return DateIs(asked.param, prefix, low, high)


def updated(asked: Asked, text: str) -> Predicate:
    """The same question put to meta.lastUpdated, which is a point in time."""
    prefix, low, high = read(asked, text)
    match prefix:
        case "ne":
            return negate(Updated(low, high))
        case "gt" | "sa":
            return Updated(high, None)
        case "lt" | "eb":
            return Updated(None, low)
        case "ge":
            return Updated(low, None)
        case "le":
            return Updated(None, high)
    return Updated(low, high)


def read(asked: Asked, text: str) -> tuple[str, int, int]:
    """The prefix and the range it speaks of.

    Approximately means one day more at either end of a day, one month of a month. R4 recommends a tenth of the time
    that has passed since: such an answer would change from page to page.
    """
    prefix, value = prefixed(text)
    try:
        # A client that does not escape the + of an offset sends a blank.
        low, high = search_range(value.replace(" ", "+"), zone=asked.zone)
    except ValueError:
        raise asked.malformed("A date is expected, such as 2024-05-01 or ge2024-05-01T10:00:00Z.") from None
    width = high - low if prefix == "ap" else 0
    return prefix, low - width, high + width


def _date(param: str, value: Any, sink: Sink) -> None:
    span = _range(value, sink.zone)
    if span:
        sink.dates.append(Span(param, *span))


def _period(param: str, value: Any, sink: Sink) -> None:
    span = _bounds(value, sink.zone)
    if span:
        sink.dates.append(Span(param, *span))


def _timing(param: str, value: Any, sink: Sink) -> None:
    """Of a Timing only the outer limits matter."""
    if type(value) is not dict:
        return
    events, repeat = value.get("event"), value.get("repeat")
    spans = [_range(each, sink.zone) for each in events] if type(events) is list else []
    if type(repeat) is dict:
        spans.append(_bounds(repeat.get("boundsPeriod"), sink.zone))
    known = [span for span in spans if span]
    if known:
        sink.dates.append(Span(param, min(low for low, _ in known), max(high for _, high in known)))


def _range(value: Any, zone: tzinfo) -> tuple[int, int] | None:
    if type(value) is not str:
        return None
    return _remembered(value, zone) if len(value) <= _SHORT else _read(value, zone)


def _read(text: str, zone: tzinfo) -> tuple[int, int] | None:
    try:
        return date_range(text, zone=zone)
    except ValueError:
        return None


# What is written together tells of the same moments.
_remembered = lru_cache(maxsize=1024)(_read)


def _bounds(value: Any, zone: tzinfo) -> tuple[int, int] | None:
    """The limits of a Period, open where it does not say; None when it says nothing, or what cannot be read."""
    if type(value) is not dict:
        return None
    start, end = value.get("start"), value.get("end")
    first = _ALWAYS if start is None else _range(start, zone)
    last = _ALWAYS if end is None else _range(end, zone)
    if first is None or last is None or (start is None and end is None):
        return None
    return first[0], max(first[0], last[1])


ADD: Final[dict[str, Add]] = {
    "date": _date,
    "dateTime": _date,
    "instant": _date,
    "Period": _period,
    "Timing": _timing,
    # Immunization.occurrence, MedicationStatement and others may be told in words or by age: no point in time.
    "string": passed_over,
    "Age": passed_over,
    "Range": passed_over,
}
