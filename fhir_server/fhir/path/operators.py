"""The operators of FHIRPath, and its constants (https://hl7.org/fhirpath/N1/#operations)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fhir_server.fhir.path.arithmetic import ARITHMETIC, negative
from fhir_server.fhir.path.equality import compare, distinct, equal, equivalent, keys
from fhir_server.fhir.path.frame import Collection, Environment, Frame, Run
from fhir_server.fhir.path.functions import boolean, single, truth
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.types import TypeTest
from fhir_server.fhir.path.values import node_of

_CONSTANTS: Final[Mapping[str, str]] = MappingProxyType(
    {"sct": "http://snomed.info/sct", "loinc": "http://loinc.org", "ucum": "http://unitsofmeasure.org"}
)
_PREFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {"vs-": "http://hl7.org/fhir/ValueSet/", "ext-": "http://hl7.org/fhir/StructureDefinition/"}
)

Binary = Callable[[Environment, Collection, Collection], Collection]


def constant(name: str) -> Run:
    """`%name`: a system, a value set or extension of HL7, the resource, or what the caller has set."""
    for prefix, base in _PREFIXES.items():
        if name.startswith(prefix):
            return _literal(base + name.removeprefix(prefix))
    if name in _CONSTANTS:
        return _literal(_CONSTANTS[name])
    match name:
        case "resource":
            return lambda frame: [frame.environment.resource]
        case "rootResource":
            return lambda frame: [frame.environment.root]
        case "context":
            return lambda frame: [frame.environment.context]

    def variable(frame: Frame) -> Collection:
        if name not in frame.environment.variables:
            raise PathError(f"there is no variable %{name}")
        value = frame.environment.variables[name]
        return [node_of(each) for each in value] if type(value) is list else [node_of(value)]

    return variable


def _literal(value: str) -> Run:
    node = node_of(value)
    return lambda frame: [node]


def binary(operator: str, left: Run, right: Run) -> Run:
    """`left operator right`. The second side of a logical operator runs only where it can change the answer."""
    if operator in _LOGIC:
        return _LOGIC[operator](left, right)
    combine = _BINARY[operator]

    def combined(frame: Frame) -> Collection:
        frame.environment.spend(1)
        return combine(frame.environment, left(frame), right(frame))

    return combined


def signed(operator: str, of: Run) -> Run:
    """`+of` and `-of`."""

    def negated(frame: Frame) -> Collection:
        frame.environment.spend(1)
        return negative(of(frame), operator == "-")

    return negated


def is_type(of: Run, test: TypeTest) -> Run:
    """`is`: whether the only item has the type."""

    def tested(frame: Frame) -> Collection:
        frame.environment.spend(1)
        item = single(of(frame), "is")
        return [] if item is None else boolean(test.accepts(item.type))

    return tested


def as_type(of: Run, test: TypeTest) -> Run:
    """`as`: the only item, if it has the type."""

    def kept(frame: Frame) -> Collection:
        frame.environment.spend(1)
        item = single(of(frame), "as")
        return [item] if item is not None and test.accepts(item.type) else []

    return kept


def of_type(of: Run, test: TypeTest) -> Run:
    """`ofType()`: the items that have the type."""

    def kept(frame: Frame) -> Collection:
        items = of(frame)
        frame.environment.spend(len(items) + 1)
        return [item for item in items if test.accepts(item.type)]

    return kept


def _and(left: Run, right: Run) -> Run:
    def both(frame: Frame) -> Collection:
        frame.environment.spend(1)
        one = truth(left(frame))
        if one is False:
            return boolean(False)
        other = truth(right(frame))
        if other is False:
            return boolean(False)
        return boolean(True) if one and other else []

    return both


def _or(left: Run, right: Run) -> Run:
    def either(frame: Frame) -> Collection:
        frame.environment.spend(1)
        one = truth(left(frame))
        if one:
            return boolean(True)
        other = truth(right(frame))
        if other:
            return boolean(True)
        return [] if one is None or other is None else boolean(False)

    return either


def _xor(left: Run, right: Run) -> Run:
    def differ(frame: Frame) -> Collection:
        frame.environment.spend(1)
        one, other = truth(left(frame)), truth(right(frame))
        return [] if one is None or other is None else boolean(one is not other)

    return differ


def _implies(left: Run, right: Run) -> Run:
    def implied(frame: Frame) -> Collection:
        frame.environment.spend(1)
        one = truth(left(frame))
        if one is False:
            return boolean(True)
        other = truth(right(frame))
        if other:
            return boolean(True)
        return [] if one is None or other is None else boolean(False)

    return implied


_LOGIC: Final[Mapping[str, Callable[[Run, Run], Run]]] = MappingProxyType(
    {"and": _and, "or": _or, "xor": _xor, "implies": _implies}
)


def _three_valued(answer: bool | None) -> Collection:
    return [] if answer is None else boolean(answer)


def _union(environment: Environment, left: Collection, right: Collection) -> Collection:
    return distinct(environment, left + right)


def _equals(environment: Environment, left: Collection, right: Collection) -> Collection:
    return _three_valued(equal(environment, left, right))


def _differs(environment: Environment, left: Collection, right: Collection) -> Collection:
    answer = equal(environment, left, right)
    return [] if answer is None else boolean(not answer)


def _is_equivalent(environment: Environment, left: Collection, right: Collection) -> Collection:
    return boolean(equivalent(environment, left, right))


def _is_not_equivalent(environment: Environment, left: Collection, right: Collection) -> Collection:
    return boolean(not equivalent(environment, left, right))


def _in(environment: Environment, left: Collection, right: Collection) -> Collection:
    item = single(left, "in")
    if item is None or item.value is None:
        return []
    wanted, *known = keys(environment, [item, *right])
    return boolean(wanted in known)


def _contains(environment: Environment, left: Collection, right: Collection) -> Collection:
    return _in(environment, right, left)


def _ordered(holds: Callable[[int], bool]) -> Binary:
    def compared(environment: Environment, left: Collection, right: Collection) -> Collection:
        one, other = single(left, "a comparison"), single(right, "a comparison")
        if one is None or other is None:
            return []
        order = compare(one, other)
        return [] if order is None else boolean(holds(order))

    return compared


_BINARY: Final[Mapping[str, Binary]] = MappingProxyType(
    {
        "|": _union,
        "=": _equals,
        "!=": _differs,
        "~": _is_equivalent,
        "!~": _is_not_equivalent,
        "in": _in,
        "contains": _contains,
        "<": _ordered(lambda order: order < 0),
        ">": _ordered(lambda order: order > 0),
        "<=": _ordered(lambda order: order <= 0),
        ">=": _ordered(lambda order: order >= 0),
        **ARITHMETIC,
    }
)


def type_of(operator: str, left: Any, right: Any) -> frozenset[str] | None:
    """The types that the result of an operator can have, None where that depends on the values."""
    if operator == "|":
        return None if left.types is None or right.types is None else left.types | right.types
    if operator == "&":
        return frozenset({"System.String"})
    return None if operator in ARITHMETIC else frozenset({"System.Boolean"})
