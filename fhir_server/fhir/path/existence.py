"""Functions of FHIRPath that ask whether, how many and which: exists, all, count, subsetOf, hasValue … (§5.1)."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path.equality import distinct, keys
from fhir_server.fhir.path.filtering import where
from fhir_server.fhir.path.frame import Collection, Environment, Frame, Run
from fhir_server.fhir.path.functions import Function, Functions, boolean, integer, truth
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.values import atom, node_of


def exists(frame: Frame, items: Collection, criterion: Run | None = None) -> Collection:
    """Whether there is an item, or one for which the criterion is true."""
    return boolean(bool(items if criterion is None else where(frame, items, criterion)))


def empty(environment: Environment, items: Collection) -> Collection:
    """Whether there is no item."""
    return boolean(not items)


def is_not(environment: Environment, items: Collection) -> Collection:
    """`not()`, in the three values of FHIRPath."""
    value = truth(items)
    return [] if value is None else boolean(not value)


def every(frame: Frame, items: Collection, criterion: Run) -> Collection:
    """`all()`: whether the criterion is true for each item; of none it is."""
    return boolean(all(truth(criterion(frame.at(item, index))) is True for index, item in enumerate(items)))


def _of_booleans(decide: Callable[[list[bool]], bool]) -> Callable[[Environment, Collection], Collection]:
    def decided(environment: Environment, items: Collection) -> Collection:
        values = [item.value for item in items]
        if not all(type(value) is bool for value in values):
            raise PathError("only Booleans are all or any of them true or false")
        return boolean(decide(values))

    return decided


def count(environment: Environment, items: Collection) -> Collection:
    """How many items there are."""
    return integer(len(items))


def subset_of(environment: Environment, items: Collection, other: Collection) -> Collection:
    """Whether each item is one of the others too."""
    return boolean(set(keys(environment, items)) <= set(keys(environment, other)))


def superset_of(environment: Environment, items: Collection, other: Collection) -> Collection:
    """Whether each of the others is an item too."""
    return subset_of(environment, other, items)


def once(environment: Environment, items: Collection) -> Collection:
    """`distinct()`: the items, equal ones once."""
    return distinct(environment, items)


def is_distinct(environment: Environment, items: Collection) -> Collection:
    """Whether no two items are equal."""
    return boolean(len(set(keys(environment, items))) == len(items))


def has_value(environment: Environment, items: Collection) -> Collection:
    """Whether there is one item, a primitive element with a value."""
    return boolean(len(items) == 1 and items[0].value is not None and type(items[0].value) is not dict)


def get_value(environment: Environment, items: Collection) -> Collection:
    """The value of a primitive element, without the element."""
    if len(items) != 1 or type(items[0].value) is dict:
        return []
    value = atom(items[0])
    return [] if value is None else [node_of(value)]


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "exists": Function(exists, 0, 1, "Boolean", lazy=True),
        "empty": Function(empty, gives="Boolean"),
        "not": Function(is_not, gives="Boolean"),
        "all": Function(every, 1, 1, "Boolean", lazy=True),
        "allTrue": Function(_of_booleans(all), gives="Boolean"),
        "anyTrue": Function(_of_booleans(any), gives="Boolean"),
        "allFalse": Function(_of_booleans(lambda values: not any(values)), gives="Boolean"),
        "anyFalse": Function(_of_booleans(lambda values: not all(values)), gives="Boolean"),
        "count": Function(count, gives="Integer"),
        "subsetOf": Function(subset_of, 1, 1, "Boolean"),
        "supersetOf": Function(superset_of, 1, 1, "Boolean"),
        "distinct": Function(once, gives="same"),
        "isDistinct": Function(is_distinct, gives="Boolean"),
        "hasValue": Function(has_value, gives="Boolean"),
        "getValue": Function(get_value),
    }
)
