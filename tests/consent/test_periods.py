"""Days are days in Paris, ends of days are covered, instants are not (access §3.4, record REC-T2)."""

from __future__ import annotations

import pytest

from fhir_server.consent.periods import Span, birthday, span
from fhir_server.fhir.dates import date_range


def _at(text: str) -> int:
    return date_range(text)[0]


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ({}, Span()),
        ({"start": "2026-01-10"}, Span(_at("2026-01-09T23:00:00Z"))),
        ({"end": "2026-01-10"}, Span(None, _at("2026-01-10T23:00:00Z"))),
        ({"end": "2026-07"}, Span(None, _at("2026-07-31T22:00:00Z"))),
        ({"start": "2026", "end": "2026"}, Span(_at("2025-12-31T23:00:00Z"), _at("2026-12-31T23:00:00Z"))),
        ({"end": "2026-01-10T12:00:00+01:00"}, Span(None, _at("2026-01-10T11:00:00Z"))),
    ],
)
def test_a_period_is_a_span(period: dict[str, str], expected: Span) -> None:
    """The low end is inside, the high end is not."""
    assert span(period) == expected


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        (Span(), Span(), True),
        (Span(1, 2), Span(), True),
        (Span(), Span(1, None), False),
        (Span(), Span(None, 2), False),
        (Span(1, 2), Span(1, 2), True),
        (Span(0, 2), Span(1, 2), False),
        (Span(1, 3), Span(1, 2), False),
        (Span(1, None), Span(1, 2), False),
    ],
)
def test_a_span_is_within_another_that_covers_all_of_it(inner: Span, outer: Span, expected: bool) -> None:
    """An open end is within an open end only."""
    assert inner.within(outer) is expected


@pytest.mark.parametrize("period", [{"start": "yesterday"}, {"end": 5}, {"end": "2026-02-30"}, {"start": ["2026"]}])
def test_what_is_not_a_date_is_refused(period: dict[str, object]) -> None:
    """ValueError, whatever it is."""
    with pytest.raises(ValueError):
        span(period)


@pytest.mark.parametrize(
    ("born", "at"),
    [
        ("2008-06-15", "2026-06-15T00:00:00+02:00"),
        ("2008-02-29", "2026-02-28T00:00:00+01:00"),
        ("2006-02-28", "2024-02-28T00:00:00+01:00"),
        ("2008-06", "2026-06-01T00:00:00+02:00"),
        ("2008", "2026-01-01T00:00:00+01:00"),
    ],
)
def test_majority_begins_with_the_eighteenth_birthday_in_paris(born: str, at: str) -> None:
    """Born on a 29 February: on the 28th; a partial date is taken at its beginning, the protective reading."""
    assert birthday(born, 18) == _at(at)
