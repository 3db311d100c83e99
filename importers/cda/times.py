"""The HL7 v3 data types of repetition as FHIR Timing: PIVL_TS, EIVL_TS, SXPR_TS, and the intervals that bound them.

What a type is, is told by what it holds (a period, an event, components, ends), so that a missing or wrong `xsi:type`
loses nothing. Source: HL7 v3 Data Types R1, https://hl7.org/fhir/R4/datatypes.html#Timing, importers page §6.15.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from lxml import etree

from fhir_server.fhir.ucum import canonical
from importers.cda.datatypes import date_time, period
from importers.cda.elements import attribute, child, children, descendant
from importers.cda.quantities import number, quantity
from importers.cda.texts import Texts
from importers.issues import Notes

TIMING_EVENT: Final = "http://terminology.hl7.org/CodeSystem/v3-TimingEvent"

_UNITS: Final = {each: each for each in ("s", "min", "h", "d", "wk", "mo", "a")} | {"mo_j": "mo", "a_j": "a"}
_EVENTS: Final = frozenset(("HS", "WAKE", "C", "CM", "CD", "CV", "AC", "ACM", "ACD", "ACV", "PC", "PCM", "PCD", "PCV"))
_MEALS: Final = frozenset(("C", "CM", "CD", "CV"))
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400, "wk": 604800}
_MONTHS: Final = {"mo": 1, "a": 12}
_MAX_COUNT: Final = 2**31


Timing = dict[str, Any]


def is_schedule(element: etree._Element) -> bool:
    """Whether an effectiveTime says when within the treatment, and not how long the treatment is.

    Of two, the second is a schedule by its `operator` whatever it holds.
    """
    repeats = any(child(element, name) is not None for name in ("period", "frequency", "phase", "event", "comp"))
    return repeats or attribute(element, "operator") is not None


def course(element: etree._Element | None, notes: Notes) -> dict[str, str]:
    """An IVL_TS as a Period; where it has a width for its other end, that end is reckoned."""
    if element is None:
        return {}
    found = period(element, notes)
    if not len(element):
        return found
    width = quantity(child(element, "width"))
    if width and "start" in found and "end" not in found:
        end = end_after(found["start"], width["value"], width.get("unit", ""))
        return {**found, "end": end} if end else found
    return found


def timings(elements: Iterable[etree._Element], bounds: dict[str, str], notes: Notes, texts: Texts) -> list[Timing]:
    """The Timings that some schedules say together; each within `bounds` unless it says its own.

    Several periods are several Timings, since one repetition of FHIR has one period; empty where nothing is said.
    """
    parts = [part for each in elements for part in _parts(each)]
    events = [part for part in parts if child(part, "event") is not None]
    periods = [part for part in parts if any(child(part, name) is not None for name in ("period", "frequency"))]
    rest = [part for part in parts if part not in events and part not in periods]
    limits = _bounds(rest, notes)
    own = limits or ({"boundsPeriod": bounds} if bounds else _begun(periods, notes))
    moments = [found for each in rest if (found := date_time(each, notes))] if not limits else []
    shared = [_at(each) for each in events]
    made = [_merged(own, *shared, _every(each, texts)) for each in periods] or [_merged(own, *shared)]
    made[0]["event"] = moments
    return [each for each in ({name: part for name, part in one.items() if part} for one in made) if each]


def end_after(start: str, width: Decimal, unit: str) -> str | None:
    """The last day, month, year or moment of what begins at a FHIR dateTime and takes that long.

    A day counts whole: two days from the first end on the second. None where that precision does not tell.
    """
    unit = _UNITS.get(unit, "")
    if width <= 0 or width > _MAX_COUNT or not unit:
        return None
    try:
        if "T" in start:
            moment = datetime.fromisoformat(start)
            return _moment_after(moment, width, unit).isoformat(timespec="auto") if moment.tzinfo else None
        return _day_after(start, width, unit)
    except (OverflowError, ValueError):
        return None


def _moment_after(moment: datetime, width: Decimal, unit: str) -> datetime:
    if unit in _SECONDS:
        return moment + timedelta(seconds=float(width * _SECONDS[unit]))
    return datetime.combine(_months_after(moment.date(), width, unit), moment.timetz())


def _day_after(start: str, width: Decimal, unit: str) -> str | None:
    parts = start.count("-")
    first = date.fromisoformat(f"{start}{'-01' * (2 - parts)}")
    if unit in _MONTHS:
        if unit == "mo" and parts == 0:
            return None
        last = _months_after(first, width, unit) - timedelta(days=1)
        return last.isoformat()[: len(start)]
    days, beyond = divmod(width * _SECONDS[unit], 86400)
    if parts < 2 or beyond:
        return None
    return (first + timedelta(days=int(days) - 1)).isoformat()


def _months_after(day: date, width: Decimal, unit: str) -> date:
    months = width * _MONTHS[unit]
    if months % 1:
        raise ValueError
    year, month = divmod(day.year * 12 + day.month - 1 + int(months), 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _parts(element: etree._Element) -> Iterator[etree._Element]:
    """The element, or the components of a set expression, however they nest."""
    components = children(element, "comp")
    if not components:
        yield element
    for each in components:
        yield from _parts(each)


def _bounds(elements: Iterable[etree._Element], notes: Notes) -> dict[str, Any]:
    """The first interval among some elements as `bounds[x]`; its width alone is a Duration."""
    for each in elements:
        if (child(each, "low") is not None or child(each, "high") is not None) and (found := course(each, notes)):
            return {"boundsPeriod": found}
        width = quantity(child(each, "width"))
        if width and width["value"] > 0 and "code" in width:
            return {"boundsDuration": width}
    return {}


def _begun(periods: Iterable[etree._Element], notes: Notes) -> dict[str, Any]:
    """Bounds that begin with the first occurrence a phase tells."""
    for each in periods:
        start = date_time(descendant(each, "phase", "low"), notes)
        if start:
            return {"boundsPeriod": {"start": start}}
    return {}


def _every(element: etree._Element, texts: Texts) -> dict[str, Any]:
    """A PIVL as a Timing: `institutionSpecified` hours are so many times a day, others a strict interval."""
    said = child(element, "period")
    wording = texts.of(descendant(said, "translation", "originalText")) or texts.of(child(said, "originalText"))
    repeat = _frequency(child(element, "frequency")) or _period(said)
    repeat = _times_a_day(repeat) if attribute(element, "institutionSpecified") == "true" else repeat
    lasting = quantity(descendant(element, "phase", "width"))
    if repeat and lasting and lasting["value"] > 0 and lasting.get("unit", "") in _UNITS:
        repeat.update(duration=lasting["value"], durationUnit=_UNITS[lasting["unit"]])
    if not repeat and not wording:
        wording = _said(quantity(said))
    return {"repeat": repeat, "code": {"text": wording} if wording else None}


def _said(period_of: dict[str, Any] | None) -> str | None:
    return f"{period_of['value']} {period_of.get('unit', '')}".strip() if period_of else None


def _period(element: etree._Element | None) -> dict[str, Any]:
    alone = quantity(element)
    low = alone or quantity(child(element, "low"))
    high = None if alone else quantity(child(element, "high"))
    if not low or low["value"] <= 0 or low.get("unit", "") not in _UNITS:
        return {}
    repeat = {"frequency": 1, "period": low["value"], "periodUnit": _UNITS[low["unit"]]}
    if high and high["value"] > low["value"] and high.get("unit") == low["unit"]:
        repeat["periodMax"] = high["value"]
    return repeat


def _frequency(element: etree._Element | None) -> dict[str, Any]:
    times = number(attribute(child(element, "numerator"), "value"))
    each = _period(child(element, "denominator"))
    if not each or times is None or times % 1 or not 0 < times < _MAX_COUNT:
        return {}
    return {**each, "frequency": int(times)}


def _times_a_day(repeat: dict[str, Any]) -> dict[str, Any]:
    if repeat.get("periodUnit") != "h" or "periodMax" in repeat or 24 % repeat["period"]:
        return repeat
    return {"frequency": int(24 / repeat["period"]) * repeat["frequency"], "period": Decimal(1), "periodUnit": "d"}


def _at(element: etree._Element) -> dict[str, Any]:
    """An EIVL as a Timing: the event in `when`, an offset in minutes; an event FHIR has no code for is a `code`."""
    event = child(element, "event")
    code = attribute(event, "code")
    minutes = _minutes(descendant(element, "offset", "low")) or _minutes(child(element, "offset"))
    if code in _MEALS and minutes:
        code = f"{'A' if minutes < 0 else 'P'}{code}"
    if code in _EVENTS:
        offset = {"offset": abs(minutes)} if minutes and (minutes > 0 or code != "WAKE") else {}
        return {"repeat": {"when": [code], **offset}, "code": None}
    display = attribute(event, "displayName")
    if not code and not display:
        return {"repeat": {}, "code": None}
    coding = [{"system": TIMING_EVENT, "code": code}] if code else []
    return {"repeat": {}, "code": {**({"coding": coding} if coding else {}), **({"text": display} if display else {})}}


def _minutes(element: etree._Element | None) -> int:
    found = quantity(element)
    scaled = canonical(found["value"], found.get("code", "1")) if found else None
    if scaled is None or scaled[1] != "s" or scaled[0] % 60 or abs(scaled[0]) >= _MAX_COUNT:
        return 0
    return int(scaled[0]) // 60


def _merged(own: dict[str, Any], *parts: dict[str, Any]) -> dict[str, Any]:
    """One Timing of bounds, events and at most one period; of several offsets none is said, since it is for all."""
    repeat: dict[str, Any] = dict(own)
    for part in parts:
        when = [*repeat.get("when", ()), *part["repeat"].get("when", ())]
        repeat.update(part["repeat"])
        if when:
            repeat["when"] = list(dict.fromkeys(when))
    if sum("offset" in part["repeat"] for part in parts) and len(repeat.get("when", ())) > 1:
        del repeat["offset"]
    code = next((part["code"] for part in reversed(parts) if part["code"]), None)
    return {"repeat": repeat, "code": code}
