"""The closures that compiled FHIRPath is made of: each builder takes paths and gives a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fhir_server.fhir.references import parse_reference

Run: TypeAlias = Callable[[Any], list[Any]]


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled expression. `types`: the FHIR types its items can have; with more than one the items are pairs.

    `run(focus)` gives the items for one resource or element, as plain JSON values or pairs (type, value), in order.
    It never raises: values of a shape that R4 does not allow are passed over.
    """

    types: tuple[str, ...]
    run: Run
    choice: tuple[Path, Mapping[str, str]] | None = None

    @property
    def paired(self) -> bool:
        """Whether the items are pairs (type, value)."""
        return len(self.types) > 1


NOTHING: Final = Path((), lambda focus: [])


def itself(types: tuple[str, ...]) -> Path:
    """`$this`: the focus, a pair where it can have several types."""
    return Path(types, _itself)


def constant(type_: str, value: object) -> Path:
    """A literal."""
    return Path((type_,), lambda focus: [value])


def step(of: Path, properties: Mapping[str, str]) -> Path:
    """One element of items of one type. `properties`: JSON property → type, several for a choice element."""
    types = tuple(dict.fromkeys(properties.values()))
    if len(properties) > 1:
        return Path(types, _choices(of.run, properties), (of, properties))
    (name,) = properties
    return Path(types, _first_step(name) if of.run is _itself else _next_step(of.run, name))


def branch(of: Path, by_type: Mapping[str, Path]) -> Path:
    """Items of several types, each followed by the path for its type; other types lead nowhere."""
    types = tuple(dict.fromkeys(type_ for path in by_type.values() for type_ in path.types))
    runs = {type_: _as(path, types) for type_, path in by_type.items()}
    run = of.run

    def branches(focus: Any) -> list[Any]:
        return [found for type_, value in run(focus) if type_ in runs for found in runs[type_](value)]

    return Path(types, branches)


def only(of: Path, kept: tuple[str, ...]) -> Path:
    """The items of the types `kept`; a choice element is not even asked for the others."""
    if kept == of.types:
        return of
    if of.choice:
        owner, properties = of.choice
        return step(owner, {name: type_ for name, type_ in properties.items() if type_ in kept})
    run = of.run
    if len(kept) > 1:
        return Path(kept, lambda focus: [item for item in run(focus) if item[0] in kept])
    return Path(kept, lambda focus: [value for type_, value in run(focus) if type_ in kept])


def union(left: Path, right: Path) -> Path:
    """`|`: the items of both, equal ones once; a branch for another resource type costs nothing."""
    if not (left.types and right.types):
        return left if left.types else right
    types = tuple(dict.fromkeys((*left.types, *right.types)))
    one, other = _as(left, types), _as(right, types)

    def both(focus: Any) -> list[Any]:
        found = one(focus) + other(focus)
        return _distinct(found) if len(found) > 1 else found

    return Path(types, both)


def where(of: Path, criterion: Path) -> Path:
    """The items for which the criterion, compiled for one of them, is true."""
    run, holds = of.run, criterion.run
    return Path(of.types, lambda focus: [item for item in run(focus) if holds(item) == [True]])


def item(of: Path, index: int) -> Path:
    """`[index]`."""
    run = of.run
    return Path(of.types, lambda focus: run(focus)[index : index + 1])


def exists(of: Path) -> Path:
    """`exists()`."""
    run = of.run
    return Path(("boolean",), lambda focus: [bool(run(focus))])


def equals(left: Path, right: Path, expected: bool) -> Path:
    """`=`, or `!=` when `expected` is False; empty where either side is."""
    one, other = values(left), values(right)

    def compared(focus: Any) -> list[Any]:
        a, b = one(focus), other(focus)
        return [(a == b) is expected] if a and b else []

    return Path(("boolean",), compared)


def both(left: Path, right: Path) -> Path:
    """`and`, in the three values of FHIRPath."""
    return _decided(left, right, False)


