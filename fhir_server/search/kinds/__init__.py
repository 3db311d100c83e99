"""The kinds of search parameters: how each is extracted from a resource, and what its value asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fhir_server.search.kinds import date, number, phonetic, prose, quantity, reference, string, token, uri
from fhir_server.search.kinds.asked import Asked
from fhir_server.search.kinds.sink import Add
from fhir_server.search.predicate import Predicate


@dataclass(frozen=True, slots=True)
class Kind:
    """`add`: by FHIR type, what a value adds to the index. `where`: the predicate that one value of a search means.

    `modifiers`: those that `where` understands; `missing` is understood for every kind, `[Type]` for references.
    `parts`: what the code is followed by in the index; an element is missing when none of them has an entry.
    """

    add: Mapping[str, Add]
    where: Callable[[Asked, str], Predicate]
    modifiers: frozenset[str]
    parts: tuple[str, ...] = ("",)


# By the type of the parameter, and `phonetic` and `prose`, which are strings and specials of a kind of their own.
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "token": Kind(token.ADD, token.where, token.MODIFIERS, ("", token.TEXT)),
        "string": Kind(string.ADD, string.where, string.MODIFIERS),
        "date": Kind(date.ADD, date.where, date.MODIFIERS),
        "number": Kind(number.ADD, number.where, number.MODIFIERS),
        "quantity": Kind(quantity.ADD, quantity.where, quantity.MODIFIERS),
        "reference": Kind(reference.ADD, reference.where, reference.MODIFIERS, ("", reference.IDENTIFIER)),
        "uri": Kind(uri.ADD, uri.where, uri.MODIFIERS),
        "phonetic": Kind(phonetic.ADD, phonetic.where, phonetic.MODIFIERS),
        "prose": Kind({}, prose.where, prose.MODIFIERS),
    }
)

# The types of parameter that have an order (search/plan.py, `Sort.kind`).
SORTABLE: Final = frozenset({"token", "string", "date", "number", "quantity", "reference", "uri"})
