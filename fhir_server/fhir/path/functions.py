"""What the table of functions says of each one, and the few things all of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from fhir_server.fhir.path.frame import Collection
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.tokens import PathError


class Function(NamedTuple):
    """A function of FHIRPath and what can be said of it before it runs.

    `call` is given the environment, the input and each argument as a collection; a `lazy` one is given the frame, the
    input and each argument as a closure, to run once an item or not at all. It takes `least` to `most` arguments.
    `gives` is the type of what comes out: a type of FHIRPath without its namespace, "same" for that of the input, empty
    where it cannot be told. `of` are the types it works on, none meaning any.
    """

    call: Callable[..., Collection]
    least: int = 0
    most: int = 0
    gives: str = ""
    of: frozenset[str] = frozenset()
    lazy: bool = False


Functions: TypeAlias = Mapping[str, Function]


def boolean(value: bool) -> Collection:
    """A collection of one Boolean."""
    return [Node(value, "System.Boolean")]


def string(value: str) -> Collection:
    """A collection of one String."""
    return [Node(value, "System.String")]


def integer(value: int) -> Collection:
    """A collection of one Integer."""
    return [Node(value, "System.Integer")]


def single(items: Collection, what: str) -> Node | None:
    """The only item, None of an empty collection; PathError for several."""
    if len(items) > 1:
        raise PathError(f"{what} is for one item, not for {len(items)}")
    return items[0] if items else None


def truth(items: Collection) -> bool | None:
    """A collection where a Boolean is expected (https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections).

    None of an empty one; a single item that is no Boolean counts as true; PathError for several.
    """
    item: Any = single(items, "a condition")
    if item is None:
        return None
    return item.value if type(item.value) is bool else True
