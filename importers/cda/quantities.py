"""The HL7 v3 data types of measurement as FHIR: PQ, INT, REAL, PQR, IVL_PQ, RTO.

Decimals are `Decimal`, with the digits the document writes: 75.0 g/L stays 75.0. Units are UCUM where they are UCUM,
else a mere text. Source: HL7 v3 Data Types R1, https://hl7.org/fhir/R4/datatypes.html#quantity, importers page §6.7.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from lxml import etree

from fhir_server.fhir import ucum
from importers.cda.elements import attribute, child, children

UCUM: Final = "http://unitsofmeasure.org"

# What FHIR takes as a decimal; a document may also write `+5`, `.5`, `5.`, leading zeros and the French comma.
_NUMBER = re.compile(r"\+?(-?)(?=[.,]?\d)0*(\d*)(?:[.,](\d*))?(?:[eE]([+-]?\d{1,2}))?", re.ASCII).fullmatch
_MAX_DIGITS: Final = 64
# Units of UCUM that are not proportional to any other, so that no table of factors has them (UCUM §21 to §24, §46).
_LOGARITHMIC = re.compile(r"\[pH\]|\[p'diop\]|%\[slope\]|\[hp'_[XCMQ]\]|[dc]?(?:Np|B(?:\[[A-Za-z0-9.]{1,6}\])?)|bit_s")


def number(written: str | None) -> Decimal | None:
    """A number as written, every digit after the point kept; None for what is no finite decimal."""
    found = _NUMBER(written.strip()) if written and len(written) <= _MAX_DIGITS else None
    if found is None:
        return None
    sign, whole, fraction, exponent = found.groups()
    return Decimal(f"{sign}{whole or 0}{'.' + fraction if fraction else ''}{'e' + exponent if exponent else ''}")


@lru_cache(maxsize=1024)
def is_ucum(unit: str) -> bool:
    """Whether a text is a unit of UCUM."""
    return ucum.canonical(Decimal(1), unit) is not None or _LOGARITHMIC.fullmatch(unit) is not None


@lru_cache(maxsize=1024)
def _unit(written: str) -> tuple[tuple[str, str], ...]:
    named = (("unit", written),)
    return (*named, ("system", UCUM), ("code", written)) if is_ucum(written) else named


def unit_of(written: str | None) -> dict[str, str]:
    """The unit of a Quantity: `unit`, with `system` and `code` where it is UCUM; empty without unit."""
    return dict(_unit(written)) if written else {}


def quantity(element: etree._Element | None) -> dict[str, Any] | None:
    """A PQ, INT or REAL as a Quantity; None without a readable value. Of a PQR, `code` is the unit."""
    value = None if element is None or element.get("nullFlavor") else number(element.get("value"))
    if element is None or value is None:
        return None
    return {"value": value, **unit_of(attribute(element, "unit") or attribute(element, "code"))}


def translations(element: etree._Element) -> list[dict[str, Any]]:
    """The other quantities a PQ is said to equal, mass beside mole for one."""
    return [found for each in children(element, "translation") if (found := quantity(each))]


def ends_of(element: etree._Element | None) -> dict[str, Any]:
    """The `low` and `high` of an IVL_PQ as a Range; {} where they stand in the wrong order (rng-2)."""
    found = {name: quantity(child(element, name)) for name in ("low", "high")}
    ends = {name: end for name, end in found.items() if end}
    return ends if len(ends) < 2 or in_order(ends["low"], ends["high"]) else {}


def ranged(name: str, element: etree._Element) -> dict[str, Any]:
    """An IVL_PQ as `<name>Range` or `<name>Quantity`; {} without a readable number.

    Both ends are a Range, equal ones a Quantity; of one end FHIR makes a Quantity with a comparator, which is < or >
    where `inclusive="false"`.
    """
    ends = ends_of(element)
    if len(ends) == 2 and ends["low"] != ends["high"]:
        return {f"{name}Range": ends}
    if len(ends) == 1:
        end, beyond = ("low", ">") if "low" in ends else ("high", "<")
        comparator = beyond if attribute(child(element, end), "inclusive") == "false" else f"{beyond}="
        return {f"{name}Quantity": {**ends[end], "comparator": comparator}}
    alone = ends.get("low") or quantity(child(element, "center")) or quantity(element)
    return {f"{name}Quantity": alone} if alone else {}


def dose(name: str, element: etree._Element | None) -> dict[str, Any]:
    """A PQ or an IVL_PQ as `<name>Quantity` or `<name>Range`, where no comparator may stand; {} without a number.

    One end alone is a Range with that end.
    """
    if element is None or element.get("nullFlavor"):
        return {}
    ends = ends_of(element)
    if ends and ends.get("low") != ends.get("high"):
        return {f"{name}Range": ends}
    alone = ends.get("low") or quantity(element) or quantity(child(element, "center"))
    return {f"{name}Quantity": alone} if alone else {}


def ratio(element: etree._Element | None) -> dict[str, Any] | None:
    """A RTO as a Ratio; None unless both parts can be read and the denominator is not zero.

    Its parts may stand in the namespace of an extension, as the strength of an ingredient does.
    """
    if element is None or element.get("nullFlavor"):
        return None
    parts = (next(element.iterchildren("{*}" + each), None) for each in ("numerator", "denominator"))
    numerator, denominator = (quantity(each) for each in parts)
    if not numerator or not denominator or not denominator["value"]:
        return None
    return {"numerator": numerator, "denominator": denominator}


def in_order(low: dict[str, Any], high: dict[str, Any]) -> bool:
    """Whether one quantity is not above another; those of two dimensions are not compared."""
    ends = [ucum.canonical(each["value"], each.get("code", "1")) for each in (low, high)]
    if ends[0] and ends[1] and ends[0][1] == ends[1][1]:
        return ends[0][0] <= ends[1][0]
    return bool(low["value"] <= high["value"]) or low.get("unit") != high.get("unit")
