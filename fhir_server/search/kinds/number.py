"""Numbers (https://hl7.org/fhir/R4/search.html#number).

A number in a resource is taken as exactly what it says: JSON does not keep `2.0` apart from `2`, and every comparison
that R4 tabulates is between the implied range of the *search* value and the number.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from math import inf, isfinite, nextafter
from typing import Any, Final

from fhir_server.search.entries import Number
from fhir_server.search.kinds.asked import Asked, prefixed
from fhir_server.search.kinds.sink import Add, Sink
from fhir_server.search.predicate import NumberIs, Predicate

MODIFIERS: Final = frozenset({""})

# As many digits as a number and half a unit of its last digit have together at the most.
_EXACT: Final = Context(prec=1_200)
_HALF: Final = Decimal("0.5")
_NUMBER: Final = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


def where(asked: Asked, text: str) -> Predicate:
    """A decimal, with a prefix."""
    prefix, low, high = read(asked, text)
    return NumberIs(asked.param, prefix, low, high)


def read(asked: Asked, text: str) -> tuple[str, float, float]:
    """The prefix and the range it speaks of, as floats."""
    prefix, low, high = exactly(asked, text)
    return prefix, *floats(asked, low, high)


def exactly(asked: Asked, text: str) -> tuple[str, Decimal, Decimal]:
    """The prefix and the range it speaks of.

    With eq and ne half a unit of the last digit either way: 100 is [99.5, 100.5), 100.00 is [99.995, 100.005). With ap
    a tenth of the value. With the others the number itself.
    """
    prefix, value = prefixed(text)
    # A blank is the + of a client that did not escape it.
    value = value.replace(" ", "+")
    if not _NUMBER.fullmatch(value):
        raise asked.malformed("A number is expected, such as 5.4 or ge100.")
    number = Decimal(value)
    half = _half(value, number)
    if prefix not in ("eq", "ne"):
        half = max(half, abs(number) / 10) if prefix == "ap" else Decimal(0)
    return prefix, _EXACT.subtract(number, half), _EXACT.add(number, half)


def floats(asked: Asked, low: Decimal, high: Decimal) -> tuple[float, float]:
    """Both ends as the index has numbers. The number in the middle stays between them, however narrow the range: half a
    unit of a sixteenth digit is less than floats can tell apart."""
    first, last = float(low), float(high)
    if not (isfinite(first) and isfinite(last)):
        raise asked.malformed("That number is too large.")
    if low < high:
        last = max(last, nextafter(float(_EXACT.multiply(_EXACT.add(low, high), _HALF)), inf))
    return first, last


def _half(text: str, number: Decimal) -> Decimal:
    """Half a unit of the last digit. R4 gives 1e2 the range [95, 105): an exponent after a whole number is one more."""
    last = number.as_tuple().exponent
    assert isinstance(last, int)
    if "." not in text and "e" in text.lower():
        last -= 1
    return Decimal(5).scaleb(last - 1)


def finite(value: Any) -> float | None:
    """A JSON number that a float can hold, else None."""
    if type(value) is float:
        return value if isfinite(value) else None
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def limits(value: dict[str, Any]) -> tuple[float, float] | None:
    """The ends of a Range, open where it does not say."""
    low, high = _end(value.get("low")), _end(value.get("high"))
    if low is None and high is None:
        return None
    return (-inf if low is None else low), (inf if high is None else high)


def _end(quantity: Any) -> float | None:
    return finite(quantity.get("value")) if type(quantity) is dict else None


def _number(param: str, value: Any, sink: Sink) -> None:
    number = finite(value)
    if number is not None:
        sink.numbers.append(Number(param, number, number))


def _range(param: str, value: Any, sink: Sink) -> None:
    ends = limits(value) if type(value) is dict else None
    if ends:
        sink.numbers.append(Number(param, *ends))


ADD: Final[dict[str, Add]] = {
    "decimal": _number,
    "integer": _number,
    "positiveInt": _number,
    "unsignedInt": _number,
    "Range": _range,
}
