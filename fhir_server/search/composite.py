"""Composite parameters: values that belong together (https://hl7.org/fhir/R4/search.html#composite)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Final

from fhir_server.fhir.definitions import Definitions, SearchParameter
from fhir_server.fhir.path import compile_path
from fhir_server.search.entries import Combination, Entries
from fhir_server.search.firsts import branches, firsts
from fhir_server.search.kinds.asked import Asked, split
from fhir_server.search.kinds.bounds import MOST
from fhir_server.search.kinds.sink import Index, Sink, adder
from fhir_server.search.parameter import Component, Parameter, places
from fhir_server.search.predicate import Or, Predicate, SearchLeaf, Together, conj, disj

# What R4 got wrong: it names the two elements of relatesTo the wrong way round, and a type DateTime.
_EXCHANGED: Final = frozenset({"DocumentReference-relationship"})
_MISSPELT: Final = ("as(DateTime)", "as(dateTime)")
_OF_RESOURCE: Final = "%resource."
# Ways in which the alternatives of the components can be put together in one question.
_MOST: Final = 64


def components(
    defined: SearchParameter, definitions: Definitions, resource_type: str, known: Mapping[str, Parameter]
) -> tuple[Component, ...]:
    """The components of a composite parameter of R4 for one resource type; `known`: the type's own parameters."""
    paths = [path.replace(*_MISSPELT) for _, path in defined.components]
    if defined.id in _EXCHANGED:
        paths.reverse()
    wholes = compile_path(defined.expression, definitions, resource_type).types
    roots = places(defined.expression, resource_type) or {""}
    if re.search(rf"\b{resource_type}\b(?!\.)", defined.expression):
        roots = roots | {""}
    found = []
    for (id, _), path in zip(defined.components, paths, strict=True):
        parameter = known[definitions.search_parameters_by_id[id].code]
        absolute = path.startswith(_OF_RESOURCE)
        path = path.removeprefix(_OF_RESOURCE)
        focuses = (resource_type,) if absolute else wholes
        types = _types(path, definitions, focuses, parameter)
        named = {f"{'' if absolute else root}.{name}" for root in roots for name in _names(path)}
        unfiltered = not re.search(r"where|resolve", parameter.expression) and set(types) <= set(parameter.types)
        narrows = unfiltered and named <= places(parameter.expression, resource_type)
        found.append(Component(replace(parameter, types=types), path, types, absolute, narrows))
    return tuple(found)


def where(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    """`value$value`: one combination that is all of it.

    Beside it, what each component asks of its own parameter: no combination can do without, and a store may have an
    index to begin with.
    """
    parts = split(text, "$")
    if len(parts) != len(parameter.components):
        raise asked.malformed(f"{len(parameter.components)} values are expected, joined by $.")
    alternatives, alone = [], []
    for place, (component, part) in enumerate(zip(parameter.components, parts, strict=True)):
        own = component.parameter
        of = replace(asked, param=str(place), types=own.types, targets=own.targets, system=own.system)
        there = own.kind.where(of, part)
        alternatives.append(there.of if isinstance(there, Or) else (there,))
        if component.narrows:
            alone.append(own.kind.where(replace(of, param=own.code), part))
    return conj(*alone, _together(asked, alternatives))


def _together(asked: Asked, alternatives: list[tuple[Predicate, ...]]) -> Predicate:
    """A combination is asked of leaves; where a component has several, one of them must hold."""
    combined: list[tuple[SearchLeaf, ...]] = list(product(*alternatives))  # type: ignore[arg-type]
    if len(combined) > _MOST:
        raise asked.malformed("Too many meanings; name the type of each reference.")
    return disj(*(Together(asked.param, leaves) for leaves in combined))


def combinations(parameter: Parameter, definitions: Definitions, resource_type: str) -> Index:
    """What adds the combinations of one composite parameter: one of each element that has a value for every component.

    Elements that several composites ask the same of are looked through once.
    """
    code = parameter.code
    roots = [compile_path(each, definitions, resource_type) for each in branches(parameter.expression)]
    # A branch of a composite leads to elements of one type, or to none where it is for other resources.
    parts = [
        (root.run, _Parts(parameter.components, definitions, type_, resource_type))
        for root in roots
        for type_ in root.types
    ]

    def index(resource: dict[str, Any], sink: Sink) -> None:
        found: list[Entries] = []
        for run, of in parts:
            for focus in run(resource)[:MOST]:
                entries = of.entries(focus, resource, sink)
                if entries:
                    found.append(entries)
        for entries in found if len(found) < 2 else list(dict.fromkeys(found))[:MOST]:
            sink.combinations.append(Combination(code, entries))

    return index


class _Parts:
    """The components of one composite, for elements of one type."""

    def __init__(
        self, components: tuple[Component, ...], definitions: Definitions, focus: str, resource_type: str
    ) -> None:
        self._key = "$".join(f"{each.parameter.type} {each.path} {each.types}" for each in components)
        # The last component first: it is the value, which is the one that is more often of another type.
        self._parts: list[tuple[Callable[[Any], list[Any]], Callable[[list[Any], Sink], None], bool]] = []
        for place, each in reversed(list(enumerate(components))):
            path = compile_path(each.path, definitions, resource_type if each.of_resource else focus)
            adds = {type_: add for type_, add in each.parameter.kind.add.items() if type_ in path.types}
            self._parts.append((path.run, adder(str(place), path, adds), each.of_resource))

    def entries(self, focus: Any, resource: dict[str, Any], sink: Sink) -> Entries | None:
        """The entries of one element; None where a component has none."""
        key = (id(focus), self._key)
        if key not in sink.shared:
            sink.shared[key] = self._found(focus, resource, sink)
        return sink.shared[key]

    def _found(self, focus: Any, resource: dict[str, Any], sink: Sink) -> Entries | None:
        items = []
        for run, add, of_resource in self._parts:
            found = run(resource if of_resource else focus)
            if not found:
                return None
            items.append((add, found))
        scratch = sink.scratch()
        for add, found in items:
            add(found, scratch)
        return scratch.entries()


def begins(parameter: Parameter, definitions: Definitions, resource_type: str) -> frozenset[str] | None:
    """The properties without all of which a resource has no combination: as `firsts`, and where the element is the
    resource itself, those of the last component."""
    last = parameter.components[-1].path
    found = [
        firsts(last if each == resource_type else each, definitions, resource_type)
        for each in branches(parameter.expression)
        if each.partition(".")[0] == resource_type
    ]
    known = [names for names in found if names is not None]
    return frozenset().union(*known) if len(known) == len(found) else None


def _types(path: str, definitions: Definitions, focuses: tuple[str, ...], parameter: Parameter) -> tuple[str, ...]:
    """The types at a component's place that its parameter's kind knows."""
    found = (type_ for focus in focuses for type_ in compile_path(path, definitions, focus).types)
    return tuple(type_ for type_ in dict.fromkeys(found) if type_ in parameter.kind.add)


def _names(path: str) -> list[str]:
    """The elements that a component's path begins with, one a branch."""
    return [re.split(r"\.(?=as\()", branch)[0] for branch in path.split(" | ")]
