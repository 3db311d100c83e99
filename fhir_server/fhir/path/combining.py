"""Functions of FHIRPath that make one collection of two, one value of many, or another order (§5.4, §7)."""

from __future__ import annotations

from functools import cmp_to_key
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path.equality import compare, distinct, keys
from fhir_server.fhir.path.frame import Collection, Environment, Frame, Run
from fhir_server.fhir.path.functions import Function, Functions, single
from fhir_server.fhir.path.node import Node


def union(environment: Environment, items: Collection, other: Collection) -> Collection:
    """Both, equal items once."""
    return distinct(environment, items + other)


def combine(environment: Environment, items: Collection, other: Collection) -> Collection:
    """Both."""
    environment.spend(len(other))
    return items + other


def intersect(environment: Environment, items: Collection, other: Collection) -> Collection:
    """The items that are in both, once."""
    known = set(keys(environment, other))
    once = distinct(environment, items)
    return [item for key, item in zip(keys(environment, once), once, strict=True) if key in known]


def exclude(environment: Environment, items: Collection, other: Collection) -> Collection:
    """The items that are not among the others."""
    known = set(keys(environment, other))
    return [item for key, item in zip(keys(environment, items), items, strict=True) if key not in known]


def aggregate(frame: Frame, items: Collection, aggregator: Run, start: Run | None = None) -> Collection:
    """What the aggregator makes of `$total` and each item in turn."""
    total = start(frame) if start else []
    for index, item in enumerate(items):
        total = aggregator(Frame(frame.environment, [item], index, total))
        frame.environment.spend(len(total))
    return total


def sort(frame: Frame, items: Collection, keys: tuple[tuple[Run, bool], ...]) -> Collection:
    """The items in the order of their keys, each a closure and whether it descends; without keys, in their own.

    An item without a key comes before those that have it, either way. PathError for keys that have no order.
    """
    frame.environment.spend(len(items) * max(len(items).bit_length(), 1))
    for run, descending in reversed(keys or ((_itself, False),)):
        keyed = [(single(run(frame.at(item, index)), "a key of sort()"), item) for index, item in enumerate(items)]
        without = [item for found, item in keyed if found is None]
        having = [(found, item) for found, item in keyed if found is not None]
        having.sort(key=lambda pair: _order(pair[0]), reverse=descending)
        items = [*without, *(item for _, item in having)]
    return items


def _itself(frame: Frame) -> Collection:
    return frame.this


@cmp_to_key
def _order(one: Node, other: Node) -> int:
    return compare(one, other) or 0


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "union": Function(union, 1, 1),
        "combine": Function(combine, 1, 1),
        "intersect": Function(intersect, 1, 1, "same"),
        "exclude": Function(exclude, 1, 1, "same"),
        "aggregate": Function(aggregate, 1, 2, lazy=True),
    }
)
