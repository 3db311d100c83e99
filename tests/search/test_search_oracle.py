"""Extraction, parsing and matching together, against small oracles that look at the resource themselves.

Each oracle is written from R4's own words and shares no code with the search.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.parse import parse
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"


def found(registry: SearchRegistry, resource: dict[str, Any], name: str, value: str) -> bool:
    """Whether the search finds the resource."""
    type_ = resource["resourceType"]
    where = parse(registry, (type_,), [(name, value)], strict=True, base_url=BASE).plan.where
    return holds(where, Row(Facts(type_, "1", "record"), extract(registry, type_, resource, BASE), 0))


# Tokens

SYSTEMS = st.sampled_from(["http://a", "http://b|c", "urn:oid:1.2"])
CODES = st.sampled_from(["x", "X", "y", "x,y", "a|b", "$", "\\", "x\\"])
CODINGS = st.fixed_dictionaries({"code": CODES}, optional={"system": SYSTEMS})


def escaped(text: str) -> str:
    for character in "\\|,$":
        text = text.replace(character, "\\" + character)
    return text


@given(
    st.lists(CODINGS, max_size=3), st.lists(st.tuples(st.none() | st.just("") | SYSTEMS, CODES), min_size=1, max_size=3)
)
def test_tokens_are_found_by_code_and_system(
    registry: SearchRegistry, codings: list[dict[str, str]], asked: list[tuple[str | None, str]]
) -> None:
    """No system: any; an empty one: none; else that one. Comma: or. :not: none of them, codeless resources too."""
    resource = {"resourceType": "Observation", "code": {"coding": codings}}
    expected = any(
        coding["code"] == code and (system is None or coding.get("system", "") == system)
        for coding in codings
        for system, code in asked
    )
    value = ",".join(
        escaped(code) if system is None else f"{escaped(system)}|{escaped(code)}" for system, code in asked
    )
    assert found(registry, resource, "code", value) is expected
    assert found(registry, resource, "code:not", value) is not expected


@given(st.lists(CODINGS, max_size=3), SYSTEMS)
def test_tokens_are_found_by_system_alone(registry: SearchRegistry, codings: list[dict[str, str]], system: str) -> None:
    """`system|`: any code of it."""
    resource = {"resourceType": "Observation", "code": {"coding": codings}}
    expected = any(coding.get("system") == system for coding in codings)
    assert found(registry, resource, "code", f"{escaped(system)}|") is expected


@given(st.sampled_from([{}, {"code": {}}, {"code": {"text": "x"}}, {"code": {"coding": [{"code": "x"}]}}]))
def test_missing_is_the_contrary_of_not_missing(registry: SearchRegistry, elements: dict[str, Any]) -> None:
    """An element with text alone is there."""
    resource = {"resourceType": "Observation", **elements}
    there = bool(elements.get("code"))
    assert found(registry, resource, "code:missing", "false") is there
    assert found(registry, resource, "code:missing", "true") is not there


# Strings

NAMES = st.text(alphabet="aAbBéÉ", min_size=1, max_size=4)


def base_letters(text: str) -> str:
    return text.lower().replace("é", "e")


@given(st.lists(NAMES, max_size=3), NAMES)
def test_strings_are_found_whatever_their_case_and_accents(
    registry: SearchRegistry, given_names: list[str], asked: str
) -> None:
    """By their beginning, with :contains anywhere, with :exact as they are."""
    resource = {"resourceType": "Patient", "name": [{"given": given_names}]}
    plain, wanted = [base_letters(each) for each in given_names], base_letters(asked)
    assert found(registry, resource, "given", asked) is any(each.startswith(wanted) for each in plain)
    assert found(registry, resource, "given:contains", asked) is any(wanted in each for each in plain)
    assert found(registry, resource, "given:exact", asked) is (asked in given_names)


# Dates


@st.composite
def fhir_dates(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A FHIR date around March 2024 and the moments [from, to) that it covers."""
    moment = draw(st.datetimes(datetime(2024, 2, 27), datetime(2024, 3, 2))).replace(microsecond=0)
    width = draw(st.sampled_from(["year", "month", "day", "second"]))
    if width == "year":
        return f"{moment:%Y}", datetime(moment.year, 1, 1), datetime(moment.year + 1, 1, 1)
    if width == "month":
        first = moment.replace(day=1, hour=0, minute=0, second=0)
        days = calendar.monthrange(moment.year, moment.month)[1]
        return f"{moment:%Y-%m}", first, first + timedelta(days=days)
    if width == "day":
        midnight = moment.replace(hour=0, minute=0, second=0)
        return f"{moment:%Y-%m-%d}", midnight, midnight + timedelta(days=1)
    offset = draw(st.integers(-12, 12))
    zone = f"{offset:+03}:00"
    return f"{moment:%Y-%m-%dT%H:%M:%S}{zone}", *(
        moment - timedelta(hours=offset) + timedelta(seconds=each) for each in (0, 1)
    )


EVER, NEVER = datetime.max, datetime.min


