"""Quantities with their units (https://hl7.org/fhir/R4/search.html#quantity).

An amount in a unit of UCUM is in the index twice: as it says, and in base units under a parameter of its own, so that
5.4 mg finds 0.0054 g. What a search asks in a unit of UCUM goes the same way; both ends of its range are converted, as
exact decimals, before either becomes a float. Other units are compared by their names.
"""

from __future__ import annotations

from math import inf, isfinite, nextafter
from typing import Any, Final

from fhir_server.fhir.ucum import canonical, canonical_float
from fhir_server.search.entries import Amount
from fhir_server.search.kinds import number
from fhir_server.search.kinds.asked import Asked, split, unescape
from fhir_server.search.kinds.bounds import CUT, cut
from fhir_server.search.kinds.sink import Add, Sink, passed_over
from fhir_server.search.predicate import Predicate, QuantityIs

MODIFIERS: Final = frozenset({""})
CURRENCY: Final = "urn:iso:std:iso:4217"
UCUM: Final = "http://unitsofmeasure.org"
# Amounts in base units are entries of a parameter of their own.
IN_BASE_UNITS: Final = ":ucum"


def where(asked: Asked, text: str) -> Predicate:
    """`number`, or `number|system|code`; without a system the code may also be the unit as people read it."""
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) not in (1, 3):
        raise asked.malformed("A quantity is expected, such as 5.4 or 5.4|http://unitsofmeasure.org|mg.")
    prefix, low, high = number.exactly(asked, parts[0])
    system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    if system == UCUM and (first := canonical(low, code)) and (last := canonical(high, code)):
        ends = number.floats(asked, first[0], last[0])
        return QuantityIs(asked.param + IN_BASE_UNITS, prefix, *ends, UCUM, first[1])
    return QuantityIs(asked.param, prefix, *number.floats(asked, low, high), system or None, code or None)


def _quantity(param: str, value: Any, sink: Sink) -> None:
    if type(value) is dict:
        _add(param, value, value, sink)


def _range(param: str, value: Any, sink: Sink) -> None:
    if type(value) is dict:
        low, high = value.get("low"), value.get("high")
        _add(param, value, low if type(low) is dict else high, sink)


def _money(param: str, value: Any, sink: Sink) -> None:
    if type(value) is not dict:
        return
    amount, currency = number.finite(value.get("value")), value.get("currency")
    if amount is not None:
        system, code = (CURRENCY, cut(currency)) if type(currency) is str else ("", "")
        sink.quantities.append(Amount(param, system, code, amount, amount))


def _add(param: str, value: dict[str, Any], unit: Any, sink: Sink) -> None:
    """The amounts of a Quantity or Range, whose unit is that of the Quantity `unit`."""
    read = sink.read.get(id(value))
    if read is None:
        read = sink.read[id(value)] = _amounts(value, unit)
    sink.quantities += [Amount(param + part, *amount) for part, amount in read]


def _amounts(value: dict[str, Any], unit: Any) -> list[tuple[str, tuple[str, str, float, float]]]:
    """One for the unit's code, one for its name where that differs, and one in base units where it has them."""
    amount = number.finite(value.get("value"))
    ends = (amount, amount) if amount is not None else number.limits(value)
    if ends is None or type(unit) is not dict:
        return []
    system, code, name = _cut(unit.get("system")), _cut(unit.get("code")), _cut(unit.get("unit"))
    comparator = value.get("comparator")
    said = _compared(*ends, comparator)
    found = [("", (system, code, *said))]
    if name and name != code:
        found.append(("", ("", name, *said)))
    if system == UCUM and (converted := _converted(*ends, code)):
        low, high, base = converted
        found.append((IN_BASE_UNITS, (UCUM, base, *_compared(low, high, comparator))))
    return found


def _cut(text: Any) -> str:
    return text[:CUT] if type(text) is str else ""


def _compared(low: float, high: float, comparator: Any) -> tuple[float, float]:
    """The closed range that `< <= >= >` leave to a value (https://hl7.org/fhir/R4/datatypes.html#Quantity)."""
    if comparator is None:
        return low, high
    match comparator:
        case "<":
            return -inf, nextafter(high, -inf)
        case "<=":
            return -inf, high
        case ">=":
            return low, inf
        case ">":
            return nextafter(low, inf), inf
    return low, high


def _converted(low: float, high: float, code: str) -> tuple[float, float, str] | None:
    """The ends in base units, an open one staying open."""
    first = canonical_float(low, code) if isfinite(low) else None
    last = first if high == low else canonical_float(high, code) if isfinite(high) else None
    known = first or last
    return (first[0] if first else low, last[0] if last else high, known[1]) if known else None


ADD: Final[dict[str, Add]] = {
    "Quantity": _quantity,
    "Age": _quantity,
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
    "Range": _range,
    "Money": _money,
    # A series of measurements has no one value to compare with.
    "SampledData": passed_over,
}
