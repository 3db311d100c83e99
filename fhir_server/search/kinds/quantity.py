"""Quantities with their units (https://hl7.org/fhir/R4/search.html#quantity).

An amount in a unit of UCUM is in the index twice: as it says, and in base units under a parameter of its own, so that
5.4 mg finds 0.0054 g. What a search asks in a unit of UCUM goes the same way; both ends of its range are converted, as
exact decimals, before either becomes a float. Other units are compared by their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import inf, isfinite, nextafter
from typing import Any, Final

from fhir_server.fhir.ucum import canonical
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
        read = sink.read[id(value)] = list(_amounts(value, unit))
    for part, *amount in read:
        sink.quantities.append(Amount(param + part, *amount))


def _amounts(value: dict[str, Any], unit: Any) -> Iterator[tuple[str, str, str, float, float]]:
    """One for the unit's code, one for its name where that differs, and one in base units where it has them."""
    amount = number.finite(value.get("value"))
    ends = (amount, amount) if amount is not None else number.limits(value)
    if ends is None or type(unit) is not dict:
        return
    system, code, name = (each[:CUT] if type(each) is str else "" for each in map(unit.get, ("system", "code", "unit")))
    comparator = value.get("comparator")
    said = _compared(*ends, comparator)
    yield ("", system, code, *said)
    if name and name != code:
        yield ("", "", name, *said)
    if system == UCUM and (converted := _converted(ends, code)):
        low, high, base = converted
        yield (IN_BASE_UNITS, UCUM, base, *_compared(low, high, comparator))


def _compared(low: float, high: float, comparator: Any) -> tuple[float, float]:
    """The closed range that `< <= >= >` leave to a value (https://hl7.org/fhir/R4/datatypes.html#Quantity)."""
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


def _converted(ends: tuple[float, float], code: str) -> tuple[float, float, str] | None:
    """The ends in base units, an open one staying open."""
    found = {
        end: converted for end in set(ends) if isfinite(end) and (converted := canonical(Decimal(repr(end)), code))
    }
    if not found:
        return None
    low, high = (float(found[end][0]) if end in found else end for end in ends)
    return low, high, next(iter(found.values()))[1]


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