@given(fhir_dates(), fhir_dates(), st.sampled_from(["date", "start", "end", "both"]), fhir_dates())
def test_dates_compare_by_the_words_of_r4(
    registry: SearchRegistry,
    one: tuple[str, datetime, datetime],
    other: tuple[str, datetime, datetime],
    form: str,
    asked: tuple[str, datetime, datetime],
) -> None:
    """The search's range contains, lies below or above, or overlaps the target's; periods may be open."""
    text, low, high = one
    resource: dict[str, Any] = {"resourceType": "Observation"}
    if form == "date":
        resource["effectiveDateTime"] = text
    else:
        period = {"start": text} if form != "end" else {}
        if form == "start":
            high = EVER
        elif form == "end":
            period["end"], low = text, NEVER
        elif other[2] > low:
            period["end"], high = other[0], other[2]
        else:
            high = EVER
        resource["effectivePeriod"] = period
    value, start, stop = asked
    contained = start <= low and high <= stop
    above, below = high > stop, low < start
    expected = {
        "": contained,
        "eq": contained,
        "ne": not contained,
        "gt": above,
        "lt": below,
        "ge": above or contained,
        "le": below or contained,
        "sa": low >= stop,
        "eb": high <= start,
    }
    for prefix, answer in expected.items():
        assert found(registry, resource, "date", prefix + value) is answer, prefix
    if low < stop and start < high:
        assert found(registry, resource, "date", "ap" + value)


@given(fhir_dates(), st.integers(0, 10**6 - 1), fhir_dates())
def test_the_last_change_is_a_point_in_time(
    registry: SearchRegistry, moment: tuple[str, datetime, datetime], micro: int, asked: tuple[str, datetime, datetime]
) -> None:
    """It lies before, in or after what is asked for."""
    at = moment[1] + timedelta(microseconds=micro)
    time = (at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    value, start, stop = asked
    expected = {
        "eq": start <= at < stop,
        "ne": not start <= at < stop,
        "gt": at >= stop,
        "sa": at >= stop,
        "ge": at >= start,
        "lt": at < start,
        "eb": at < start,
        "le": at < stop,
    }
    for prefix, answer in expected.items():
        where = parse(registry, ("Patient",), [("_lastUpdated", prefix + value)], strict=True, base_url=BASE).plan.where
        row = Row(Facts("Patient", "1", "record"), extract(registry, "Patient", {}, BASE), time)
        assert holds(where, row) is answer, prefix


# Numbers

DECIMALS = st.decimals(-1000, 1000, places=2) | st.integers(-1000, 1000).map(Decimal)


@given(DECIMALS, DECIMALS, st.sampled_from(["mg", "g", None]))
def test_numbers_compare_by_the_digits_that_are_asked_for(
    registry: SearchRegistry, value: Decimal, asked: Decimal, unit: str | None
) -> None:
    """Equality to half a unit of the last digit, order exactly; a unit that is asked for must be that of the value."""
    quantity: dict[str, Any] = {"value": float(value), "system": "http://x", "code": "mg"}
    resource = {"resourceType": "Observation", "valueQuantity": quantity}
    half = Decimal("0.005") if "." in str(asked) else Decimal("0.5")
    equal = asked - half <= value < asked + half
    expected = {
        "eq": equal,
        "ne": not equal,
        "gt": value > asked,
        "lt": value < asked,
        "ge": value >= asked,
        "le": value <= asked,
        "sa": value > asked,
        "eb": value < asked,
    }
    suffix = f"|http://x|{unit}" if unit else ""
    for prefix, answer in expected.items():
        assert found(registry, resource, "value-quantity", f"{prefix}{asked}{suffix}") is (answer and unit != "g")


# References

IDS = st.sampled_from(["1", "2", "a-b.c"])
TYPES = st.sampled_from(["Patient", "Group", "Device"])
FORMS = st.sampled_from(["{}", BASE + "/{}", "{}/_history/3", BASE + "/{}/_history/3"])
FOREIGN = st.sampled_from(["http://elsewhere/fhir/{}", "http://localhost/fhir2/{}"])


@given(TYPES, IDS, FORMS | FOREIGN, TYPES, IDS, FORMS | FOREIGN)
def test_references_are_found_however_they_are_written(
    registry: SearchRegistry, type_: str, id: str, form: str, asked_type: str, asked_id: str, asked_form: str
) -> None:
    """Relative or absolute on this server, with or without version; elsewhere is elsewhere."""
    resource = {"resourceType": "Observation", "subject": {"reference": form.format(f"{type_}/{id}")}}

    def place(written: str) -> str:
        return written.partition("{}")[0].removesuffix("/") or BASE

    same = (place(form), type_, id) == (place(asked_form), asked_type, asked_id)
    assert found(registry, resource, "subject", asked_form.format(f"{asked_type}/{asked_id}")) is same
    assert found(registry, resource, "subject", asked_id) is (place(form) == BASE and id == asked_id)
    here = place(form) == BASE and (type_, id) == (asked_type, asked_id)
    assert found(registry, resource, f"subject:{asked_type}", asked_id) is here
    assert found(registry, resource, "patient", asked_id) is (
        place(form) == BASE and (type_, id) == ("Patient", asked_id)
    )
