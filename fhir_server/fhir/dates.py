"""FHIR date, dateTime, instant and time as half-open ranges of UTC microseconds (https://hl7.org/fhir/R4/datatypes.html).

A range is `(low, high)`: the value covers every microsecond `low <= t < high` since 1970-01-01T00:00:00Z, as wide as
its precision: `2024` a year, `2024-05-01T10:00:00.25Z` a hundredth of a second. A value without offset is read in the
`zone` of the caller. A leap second (`23:59:60`, which R4 allows) is taken as the second before it, so that it stays in
its minute and day; digits beyond the microsecond are dropped.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

DateRange = tuple[int, int]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = date(1970, 1, 1).toordinal()

_YEAR = r"(?!0000)(\d{4})"
_DAY = r"-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_SECONDS = r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
_OFFSET = r"(Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"

_DATE = re.compile(rf"{_YEAR}(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?", re.ASCII).fullmatch
_INSTANT = re.compile(rf"{_YEAR}{_DAY}T{_SECONDS}{_OFFSET}", re.ASCII).fullmatch
_TIME = re.compile(_SECONDS, re.ASCII).fullmatch
# What a search may say besides: no offset, no seconds (https://hl7.org/fhir/R4/search.html#date).
_MOMENT = re.compile(
    rf"{_YEAR}{_DAY}T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60)(?:\.(\d+))?)?{_OFFSET}?", re.ASCII
).fullmatch


def is_date(text: str) -> bool:
    """Whether the text is a FHIR date (`2024`, `2024-05`, `2024-05-01`) of a day that exists."""
    found = _DATE(text)
    return found is not None and (len(text) < 10 or _exists(text))


def is_date_time(text: str) -> bool:
    """Whether the text is a FHIR dateTime: a date, or a day with time to the second and an offset."""
    return is_date(text) if len(text) <= 10 else is_instant(text)


def is_instant(text: str) -> bool:
    """Whether the text is a FHIR instant: a day that exists, a time to the second or finer, an offset."""
    return _INSTANT(text) is not None and _exists(text)


def is_time(text: str) -> bool:
    """Whether the text is a FHIR time of day, `hh:mm:ss` with any fraction."""
    return _TIME(text) is not None


def date_range(text: str, *, zone: tzinfo = UTC) -> DateRange:
    """The range of a FHIR date, dateTime or instant; ValueError if it is none of them."""
    found = _DATE(text)
    if found:
        return _days(found.groups(), zone)
    found = _INSTANT(text)
    if found:
        return _moment(found.groups(), zone)
    raise ValueError("not a FHIR date")


def search_range(text: str, *, zone: tzinfo = UTC) -> DateRange:
    """The range of a date in a search, where seconds and offset may be left out; ValueError if it is none."""
    found = _DATE(text)
    if found:
        return _days(found.groups(), zone)
    found = _MOMENT(text)
    if found:
        return _moment(found.groups(), zone)
    raise ValueError("not a FHIR date")


def parse_instant(text: str) -> int:
    """The UTC microseconds of a FHIR instant; ValueError if it is none."""
    found = _INSTANT(text)
    if not found:
        raise ValueError("not a FHIR instant")
    return _moment(found.groups(), UTC)[0]


def format_instant(microseconds: int) -> str:
    """The instant `2026-11-22T01:26:02.123Z` of UTC microseconds: always 24 characters, cut to the millisecond.

    OverflowError or ValueError outside the years 1 to 9999.
    """
    days, rest = divmod(microseconds, DAY)
    day = date.fromordinal(days + _EPOCH).isoformat()
    milliseconds = rest // 1000
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{day}T{hour:02}:{minute:02}:{second:02}.{thousandths:03}Z"


def _exists(text: str) -> bool:
    """Whether the day `yyyy-mm-dd` that the text begins with is in the calendar; its month and day look right."""
    if text[8] < "3" and text[8:10] != "29":
        return True
    try:
        date(int(text[:4]), int(text[5:7]), int(text[8:10]))
    except ValueError:
        return False
    return True


def _days(parts: tuple[str | None, ...], zone: tzinfo) -> DateRange:
    """The range of a year, a month or a day."""
    year, month, day = (int(part) if part else 0 for part in parts)
    first = date(year, month or 1, day or 1).toordinal()
    if day:
        following = first + 1
    elif month:
        following = first + _days_in(year, month)
    else:
        following = date(year, 12, 31).toordinal() + 1
    return _midnight(first, zone), _midnight(following, zone)


def _days_in(year: int, month: int) -> int:
    """How many days the month has."""
    if month == 12:
        return 31
    return date(year, month + 1, 1).toordinal() - date(year, month, 1).toordinal()


def _midnight(ordinal: int, zone: tzinfo) -> int:
    """The UTC microseconds at which the day begins in the zone."""
    utc = (ordinal - _EPOCH) * DAY
    if zone is UTC:
        return utc
    # The day after 9999-12-31 has no datetime of its own: it begins with the offset of that day.
    return utc - _offset_of_day(min(ordinal, date.max.toordinal()), zone)


@lru_cache(maxsize=4096)
def _offset_of_day(ordinal: int, zone: tzinfo) -> int:
    """How far the clock of the zone is ahead of UTC as the day begins, in microseconds."""
    day = date.fromordinal(ordinal)
    return _offset(datetime(day.year, day.month, day.day, tzinfo=zone))


def _moment(parts: tuple[str | None, ...], zone: tzinfo) -> DateRange:
    """The range of a day with a time, in its own offset or in the zone."""
    year, month, day, hour, minute, second, fraction, offset = parts
    that_day = date(int(year or 0), int(month or 0), int(day or 0))
    low, high = _of_day(hour, minute, second, fraction)
    start = (that_day.toordinal() - _EPOCH) * DAY
    if offset is None:
        clock = datetime(that_day.year, that_day.month, that_day.day, int(hour or 0), int(minute or 0), tzinfo=zone)
        start -= _offset(clock)
    elif offset != "Z":
        start -= _of_offset(offset)
    return start + low, start + high


def _of_day(hour: str | None, minute: str | None, second: str | None, fraction: str | None) -> DateRange:
    """The range since midnight of a time of day, a minute wide without second."""
    low = int(hour or 0) * HOUR + int(minute or 0) * MINUTE
    if second is None:
        return low, low + MINUTE
    low += min(int(second), 59) * SECOND
    if fraction is None:
        return low, low + SECOND
    digits = fraction[:6]
    width = 10 ** (6 - len(digits))
    low += int(digits) * width
    return low, low + width


def _of_offset(offset: str) -> int:
    """The microseconds of `+02:00`."""
    size = int(offset[1:3]) * HOUR + int(offset[4:6]) * MINUTE
    return -size if offset[0] == "-" else size


def _offset(clock: datetime) -> int:
    """How far the clock is ahead of UTC, in microseconds."""
    ahead = clock.utcoffset() or timedelta()
    return ahead // timedelta(microseconds=1)
