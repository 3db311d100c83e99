"""What the tests of a `_filter` mean, by operator and kind of parameter.

Refused for want of an honest answer: `ew`, since no index is read from its end; `ss` and `sb`, which need hierarchies
of codes; `ne` where an element may repeat (`not(… eq …)` says what is meant); operators on kinds of values that R4 does
not give them to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.search import valuesets
from fhir_server.search.criteria import Test, present, where
from fhir_server.search.kinds import date
from fhir_server.search.kinds.asked import Asked
from fhir_server.search.kinds.string import words
from fhir_server.search.parameter import TEXTS, Parameter
from fhir_server.search.predicate import DateIs, Predicate, StringIs, Updated, UriIs, conj, negate

OPERATORS: Final = (
    *("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap"),
    *("sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re"),
)

_COMPARED: Final = frozenset({"date", "number", "quantity"})
_ORDERED: Final = frozenset({"gt", "lt", "ge", "le", "ap", "sa", "eb"})
_REFUSED: Final = {
    "ew": "Ends of texts are not searched for (ew).",
    "ss": "Hierarchies of codes are not supported (ss, sb).",
    "sb": "Hierarchies of codes are not supported (ss, sb).",
}


def meaning_of(operator: str, text: str) -> Test:
    """The test of one value; `text` is unquoted."""

    def test(parameter: Parameter, asked: Asked, definitions: Definitions) -> Predicate:
        if operator in _REFUSED:
            raise asked.malformed(_REFUSED[operator])
        if operator in ("in", "ni") and parameter.type == "token":
            return _in(operator, text, asked, definitions)
        if parameter.type in _COMPARED and (operator in _ORDERED or operator in ("eq", "ne")):
            return where(parameter, asked, operator + _escaped(text))
        if operator in _TESTS:
            return _TESTS[operator](parameter, asked, text)
        raise _not_for(asked)

    return test


def _not_for(asked: Asked) -> Malformed:
    return asked.malformed("This operator is not for this kind of parameter.")


def _in(operator: str, text: str, asked: Asked, definitions: Definitions) -> Predicate:
    members = valuesets.where(definitions, asked, text)
    return members if operator == "in" else negate(members)


def _equal(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    """Texts are equal whatever their case and accents: values of a filter are never case sensitive."""
    if _is_text(parameter):
        return StringIs(asked.param, "equals", words(asked, _escaped(text)))
    if parameter.code in TEXTS:
        raise _not_for(asked)
    return where(parameter, asked, _escaped(text))


def _unequal(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    """An item that is another: of one item at the most, that it is there and is not equal."""
    if not parameter.single:
        raise asked.malformed("Several values are possible here: not(… eq …) says what is meant.")
    return conj(present(parameter), negate(_equal(parameter, asked, text)))


def _contains(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    return _string(parameter, asked, "contains", text)


def _starts(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    if parameter.type == "uri":
        return UriIs(asked.param, "below", text)
    return _string(parameter, asked, "starts", text)


def _string(parameter: Parameter, asked: Asked, how: str, text: str) -> Predicate:
    if not _is_text(parameter):
        raise _not_for(asked)
    return StringIs(asked.param, how, words(asked, _escaped(text)))


def _present(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    if text not in ("true", "false") or (parameter.type == "composite" or parameter.code in TEXTS):
        raise asked.malformed("pr is followed by true or false.")
    return present(parameter) if text == "true" else negate(present(parameter))


def _overlaps(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    """The same as `ap`, which is wider on either side."""
    if parameter.type != "date":
        raise _not_for(asked)
    _, low, high = date.read(asked, "eq" + text)
    return Updated(low, high) if parameter.code == "_lastUpdated" else DateIs(asked.param, "ap", low, high)


def _refers(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    if parameter.type != "reference":
        raise _not_for(asked)
    return where(parameter, asked, _escaped(text))


def _is_text(parameter: Parameter) -> bool:
    return parameter.type == "string" and parameter.usage == "normal" and parameter.code not in TEXTS


def _escaped(text: str) -> str:
    """As a value of a search: `|` and `$` part a value there as here."""
    return text.replace("\\", "\\\\").replace(",", "\\,")


_TESTS: Final[dict[str, Callable[[Parameter, Asked, str], Predicate]]] = {
    "eq": _equal,
    "ne": _unequal,
    "co": _contains,
    "sw": _starts,
    "pr": _present,
    "po": _overlaps,
    "re": _refers,
}
