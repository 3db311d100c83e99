"""Conditions in FHIRPath as plain tests of a JSON object, where they have the shape that nearly all invariants have.

`code.empty() or system.exists()` is two look-ups in a dict. What has another shape is left to FHIRPath, and only where
it is reached: an invariant on an element that is not there costs a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, Final

from fhir_server.fhir.path import Node, PathError, compile_tree, expression_of
from fhir_server.fhir.path.node import Schema
from fhir_server.fhir.path.tree import Binary, Call, Expression, Literal, Member
from fhir_server.validation.findings import Scope

Condition = Callable[[Any, Scope], bool | None]
"""Whether it holds for an object, None where FHIRPath does not decide. Never raises, whatever the object."""

_DATES: Final = frozenset({"date", "dateTime", "instant"})


class Conditions:
    """Makes conditions on the objects of one type."""

    def __init__(self, schema: Schema, type_: str) -> None:
        self._schema = schema
        self._type = type_

    def condition(self, expression: Expression) -> Condition:
        """The test of an expression; PathError where FHIRPath has an error that is seen without an object."""
        return self._plain(expression) or self._general(expression)

    def _plain(self, expression: Expression) -> Condition | None:
        match expression:
            case Binary("and" | "or" | "implies" as operator, left, right):
                return self._logical(operator, left, right)
            case Binary("xor" | "!=", Call() as left, Call() as right):
                return self._same(left, right, False)
            case Binary("=", Call() as left, Call() as right):
                return self._same(left, right, True)
            case Binary("=" | "!=" as operator, Member() as member, Literal(kind, value)):
                return self._equals(member, kind, value, operator == "=")
            case Binary("in", Member() as member, Binary("|") as listed):
                return self._listed(member, listed)
            case Binary("<=", Member() as left, Member() as right):
                return self._dates(expression, left, right)
            case Call(of, "not", ()) if of is not None:
                inner = self.condition(of)
                return lambda value, scope: None if (held := inner(value, scope)) is None else not held
            case Call(of, "exists" | "empty" as name, ()) if of is not None:
                return self._exists(expression, of, name == "exists")
            case Call(Member() as member, "hasValue", ()):
                return self._has_value(member)
        return None

    def _logical(self, operator: str, left: Expression, right: Expression) -> Condition:
        """The cheaper side first: `and` and `or` do not mind."""
        one, other = self._plain(left), self._plain(right)
        if operator == "implies":
            return _either(_negated(one or self._general(left)), other or self._general(right))
        first, second = one or other or self._general(left), other if one else None
        second = second or self._general(right if one or not other else left)
        return _both(first, second) if operator == "and" else _either(first, second)

    def _same(self, left: Call, right: Call, expected: bool) -> Condition | None:
        """`a.exists() = b.exists()`, `a.exists() xor b.exists()`."""
        if not {left.name, right.name} <= {"exists", "empty"}:
            return None
        one, other = self.condition(left), self.condition(right)

        def same(value: Any, scope: Scope) -> bool | None:
            first, second = one(value, scope), other(value, scope)
            return None if first is None or second is None else (first is second) is expected

        return same

    def _equals(self, member: Member, kind: str, expected: object, wanted: bool) -> Condition | None:
        name = self._value_name(member)
        if name is None or kind not in ("string", "boolean", "integer"):
            return None
        return lambda value, scope: None if (found := value.get(name)) is None else (found == expected) is wanted

    def _listed(self, member: Member, listed: Binary) -> Condition | None:
        name, options = self._value_name(member), _strings(listed)
        if name is None or options is None:
            return None
        return lambda value, scope: None if (found := value.get(name)) is None else str(found) in options

    def _dates(self, expression: Binary, left: Member, right: Member) -> Condition | None:
        """`start <= end` of dates that are as precise, and of one offset, as their texts."""
        low, high = self._value_name(left), self._value_name(right)
        if low is None or high is None or not {self._type_of(left), self._type_of(right)} <= _DATES:
            return None
        general = self._general(expression)

        def ordered(value: Any, scope: Scope) -> bool | None:
            start, end = value.get(low), value.get(high)
            if type(start) is str and type(end) is str and len(start) == len(end) and start[19:] == end[19:]:
                return start <= end
            return general(value, scope)

        return ordered

    def _has_value(self, member: Member) -> Condition | None:
        name = self._value_name(member)
        return None if name is None else lambda value, scope: value.get(name) is not None

    def _exists(self, expression: Expression, of: Expression, wanted: bool) -> Condition | None:
        """Of an element of the object a look-up; of what lies deeper too where that element is not there."""
        name, first = _first(of, self._type)
        steps = self._schema.steps(self._type, name)
        if not steps:
            return None
        names = {name for json, _, companion in steps for name in (json, companion) if name}
        there = _present(names)
        if of == first:
            return lambda value, scope: there(value) is wanted
        deeper = self._deeper(of, wanted) or self._general(expression)
        return lambda value, scope: deeper(value, scope) if there(value) else not wanted

    def _deeper(self, of: Expression, wanted: bool) -> Condition | None:
        """What a path leads to, if that can only be objects: values can be missing and have extensions."""
        try:
            path = compile_tree(of, self._schema.definitions, self._type)
        except PathError:
            return None
        if not path.types or any(self._schema.is_primitive(type_) for type_ in path.types):
            return None
        run = path.run
        return lambda value, scope: bool(run(value)) is wanted

    def _general(self, expression: Expression) -> Condition:
        compiled = expression_of(expression, self._schema, self._type)
        type_ = self._type

        def held(value: Any, scope: Scope) -> bool | None:
            try:
                return compiled.holds(scope.resource, focus=Node(value, type_), root=scope.root, budget=scope.budget)
            except PathError:
                return None

        return held

    def _value_name(self, member: Member) -> str | None:
        """The JSON property of a primitive element of the object that does not repeat; None for other elements."""
        name, first = _first(member, self._type)
        element = None
        if member == first and self._schema.steps(self._type, name):
            element = self._schema.definitions.type(self._type).elements[name]
        if element is None or element.many or element.choice or not self._schema.is_primitive(element.types[0]):
            return None
        return name

    def _type_of(self, member: Member) -> str:
        return self._schema.definitions.type(self._type).elements[member.name].types[0]


def _first(expression: Expression, type_: str) -> tuple[str, Expression | None]:
    """The element where a path begins, with its part of the path; its own type may stand before it."""
    while True:
        match expression:
            case Member(None | Member(None), name) if expression.of in (None, Member(None, type_)):
                return name, expression
            case Member(of, _) | Call(of, _, _) if of is not None:
                expression = of
            case _:
                return "", None


def _present(names: Set[str]) -> Callable[[Any], bool]:
    """Whether an object has one of the properties."""
    if len(names) == 1:
        (name,) = names
        return lambda value: name in value
    if len(names) == 2:
        one, other = sorted(names, reverse=True)  # the value before its companion
        return lambda value: one in value or other in value
    known = frozenset(names)
    return lambda value: not known.isdisjoint(value)


def _strings(listed: Expression) -> frozenset[str] | None:
    match listed:
        case Literal("string", str(text)):
            return frozenset({text})
        case Binary("|", left, right):
            one, other = _strings(left), _strings(right)
            return one | other if one and other else None
    return None


def _negated(inner: Condition) -> Condition:
    return lambda value, scope: None if (held := inner(value, scope)) is None else not held


def _both(one: Condition, other: Condition) -> Condition:
    def both(value: Any, scope: Scope) -> bool | None:
        first = one(value, scope)
        if first is False:
            return False
        second = other(value, scope)
        return False if second is False else first and second

    return both


def _either(one: Condition, other: Condition) -> Condition:
    def either(value: Any, scope: Scope) -> bool | None:
        first = one(value, scope)
        if first:
            return True
        second = other(value, scope)
        return True if second else None if first is None else second

    return either