def either(left: Path, right: Path) -> Path:
    """`or`, in the three values of FHIRPath."""
    return _decided(left, right, True)


def has_type(of: Path, kept: tuple[str, ...]) -> Path:
    """`is`, for items whose type is known: of several types, or of one."""
    run = of.run
    if of.paired:
        return Path(("boolean",), lambda focus: [found[0] in kept for found in run(focus)[:1]])
    return Path(("boolean",), lambda focus: [bool(kept) for _ in run(focus)[:1]])


def resources(of: Path, type_: str) -> Path:
    """Of contained resources and Bundle entries, those of one resource type."""
    run = of.run
    return Path((type_,), lambda focus: [found for found in run(focus) if _is_resource(found, type_)])


def is_resource(of: Path, type_: str) -> Path:
    """`is`, for contained resources and Bundle entries."""
    run = of.run
    return Path(("boolean",), lambda focus: [_is_resource(found, type_) for found in run(focus)[:1]])


def refers(of: Path, type_: str) -> Path:
    """`resolve() is [type]`, decided by what the reference says; nothing is fetched."""
    run = of.run
    return Path(("boolean",), lambda focus: [refers_to(found, type_) for found in run(focus)[:1]])


def values(of: Path) -> Run:
    """The items without their types."""
    run = of.run
    return (lambda focus: [value for _, value in run(focus)]) if of.paired else run


def refers_to(reference: Any, type_: str) -> bool:
    """Whether a Reference (or canonical) points to a resource of that type, by its url, else by `Reference.type`."""
    declared = None
    if type(reference) is dict:
        declared = reference.get("type")
        reference = reference.get("reference")
    if type(reference) is str:
        if reference.startswith(type_) and reference[len(type_) : len(type_) + 1] == "/":
            return True
        said = parse_reference(reference).type
        if said:
            return said == type_
    return bool(declared == type_)


def _itself(focus: Any) -> list[Any]:
    return [focus]


def _first_step(name: str) -> Run:
    def run(focus: Any) -> list[Any]:
        value = focus.get(name) if type(focus) is dict else None
        if value is None:
            return []
        return [each for each in value if each is not None] if type(value) is list else [value]

    return run


def _next_step(of: Run, name: str) -> Run:
    def run(focus: Any) -> list[Any]:
        found: list[Any] = []
        for owner in of(focus):
            value = owner.get(name) if type(owner) is dict else None
            if type(value) is list:
                found += [each for each in value if each is not None]
            elif value is not None:
                found.append(value)
        return found

    return run


def _choices(of: Run, properties: Mapping[str, str]) -> Run:
    pairs = tuple(properties.items())

    def run(focus: Any) -> list[Any]:
        found = []
        for owner in of(focus):
            if type(owner) is not dict:
                continue
            if len(owner) < len(pairs):  # an Extension has two properties and fifty types of value
                found += [(properties[name], owner[name]) for name in owner if name in properties]
            else:
                found += [(type_, owner[name]) for name, type_ in pairs if name in owner]
        return found

    return run


def _as(of: Path, types: tuple[str, ...]) -> Run:
    """The items in the form that a path of these types has."""
    if len(types) < 2 or of.paired or not of.types:
        return of.run
    run, (type_,) = of.run, of.types
    return lambda focus: [(type_, value) for value in run(focus)]


def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for each in items:
        if each not in found:
            found.append(each)
    return found


def _decided(left: Path, right: Path, decisive: bool) -> Path:
    one, other = left.run, right.run

    def decided(focus: Any) -> list[Any]:
        results = (one(focus), other(focus))
        if [decisive] in results:
            return [decisive]
        return [] if [] in results else [not decisive]

    return Path(("boolean",), decided)


def _is_resource(found: Any, type_: str) -> bool:
    return type(found) is dict and found.get("resourceType") == type_
