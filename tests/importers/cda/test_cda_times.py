"""When a treatment is taken: periods, meals, courses with a width, sets of all of them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from importers.cda.texts import Texts
from importers.cda.times import course, end_after, is_schedule, timings
from importers.issues import Notes

HEAD = (
    '<root xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><t ID="q">2 fois par jour</t>'
)
EVENTS = "http://terminology.hl7.org/CodeSystem/v3-TimingEvent"


def effective_times(*written: str) -> tuple[list[etree._Element], Texts]:
    """The effectiveTime elements of a statement."""
    root = etree.fromstring(f"{HEAD}{''.join(written)}</root>")
    return [each for each in root if str(each.tag).endswith("effectiveTime")], Texts(root)


def timed(*written: str, bounds: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Their Timings."""
    elements, texts = effective_times(*written)
    return timings(elements, bounds or {}, Notes(), texts)


def pivl(content: str, attributes: str = "") -> str:
    """A PIVL_TS."""
    return f'<effectiveTime xsi:type="PIVL_TS" operator="A" {attributes}>{content}</effectiveTime>'


def eivl(code: str, content: str = "") -> str:
    """An EIVL_TS."""
    return f'<effectiveTime xsi:type="EIVL_TS" operator="A"><event code="{code}"/>{content}</effectiveTime>'


@pytest.mark.parametrize(
    ("xml", "repeat"),
    [
        (pivl('<period value="8" unit="h"/>'), {"frequency": 1, "period": 8, "periodUnit": "h"}),
        (
            pivl('<period value="8" unit="h"/>', 'institutionSpecified="true"'),
            {"frequency": 3, "period": 1, "periodUnit": "d"},
        ),
        (
            pivl('<period value="5" unit="h"/>', 'institutionSpecified="true"'),
            {"frequency": 1, "period": 5, "periodUnit": "h"},
        ),
        (
            pivl('<period><low value="4" unit="h"/><high value="6" unit="h"/></period>'),
            {"frequency": 1, "period": 4, "periodMax": 6, "periodUnit": "h"},
        ),
        (
            pivl('<frequency><numerator value="2"/><denominator value="1" unit="d"/></frequency>'),
            {"frequency": 2, "period": 1, "periodUnit": "d"},
        ),
        (
            pivl('<phase><width value="30" unit="min"/></phase><period value="1" unit="d"/>'),
            {"frequency": 1, "period": 1, "periodUnit": "d", "duration": 30, "durationUnit": "min"},
        ),
        (
            pivl('<phase><low value="20260101"/></phase><period value="1" unit="wk"/>'),
            {"boundsPeriod": {"start": "2026-01-01"}, "frequency": 1, "period": 1, "periodUnit": "wk"},
        ),
        (eivl("ACM"), {"when": ["ACM"]}),
        (eivl("PCD", '<offset><low value="30" unit="min"/></offset>'), {"when": ["PCD"], "offset": 30}),
        (eivl("C", '<offset><low value="-1" unit="h"/></offset>'), {"when": ["AC"], "offset": 60}),
        (eivl("CM", '<offset><low value="15" unit="min"/></offset>'), {"when": ["PCM"], "offset": 15}),
        (eivl("WAKE", '<offset><low value="-15" unit="min"/></offset>'), {"when": ["WAKE"]}),
    ],
)
def test_a_repetition_is_a_timing(xml: str, repeat: dict[str, Any]) -> None:
    """PIVL_TS and EIVL_TS, each form that occurs."""
    assert timed(xml) == [{"repeat": repeat}]


@pytest.mark.parametrize(
    "xml",
    [
        '<effectiveTime operator="A"/>',
        pivl('<period nullFlavor="UNK"/>', 'nullFlavor="UNK"'),
        '<effectiveTime operator="A"><event/></effectiveTime>',
        '<effectiveTime xsi:type="SXPR_TS"><comp/></effectiveTime>',
    ],
)
def test_a_schedule_that_says_nothing_is_no_timing(xml: str) -> None:
    """Empty elements and nullFlavors."""
    assert timed(xml) == []


def test_what_r4_has_no_word_for_is_told_by_a_code_or_a_text() -> None:
    """Between meals; a period in a unit that is no unit of time; zero."""
    assert timed(eivl("IC")) == [{"code": {"coding": [{"system": EVENTS, "code": "IC"}]}}]
    assert timed(pivl('<period value="2" unit="{cycle}"/>')) == [{"code": {"text": "2 {cycle}"}}]
    assert timed(pivl('<period value="0" unit="d"/>')) == [{"code": {"text": "0 d"}}]


def test_the_words_of_a_period_stand_beside_its_numbers() -> None:
    """The narrative says what the numbers may not."""
    wording = '<translation><originalText><reference value="#q"/></originalText></translation>'
    (found,) = timed(pivl(f'<period value="12" unit="h">{wording}</period>'))
    assert found == {"repeat": {"frequency": 1, "period": 12, "periodUnit": "h"}, "code": {"text": "2 fois par jour"}}


