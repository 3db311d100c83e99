"""The `value` of an observation by its xsi:type, as one `value[x]` of R4.

Source: HL7 v3 Data Types R1; importers page §6 rules 5 and 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from lxml import etree

from fhir_server.fhir import ucum
from importers.cda.datatypes import DATA_ABSENT_REASONS, absence, concept, date_time, period
from importers.cda.elements import attribute, child
from importers.cda.texts import Texts
from importers.issues import Notes

UCUM: Final = "http://unitsofmeasure.org"

# What FHIR takes as a decimal; a document may also write `+5`, `.5`, `5.`, `5,2` and leading zeros.
_NUMBER = re.compile(r"\+?(-?)(?=[.,]?\d)0*(\d*)(?:[.,](\d*))?(?:[eE]([+-]?\d{1,2}))?", re.ASCII).fullmatch
_MAX_DIGITS: Final = 64
# Units of UCUM that are not proportional to any other, so that no table of factors has them (UCUM §21 to §24, §46).
_LOGARITHMIC = re.compile(
    r"\[pH\]|\[p'diop\]|%\[slope\]|\[hp'_[XCMQ]\]|[dc]?(?:Np|B(?:\[[A-Za-z0-9.]{1,6}\])?)|bit_s"
).fullmatch

_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"

Value = dict[str, Any]
Reader = Callable[[etree._Element, Notes, Texts], Value]


def type_of(element: etree._Element) -> str | None:
    """The local name of xsi:type; None without one, and where its prefix stands for no namespace.

    A type of an extension (`pharm:PQ`) restricts that of the standard, so that the local name tells which it is.
    """
    written = element.get(_TYPE, "")
    if written in _READERS:
        return written
    prefix, colon, name = written.strip().rpartition(":")
    return name if name and (not colon or prefix in element.nsmap) else None


def value(element: etree._Element | None, notes: Notes, texts: Texts) -> Value | None:
    """The one member `value[x]`, or `dataAbsentReason`, that a value makes; {} where there is none.

    None (noted) where its type is unknown; without xsi:type it is a code, as most are.
    """
    if element is None:
        return {}
    written = element.get(_TYPE)
    reader = _READERS.get("CD" if written is None else written) or _READERS.get(type_of(element) or "")
    if reader is None:
        notes.add("unknown-value-type", element)
        return None
    found = reader(element, notes, texts)
    if not found and element.get("nullFlavor"):
        return {"dataAbsentReason": {"coding": [{"system": DATA_ABSENT_REASONS, "code": absence(element)}]}}
    return found


def number(element: etree._Element | None, notes: Notes, name: str = "value") -> Decimal | None:
    """The number in an attribute, every digit after the point kept; None (noted) for what is no finite decimal."""
    written = attribute(element, name)
    if element is None or written is None:
        return None
    found = _NUMBER(written) if len(written) <= _MAX_DIGITS else None
    if found is None:
        notes.add("bad-number", element)
        return None
    sign, whole, fraction, exponent = found.groups()
    return Decimal(f"{sign}{whole or 0}{'.' + fraction if fraction else ''}{'e' + exponent if exponent else ''}")


def quantity(element: etree._Element | None, notes: Notes) -> dict[str, Any]:
    """A PQ, INT or REAL as a Quantity: code and system only where the unit is UCUM; {} without a number."""
    if element is None or element.get("nullFlavor"):
        return {}
    found = number(element, notes)
    return {} if found is None else {"value": found, **unit_of(attribute(element, "unit"))}


def unit_of(unit: str | None) -> dict[str, str]:
    """The members of a Quantity that say its unit; none for `1` or no unit."""
    if unit is None or unit == "1":
        return {}
    return {"unit": unit, "system": UCUM, "code": unit} if is_ucum(unit) else {"unit": unit}


@lru_cache(maxsize=1024)
def is_ucum(unit: str) -> bool:
    """Whether a text is a unit of UCUM."""
    return ucum.canonical(Decimal(1), unit) is not None or _LOGARITHMIC(unit) is not None


def simple_range(element: etree._Element | None, notes: Notes) -> dict[str, Any]:
    """An IVL_PQ as a Range of simple quantities; {} where it has no end, or (noted) where low is above high (rng-2)."""
    ends = {name: found for name in ("low", "high") if (found := quantity(child(element, name), notes))}
    if len(ends) == 2 and not in_order(ends["low"], ends["high"]):
        notes.add("bad-range", element)
        return {}
    return ends


def in_order(low: dict[str, Any], high: dict[str, Any]) -> bool:
    """Whether one quantity is not above another; quantities of other dimensions are not told apart."""
    if low.get("code") == high.get("code"):
        return bool(low["value"] <= high["value"]) or low.get("unit") != high.get("unit")
    ends = [ucum.canonical(each["value"], each.get("code", "1")) for each in (low, high)]
    return not (ends[0] and ends[1] and ends[0][1] == ends[1][1]) or ends[0][0] <= ends[1][0]


def ratio(element: etree._Element | None, notes: Notes) -> dict[str, Any]:
    """A RTO as a Ratio; {} unless both parts can be read (rat-1) and the denominator is not zero."""
    found = {name: quantity(child(element, name), notes) for name in ("numerator", "denominator")}
    return found if all(found.values()) and found["denominator"]["value"] else {}


def _interval(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    """Both ends a Range (equal ones a Quantity), one end a Quantity with a comparator."""
    if element.get("nullFlavor"):
        return {}
    ends = simple_range(element, notes)
    if len(ends) == 2:
        return {"valueQuantity": ends["low"]} if ends["low"] == ends["high"] else {"valueRange": ends}
    for name, beyond in (("low", ">"), ("high", "<")):
        if name in ends:
            found, inclusive = ends[name], attribute(child(element, name), "inclusive") != "false"
            return {"valueQuantity": {"value": found.pop("value"), "comparator": beyond + "=" * inclusive, **found}}
    return _present("valueQuantity", quantity(child(element, "center"), notes) or quantity(element, notes))


def _quantity(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    return _present("valueQuantity", quantity(element, notes))


def _integer(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    found = quantity(element, notes)
    if len(found) != 1:
        return _present("valueQuantity", found)
    number = found["value"]
    whole = number == number.to_integral_value() and abs(number) < 2**31
    return {"valueInteger": int(number)} if whole else {"valueQuantity": found}


def _boolean(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    said = {"true": True, "false": False}.get(attribute(element, "value") or "")
    return {} if said is None else {"valueBoolean": said}


def _string(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    return _present("valueString", texts.of(element))


def _concept(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    return _present("valueCodeableConcept", concept(element, notes, texts))


def _moment(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    return _present("valueDateTime", date_time(element, notes))


def _period(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    return _present("valuePeriod", period(element, notes))


def _ratio(element: etree._Element, notes: Notes, texts: Texts) -> Value:
    return _present("valueRatio", ratio(element, notes))


def _present(name: str, found: Any) -> Value:
    return {name: found} if found else {}


_READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(("CD", "CE", "CO", "CV", "CS"), _concept),
    **dict.fromkeys(("PQ", "PQR", "REAL", "MO"), _quantity),
    **dict.fromkeys(("ST", "ED", "SC"), _string),
    **dict.fromkeys(("IVL_PQ", "IVL_REAL", "IVL_INT"), _interval),
    **dict.fromkeys(("RTO", "RTO_PQ_PQ", "RTO_QTY_QTY"), _ratio),
    "INT": _integer,
    "BL": _boolean,
    "TS": _moment,
    "IVL_TS": _period,
}
