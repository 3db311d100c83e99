"""Dates, dateTimes and times of FHIRPath: as precise as they are written (https://hl7.org/fhirpath/N1/#datetime)."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

Kind = Literal["Date", "DateTime", "Time"]

_CLOCK = r"([01]\d|2[0-3])(?::([0-5]\d)(?::([0-5]\d|60)(?:\.(\d+))?)?)?"
_DAY = r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?"
_ZONE = r"(Z|[+-](?:0\d|1[0-4]):[0-5]\d)"
_MOMENT = re.compile(rf"{_DAY}(?:T(?:{_CLOCK}{_ZONE}?)?)?", re.ASCII).fullmatch
_TIME = re.compile(_CLOCK, re.ASCII).fullmatch

YEAR, MONTH, DAY, HOUR, MINUTE, SECOND = range(6)
# How far two clocks can be apart whose offset is not known: from -12:00 to +14:00.
_FARTHEST: Final = timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class Moment:
    """`fields`: year, month, day, hour, minute and second as far as they are written; a Time has no first three (0).

    The second is a Decimal with the digits of its fraction, since seconds and milliseconds are one precision.
    `offset` is in minutes, None where none is written.
    """

    kind: Kind
    fields: tuple[int | Decimal, ...]
    offset: int | None = None

    def __str__(self) -> str:
        day = "-".join(f"{part:0{4 if position == 0 else 2}}" for position, part in enumerate(self.fields[:3]))
        clock = ":".join(_digits(part) for part in self.fields[3:])
        if self.kind == "Time":
            return clock
        return day + ("T" + clock + _zone(self.offset) if clock else "")

    @property
    def precision(self) -> int:
        """The place of the last field that is written: YEAR to SECOND."""
        return len(self.fields) - 1

    def whole(self) -> datetime:
        """The first microsecond of the moment, on its own clock."""
        year, month, day, hour, minute, second = (Decimal(part) for part in (*self.fields, *_FIRST[len(self.fields) :]))
        start = datetime(int(year) or 1, int(month) or 1, int(day) or 1, int(hour), int(minute))
        return start + timedelta(microseconds=int(min(second, _LAST_SECOND) * 1_000_000))


_FIRST: Final = (1, 1, 1, 0, 0, 0)
_LAST_SECOND: Final = Decimal("59.999999")


def parse_moment(text: str, kind: Kind) -> Moment | None:
    """The moment a text says, None if it says none. A Date may not have a time, a Time has no day and no offset."""
    if kind == "Time":
        found = _TIME(text)
        return Moment(kind, (0, 0, 0, *_clock(found.groups()))) if found else None
    found = _MOMENT(text)
    if found is None or (kind == "Date" and "T" in text) or not _exists(found):
        return None
    day = tuple(int(part) for part in found.groups()[:3] if part)
    clock = _clock(found.groups()[3:7])
    if clock and len(day) < 3:
        return None
    return Moment(kind, (*day, *clock), _minutes(found[8]))


def compare(left: Moment, right: Moment) -> int | None:
    """-1, 0 or 1; None where the one is not as precise as the other and what both say is equal.

    With an offset on one side only, they are compared if no offset of the other could change the answer.
    """
    if left.offset is not None and right.offset is not None and left.offset != right.offset:
        left, right = in_utc(left), in_utc(right)
    elif (left.offset is None) != (right.offset is None) and min(left.precision, right.precision) >= HOUR:
        apart = left.whole() - right.whole()
        if abs(apart) <= _FARTHEST:
            return None
    for one, other in zip(left.fields, right.fields, strict=False):
        if one != other:
            return -1 if one < other else 1
    return 0 if left.precision == right.precision else None


def in_utc(moment: Moment) -> Moment:
    """The same moment with the offset Z, as precise as before; as it is without offset, or at the calendar's ends."""
    if not moment.offset or moment.precision < HOUR:
        return moment
    try:
        return replace(_shifted(moment, timedelta(minutes=-moment.offset)), offset=0)
    except OverflowError:
        return moment


