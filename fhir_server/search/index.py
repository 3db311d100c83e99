"""What runs over each resource of a type when it is written: a closure a parameter, where it may find anything."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.path import compile_path
from fhir_server.search.composite import begins, combinations
from fhir_server.search.firsts import branches, firsts
from fhir_server.search.kinds import prose
from fhir_server.search.kinds.sink import Index, Sink, added, in_turn
from fhir_server.search.kinds.string import add_name
from fhir_server.search.parameter import Parameter

# Strings that are parts of a HumanName.
_NAME_PARTS: Final = frozenset({"family", "given"})
# Shapes of resources that are remembered, by the properties that they have.
_SHAPES: Final = 1_000


class Indexes:
    """The closures of one resource type."""

    def __init__(self, layout: prose.Layout) -> None:
        """`layout`: where the type has text."""
        self._layout = layout
        self._all: list[tuple[frozenset[str] | None, Index]] = []
        self._by_shape: dict[frozenset[str], tuple[Index, ...]] = {}

    def add(self, names: frozenset[str] | None, index: Index) -> None:
        """`names`: properties without all of which the index finds nothing; None for an index that always runs."""
        self._all.append((names, index))

    def run(self, resource: dict[str, Any], sink: Sink) -> None:
        """Adds the entries of one resource."""
        shape = frozenset(resource)
        indexes = self._by_shape.get(shape)
        if indexes is None:
            indexes = self._for(shape)
        for index in indexes:
            index(resource, sink)
        prose.add(resource, self._layout, sink)

    def _for(self, shape: frozenset[str]) -> tuple[Index, ...]:
        indexes = tuple(index for names, index in self._all if names is None or not names.isdisjoint(shape))
        if len(self._by_shape) < _SHAPES:
            self._by_shape[shape] = indexes
        return indexes


def index_of(parameter: Parameter, definitions: Definitions, resource_type: str) -> tuple[frozenset[str] | None, Index]:
    """What adds the entries of one parameter, and the properties that it begins with. Values of types that the kind of
    the parameter does not know are passed over."""
    if parameter.type == "composite":
        return begins(parameter, definitions, resource_type), combinations(parameter, definitions, resource_type)
    names = firsts(parameter.expression, definitions, resource_type)
    return names, in_turn(
        [_branch(parameter, each, definitions, resource_type) for each in branches(parameter.expression)]
    )


def _branch(parameter: Parameter, expression: str, definitions: Definitions, resource_type: str) -> Index | None:
    """One branch, None where it is for other types. What two branches find is the same entry: to compare the values
    themselves, as a union does, costs the square of their number."""
    head = expression.partition(".")[0]
    if head in definitions.resource_types and head != resource_type:
        return None
    path = compile_path(expression, definitions, resource_type)
    adds = {type_: parameter.kind.add[type_] for type_ in path.types if type_ in parameter.kind.add}
    if parameter.code in _NAME_PARTS and "string" in adds:
        adds["string"] = add_name
    return added(parameter.code, path, adds) if adds else None
