"""Functions of FHIRPath that choose, filter and follow: where, select, first, repeat, extension … (§5.2, 5.3)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path.frame import Collection, Environment, Frame, Run
from fhir_server.fhir.path.functions import Function, Functions, single, truth
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.tokens import PathError


def where(frame: Frame, items: Collection, criterion: Run) -> Collection:
    """The items for which the criterion is true."""
    return [item for index, item in enumerate(items) if truth(criterion(frame.at(item, index))) is True]


def select(frame: Frame, items: Collection, projection: Run) -> Collection:
    """What the projection gives for each item."""
    return [found for index, item in enumerate(items) for found in projection(frame.at(item, index))]


def extension(environment: Environment, items: Collection, url: Collection) -> Collection:
    """The extensions with that url, of objects and of primitive values."""
    wanted = single(url, "the url of extension()")
    if wanted is None:
        return []
    found = (each for item in items for each in environment.schema.member(item, "extension"))
    return [each for each in found if type(each.value) is dict and each.value.get("url") == wanted.value]


def number_of(items: Collection, what: str) -> int | None:
    """The Integer that an argument is; PathError for anything else."""
    item = single(items, what)
    if item is None:
        return None
    if type(item.value) is not int:
        raise PathError(f"{what} is an integer")
    return item.value


def first(environment: Environment, items: Collection) -> Collection:
    """The first item."""
    return items[:1]


def last(environment: Environment, items: Collection) -> Collection:
    """The last item."""
    return items[-1:]


def tail(environment: Environment, items: Collection) -> Collection:
    """All but the first item."""
    return items[1:]


def skip(environment: Environment, items: Collection, count: Collection) -> Collection:
    """All but the first so many items."""
    number = number_of(count, "the argument of skip()")
    return [] if number is None else items[max(number, 0) :]


def take(environment: Environment, items: Collection, count: Collection) -> Collection:
    """The first so many items."""
    number = number_of(count, "the argument of take()")
    return [] if number is None else items[: max(number, 0)]


def only(environment: Environment, items: Collection) -> Collection:
    """`single()`: the only item; PathError for several."""
    single(items, "single()")
    return items


def children(environment: Environment, items: Collection) -> Collection:
    """The elements of the items."""
    schema = environment.schema
    found = [child for item in items for child in schema.children(item)]
    environment.spend(len(found))
    return found


def descendants(environment: Environment, items: Collection) -> Collection:
    """The elements of the items, theirs, and so on."""
    found: Collection = []
    level = items
    while level:
        level = children(environment, level)
        found += level
    return found


def repeat(frame: Frame, items: Collection, projection: Run) -> Collection:
    """What the projection gives for the items, for what it gave, and so on, each once."""
    found: Collection = []
    met: set[object] = set()
    waiting = items
    while waiting:
        given = [each for index, item in enumerate(waiting) for each in projection(frame.at(item, index))]
        frame.environment.spend(len(given) + 1)
        waiting = []
        for each in given:
            mark = _mark(each)
            if mark not in met:
                met.add(mark)
                waiting.append(each)
        found += waiting
    return found


def _mark(node: Node) -> object:
    """What tells an item from the others: its place, or the value of what was computed."""
    if node.owner is not None:
        return id(node.owner), node.name, node.index
    return (node.type, str(node.value)) if node.type.startswith("System.") else id(node.value)


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "where": Function(where, 1, 1, "same", lazy=True),
        "select": Function(select, 1, 1, lazy=True),
        "repeat": Function(repeat, 1, 1, lazy=True),
        "extension": Function(extension, 1, 1, "Extension"),
        "first": Function(first, gives="same"),
        "last": Function(last, gives="same"),
        "tail": Function(tail, gives="same"),
        "skip": Function(skip, 1, 1, "same"),
        "take": Function(take, 1, 1, "same"),
        "single": Function(only, gives="same"),
        "children": Function(children),
        "descendants": Function(descendants),
    }
)