def test_a_set_is_one_timing_of_bounds_and_period() -> None:
    """SXPR_TS of an interval with a width and a period: the dosage line of a tapered dose."""
    comps = '<comp xsi:type="IVL_TS" operator="A"><low value="20211203"/><width value="4" unit="d"/></comp>'
    comps += '<comp xsi:type="PIVL_TS" operator="A"><period value="12" unit="h"/></comp>'
    (found,) = timed(f'<effectiveTime xsi:type="SXPR_TS">{comps}</effectiveTime>', bounds={"start": "2020"})
    period = {"start": "2021-12-03", "end": "2021-12-06"}
    assert found == {"repeat": {"boundsPeriod": period, "frequency": 1, "period": 12, "periodUnit": "h"}}


def test_two_periods_are_two_timings_and_two_meals_are_one() -> None:
    """One repetition of R4 has one period and any number of moments; offsets of several moments are not told."""
    assert len(timed(pivl('<period value="1" unit="d"/>'), pivl('<period value="1" unit="wk"/>'))) == 2
    both = timed(eivl("PCM", '<offset><low value="30" unit="min"/></offset>'), eivl("HS"))
    assert both == [{"repeat": {"when": ["PCM", "HS"]}}]


def test_a_schedule_lies_within_the_course_unless_it_has_its_own() -> None:
    """A width alone is a duration, a moment alone an event."""
    bounds = {"start": "2026-01-01", "end": "2026-01-08"}
    (found,) = timed(pivl('<period value="1" unit="d"/>'), bounds=bounds)
    assert found["repeat"]["boundsPeriod"] == bounds
    assert timed('<effectiveTime operator="A"><width value="5" unit="d"/></effectiveTime>') == [
        {"repeat": {"boundsDuration": {"value": 5, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"}}}
    ]
    assert timed('<effectiveTime operator="A" value="20200319120000+0100"/>') == [
        {"event": ["2020-03-19T12:00:00+01:00"]}
    ]


def test_the_course_is_what_is_no_schedule() -> None:
    """By content, not by xsi:type, which is often missing."""
    elements, _ = effective_times(
        '<effectiveTime><low value="20260101"/></effectiveTime>',
        '<effectiveTime value="20260101"/>',
        '<effectiveTime operator="A"/>',
        "<effectiveTime><period/></effectiveTime>",
    )
    assert [is_schedule(each) for each in elements] == [False, False, True, True]


@pytest.mark.parametrize(
    ("start", "width", "unit", "end"),
    [
        ("2021-12-01", 2, "d", "2021-12-02"),
        ("2021-12-01", 1, "wk", "2021-12-07"),
        ("2021-12-01", 48, "h", "2021-12-02"),
        ("2022-01-31", 1, "mo", "2022-02-27"),
        ("2022-03-01", 1, "a", "2023-02-28"),
        ("2021-12", 2, "mo", "2022-01"),
        ("2021", 2, "a", "2022"),
        ("2021-12-01T08:00:00+01:00", 36, "h", "2021-12-02T20:00:00+01:00"),
        ("2021-12-31T08:00:00+01:00", 2, "mo", "2022-02-28T08:00:00+01:00"),
        ("2021", 3, "mo", None),
        ("2021-12", 3, "d", None),
        ("2021-12-01", 6, "h", None),
        ("2021-12-01", 0, "d", None),
        ("2021-12-01", 1, "{cycle}", None),
        ("9999-12-31", 2, "d", None),
    ],
)
def test_the_end_of_a_course_is_reckoned_where_its_precision_tells_it(
    start: str, width: int, unit: str, end: str | None
) -> None:
    """The first day counts, so the next course begins on the day after."""
    assert end_after(start, Decimal(width), unit) == end


@given(st.dates(max_value=date(9000, 1, 1)), st.integers(1, 5000))
def test_days_in_a_row_are_as_many_as_the_width_says(start: date, width: int) -> None:
    """From the first to the last, both counted."""
    end = end_after(start.isoformat(), Decimal(width), "d")
    assert end
    assert date.fromisoformat(end) - start == timedelta(days=width - 1)


@given(
    st.datetimes(max_value=datetime(9000, 1, 1)).map(lambda each: each.replace(microsecond=0)), st.integers(1, 10**6)
)
def test_a_moment_moves_by_its_width_exactly(start: datetime, width: int) -> None:
    """Seconds are seconds."""
    end = end_after(f"{start.isoformat()}+02:00", Decimal(width), "s")
    assert end
    assert datetime.fromisoformat(end).replace(tzinfo=None) - start == timedelta(seconds=width)


def test_a_width_does_not_move_an_end_that_is_written() -> None:
    """The end of the document wins."""
    elements, _ = effective_times(
        '<effectiveTime><low value="2020"/><high value="2021"/><width value="9" unit="a"/></effectiveTime>'
    )
    assert course(elements[0], Notes()) == {"start": "2020", "end": "2021"}