def add(moment: Moment, amount: Decimal, unit: str) -> Moment | None:
    """The moment so many calendar units later; None where it leaves the calendar.

    A fraction is dropped, but of a second; a unit finer than the moment is counted in the moment's own
    (https://hl7.org/fhirpath/N1/#datetime-arithmetic).
    """
    try:
        if unit in ("year", "month"):
            return _add_months(moment, int(amount) * (12 if unit == "year" else 1))
        return _add_time(moment, amount, unit)
    except (OverflowError, ValueError):
        return None


def _add_months(moment: Moment, months: int) -> Moment:
    if moment.precision == YEAR:
        return _checked(replace(moment, fields=(int(moment.fields[0]) + int(months / 12),)))
    year, month = divmod(int(moment.fields[0]) * 12 + int(moment.fields[1]) - 1 + months, 12)
    rest = moment.fields[2:]
    if rest and 1 <= year <= 9999:
        rest = (min(int(rest[0]), monthrange(year, month + 1)[1]), *rest[1:])
    return _checked(replace(moment, fields=(year, month + 1, *rest)))


def _checked(moment: Moment) -> Moment:
    if not 1 <= moment.fields[0] <= 9999:
        raise OverflowError
    return moment


_UNIT_SECONDS: Final = {
    "week": Decimal(604_800),
    "day": Decimal(86_400),
    "hour": Decimal(3_600),
    "minute": Decimal(60),
    "second": Decimal(1),
    "millisecond": Decimal("0.001"),
}


def _add_time(moment: Moment, amount: Decimal, unit: str) -> Moment:
    if unit not in ("second", "millisecond"):
        amount = Decimal(int(amount))
    seconds = amount * _UNIT_SECONDS[unit]
    if moment.precision == YEAR:
        return _add_months(moment, int(seconds / (365 * 86_400)) * 12)
    if moment.precision == MONTH:
        return _add_months(moment, int(seconds / (30 * 86_400)))
    own = {DAY: 86_400, HOUR: 3_600, MINUTE: 60}.get(moment.precision)
    if own:
        seconds = Decimal(int(seconds / own) * own)
    return _shifted(moment, timedelta(microseconds=int(seconds * 1_000_000)))


def _shifted(moment: Moment, delta: timedelta) -> Moment:
    """The moment later by so much, with the fields and the digits it had."""
    if moment.kind == "Time":
        delta %= timedelta(days=1)
    later = moment.whole() + delta
    fields: tuple[int | Decimal, ...] = (later.year, later.month, later.day, later.hour, later.minute)
    if moment.precision == SECOND:
        digits = max(-int(Decimal(moment.fields[SECOND]).as_tuple().exponent), 0)
        second = later.second + Decimal(later.microsecond) / 1_000_000
        fields = (*fields, Decimal(int(second * 10**digits)).scaleb(-digits))
    if moment.kind == "Time":
        fields = (0, 0, 0, *fields[3:])
    return replace(moment, fields=fields[: len(moment.fields)])


def _clock(parts: tuple[str | None, ...]) -> tuple[int | Decimal, ...]:
    hour, minute, second, fraction = parts[:4]
    clock: list[int | Decimal] = [int(part) for part in (hour, minute) if part is not None]
    if second is not None:
        clock.append(Decimal(f"{second}.{fraction}" if fraction else second))
    return tuple(clock)


def _minutes(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    size = int(zone[1:3]) * 60 + int(zone[4:6])
    return -size if zone[0] == "-" else size


def _zone(offset: int | None) -> str:
    if offset is None:
        return ""
    if offset == 0:
        return "Z"
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


def _digits(part: int | Decimal) -> str:
    """Two digits, and those of the fraction."""
    whole, dot, fraction = f"{part:f}".partition(".") if isinstance(part, Decimal) else (str(part), "", "")
    return f"{int(whole):02}{dot}{fraction}"


def _exists(found: re.Match[str]) -> bool:
    year, month, day = (int(part) if part else 0 for part in found.groups()[:3])
    return year > 0 and (not day or day <= monthrange(year, month)[1])
