"""Periods of the access rules as half-open spans of microseconds, days taken in Europe/Paris (spec access §3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from fhir_server.consent.data_time import PARIS
from fhir_server.fhir.dates import date_range

_EPOCH = datetime.fromtimestamp(0, UTC)


class Span(NamedTuple):
    """low <= t < high; None leaves that end open."""

    low: int | None = None
    high: int | None = None

    def holds(self, now: int) -> bool:
        """Whether the span covers that time."""
        return (self.low is None or self.low <= now) and (self.high is None or now < self.high)

    def within(self, other: Span) -> bool:
        """Whether the other span covers all of this one."""
        begins = other.low is None or (self.low is not None and other.low <= self.low)
        return begins and (other.high is None or (self.high is not None and self.high <= other.high))


ALWAYS = Span()


def span(period: Mapping[str, Any]) -> Span:
    """A FHIR Period: an end without time of day covers that day, an instant is the first moment no longer covered.

    Raises ValueError when a part of it is not a FHIR dateTime.
    """
    start, end = period.get("start"), period.get("end")
    low = date_range(_text(start), zone=PARIS)[0] if start is not None else None
    if end is None:
        return Span(low)
    beginning, following = date_range(_text(end), zone=PARIS)
    return Span(low, following if len(end) <= 10 else beginning)


def birthday(born: str, years: int) -> int:
    """The beginning of the day, in Paris, on which a person turns `years`: microseconds since 1970 UTC.

    `born` is a FHIR date, its first day when it is partial; who is born on a 29 February turns on a 28th (REC-T2).
    Raises ValueError when it is not a date.
    """
    first = date.fromisoformat((born + "-01-01")[:10] if len(born) < 10 else born[:10])
    try:
        day = first.replace(year=first.year + years)
    except ValueError:
        day = first.replace(year=first.year + years, day=28)
    return (datetime(day.year, day.month, day.day, tzinfo=PARIS) - _EPOCH) // timedelta(microseconds=1)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a FHIR date")
    return value
