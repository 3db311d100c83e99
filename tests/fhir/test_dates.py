"""Dates are ranges of UTC microseconds as wide as they are precise: https://hl7.org/fhir/R4/datatypes.html#dateTime."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.dates import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    date_range,
    format_instant,
    is_date,
    is_date_time,
    is_instant,
    is_time,
    parse_instant,
    search_range,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
MOMENTS = st.datetimes(timezones=st.just(UTC))
ZONES = st.sampled_from([UTC, PARIS, ZoneInfo("America/Sao_Paulo"), ZoneInfo("Pacific/Kiritimati")])


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def utc(*parts: int) -> int:
    """Microseconds of a moment in UTC."""
    return micros(datetime(*parts, tzinfo=UTC))


# The calendar of FHIR, in the zones that are furthest apart.
FIRST, LAST = utc(1, 1, 1) - 14 * HOUR, utc(9999, 12, 31) + DAY + 14 * HOUR


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1970", 0, 365 * DAY),
        ("2024", utc(2024, 1, 1), utc(2025, 1, 1)),
        ("2024-02", utc(2024, 2, 1), utc(2024, 3, 1)),
        ("2023-02", utc(2023, 2, 1), utc(2023, 3, 1)),
        ("2024-12", utc(2024, 12, 1), utc(2025, 1, 1)),
        ("2024-02-29", utc(2024, 2, 29), utc(2024, 3, 1)),
        ("2024-05-01T10:00:00Z", utc(2024, 5, 1, 10), utc(2024, 5, 1, 10, 0, 1)),
        ("2024-05-01T10:00:00+02:00", utc(2024, 5, 1, 8), utc(2024, 5, 1, 8, 0, 1)),
        ("2024-05-01T00:30:00-05:30", utc(2024, 5, 1, 6), utc(2024, 5, 1, 6, 0, 1)),
        ("2024-05-01T10:00:00.5Z", utc(2024, 5, 1, 10, 0, 0, 500_000), utc(2024, 5, 1, 10, 0, 0, 600_000)),
        ("2024-05-01T10:00:00.123Z", utc(2024, 5, 1, 10, 0, 0, 123_000), utc(2024, 5, 1, 10, 0, 0, 124_000)),
        ("2024-05-01T10:00:00.123456Z", utc(2024, 5, 1, 10, 0, 0, 123_456), utc(2024, 5, 1, 10, 0, 0, 123_457)),
        ("2024-05-01T10:00:00.123456999Z", utc(2024, 5, 1, 10, 0, 0, 123_456), utc(2024, 5, 1, 10, 0, 0, 123_457)),
        ("2016-12-31T23:59:60Z", utc(2016, 12, 31, 23, 59, 59), utc(2017, 1, 1)),
        ("0001", utc(1, 1, 1), utc(2, 1, 1)),
        ("9999", utc(9999, 1, 1), utc(9999, 12, 31) + DAY),
        ("9999-12-31", utc(9999, 12, 31), utc(9999, 12, 31) + DAY),
        ("0001-01-01T00:00:00+14:00", utc(1, 1, 1) - 14 * HOUR, utc(1, 1, 1) - 14 * HOUR + SECOND),
    ],
)
def test_a_date_is_the_range_of_all_it_may_mean(text: str, low: int, high: int) -> None:
    """Year, month, day, second, fraction; offset applied; the leap second is the last second of its minute."""
    assert date_range(text) == (low, high)
    assert search_range(text) == (low, high)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=PARIS), datetime(2025, 1, 1, tzinfo=PARIS)),
        ("2026-03-29", datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)),
        ("2026-10-25", datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)),
    ],
)
def test_a_day_without_offset_is_a_day_of_the_zone(text: str, low: datetime, high: datetime) -> None:
    """In Paris the day the clocks change has 23 or 25 hours."""
    assert date_range(text, zone=PARIS) == (micros(low), micros(high))


def test_an_offset_prevails_over_the_zone() -> None:
    """The zone is for what says none."""
    text = "2024-05-01T10:00:00Z"
    assert date_range(text, zone=PARIS) == date_range(text)
    assert search_range("2024-05-01T10:00:00", zone=PARIS) == date_range("2024-05-01T10:00:00+02:00")


def test_the_last_day_of_the_calendar_ends_in_every_zone() -> None:
    """There is no next midnight to ask the zone about."""
    low, high = date_range("9999-12-31", zone=PARIS)
    assert high - low == DAY
    assert date_range("0001", zone=PARIS)[0] >= FIRST
    assert date_range("9999", zone=ZoneInfo("America/Sao_Paulo"))[1] <= LAST


WRONG = [
    "", "24", "202", "2024-", "2024-1", "2024-13", "2024-00", "2024-01-00", "2024-01-32", "2023-02-29", "2023-02-30",
    "1900-02-29", "2024-04-31", "0000", "0000-01-01", "20240101", "2024-01-01T", "2024-01-01T24:00:00Z",
    "2024-01-01T10:00:61Z", "2024-01-01T10:00:00.Z", "2024-01-01T10:00:00+15:00", "2024-01-01T10:00:00+14:30",
    "2024-01-01T10:00:00+0200", "2024-01-01 10:00:00Z", "2024-01-01T10:00:00z", "2024-01-01T1:00:00Z",
    "2024-01T10:00:00Z", " 2024", "2024\n", "２０２４", "2023-02-30T10:00:00Z", "-2024", "now",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_date_is_refused_everywhere(text: str) -> None:
    """Days that do not exist, forms R4 does not have."""
    assert not is_date(text)
    assert not is_date_time(text)
    assert not is_instant(text)
    with pytest.raises(ValueError):
        date_range(text)
    with pytest.raises(ValueError):
        search_range(text)
    with pytest.raises(ValueError):
        parse_instant(text)


@pytest.mark.parametrize(
    "text", ["2024-01-01T10:00Z", "2024-01-01T10:00", "2024-01-01T10:00:00", "2024-01-01T10:00:00.5"]
)
def test_a_search_may_leave_out_seconds_and_offset_and_a_resource_may_not(text: str) -> None:
    """https://hl7.org/fhir/R4/search.html#date against the formats of dateTime."""
    low, high = search_range(text)
    assert low == utc(2024, 1, 1, 10) + (SECOND // 2 if "." in text else 0)
    assert high - low == {16: MINUTE, 17: MINUTE, 19: SECOND, 21: SECOND // 10}[len(text)]
    assert not is_date_time(text)
    with pytest.raises(ValueError):
        date_range(text)


def test_each_type_takes_its_own_forms() -> None:
    """A date has no time, an instant is never partial, a dateTime is either."""
    for text in ("2024", "2024-05", "2024-05-01"):
        assert (is_date(text), is_date_time(text), is_instant(text)) == (True, True, False)
    for text in ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00.1-11:00"):
        assert (is_date(text), is_date_time(text), is_instant(text)) == (False, True, True)


@pytest.mark.parametrize("text", ["00:00:00", "10:30:15", "10:30:15.25", "23:59:60"])
def test_a_time_has_seconds(text: str) -> None:
    """With any fraction, and a leap second."""
    assert is_time(text)


@pytest.mark.parametrize("text", ["10:30", "24:00:00", "10:30:15Z", "1:30:15", "10:30:15.", "", "10:61:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Seconds are there, offsets are not."""
    assert not is_time(text)


def test_an_instant_is_written_in_24_characters() -> None:
    """Always UTC, always milliseconds, cut and not rounded."""
    assert format_instant(utc(2026, 11, 22, 1, 26, 2, 123_999)) == "2026-11-22T01:26:02.123Z"
    assert format_instant(0) == "1970-01-01T00:00:00.000Z"
    assert format_instant(-1) == "1969-12-31T23:59:59.999Z"
    with pytest.raises((ValueError, OverflowError)):
        format_instant(utc(9999, 12, 31) + DAY)


@given(MOMENTS)
def test_writing_and_reading_an_instant_loses_less_than_a_millisecond(moment: datetime) -> None:
    """For every moment of the calendar."""
    text = format_instant(micros(moment))
    assert len(text) == 24
    assert is_instant(text)
    assert parse_instant(text) == micros(moment) // 1000 * 1000
    assert date_range(text) == (parse_instant(text), parse_instant(text) + 1000)


@given(MOMENTS, st.integers(-14 * 60, 14 * 60), st.integers(0, 6))
def test_the_range_of_a_moment_is_what_the_standard_library_says(moment: datetime, minutes: int, digits: int) -> None:
    """Whatever its offset and the digits of its fraction."""
    if not datetime(1, 1, 3, tzinfo=UTC) < moment < datetime(9999, 12, 29, tzinfo=UTC):
        moment = moment.replace(year=2024)
    local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    sign, size = ("-", -minutes) if minutes < 0 else ("+", minutes)
    fraction = f".{local.microsecond:06}"[: digits + 1] if digits else ""
    text = f"{local:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f"{fraction}{sign}{size // 60:02}:{size % 60:02}"
    width = 10 ** (6 - digits)
    low = micros(moment) // width * width
    assert date_range(text) == (low, low + width)


@given(st.dates(), ZONES)
def test_days_follow_one_another_and_fill_months_and_years(day: date, zone: ZoneInfo) -> None:
    """In every zone a day begins where the one before ends, within its month, within its year."""
    text = day.isoformat()
    low, high = date_range(text, zone=zone)
    month = date_range(text[:7], zone=zone)
    year = date_range(text[:4], zone=zone)
    assert year[0] <= month[0] <= low < high <= month[1] <= year[1]
    if day < date.max:
        assert date_range((day + timedelta(days=1)).isoformat(), zone=zone)[0] == high
    assert low >= FIRST
    assert high <= LAST


@given(st.integers(0, 10_500), st.integers(0, 14), st.integers(0, 33))
def test_a_day_is_one_exactly_when_the_calendar_has_it(year: int, month: int, day: int) -> None:
    """The check without a calendar agrees with the calendar."""
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        exists = len(text) == 10 and bool(date(year, month, day))
    except ValueError:
        exists = False
    assert is_date(text) is exists
    assert is_instant(text + "T00:00:00Z") is exists


@given(st.text(max_size=30) | st.from_regex(r"[0-9T:.Z+-]{0,30}", fullmatch=True))
def test_any_text_is_a_date_or_a_value_error(text: str) -> None:
    """And the checks say the same as the ranges."""
    for check, parse in ((is_date_time, date_range), (is_instant, parse_instant)):
        try:
            parse(text)
        except ValueError:
            assert not check(text)
        else:
            assert check(text)
