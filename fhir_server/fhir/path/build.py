"""From tree to closures: all of FHIRPath, with what can be said of types before it runs."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fhir_server.fhir.path import operators
from fhir_server.fhir.path.combining import sort
from fhir_server.fhir.path.frame import Collection, Frame, Run
from fhir_server.fhir.path.functions import Function, single
from fhir_server.fhir.path.library import LIBRARY
from fhir_server.fhir.path.literals import literal
from fhir_server.fhir.path.node import SYSTEM, Node, Schema
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.tree import (
    Binary,
    Call,
    Constant,
    Empty,
    Expression,
    Item,
    Literal,
    Member,
    Special,
    TypeOperation,
    Unary,
    type_name,
)
from fhir_server.fhir.path.types import TypeTest, type_test

Types = frozenset[str] | None
"""The types an item can have, None where that is not known."""

NOT_FOLLOWED: Final = frozenset({"Resource", "DomainResource", "Element", "BackboneElement"})
"""Types whose items have elements of their own that the type does not tell."""


class Step(NamedTuple):
    """A part of an expression."""

    run: Run
    types: Types


def _this(frame: Frame) -> Collection:
    return frame.this


class Builder:
    """`focus` is, in every method, what is known of the types of `$this`."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def build(self, expression: Expression, focus: Types) -> Step:
        """The closure of a part of an expression; PathError for elements, types and functions that there are not."""
        match expression:
            case Literal():
                return self._literal(expression)
            case Empty():
                return Step(lambda frame: [], frozenset())
            case Special(name):
                return self._special(name, focus)
            case Constant(name):
                return Step(operators.constant(name), None)
            case Member(of, name):
                return self._beginning(name, focus) if of is None else self._member(self.build(of, focus), name)
            case Item(of, index):
                inner = self.build(of, focus)
                return Step(_item(inner.run, self.build(index, focus).run), inner.types)
            case TypeOperation(operator, of, type_):
                return self._type_operation(operator, self.build(of, focus), type_)
            case Unary(operator, of):
                inner = self.build(of, focus)
                return Step(operators.signed(operator, inner.run), inner.types)
            case Binary(operator, left, right):
                one, other = self.build(left, focus), self.build(right, focus)
                return Step(operators.binary(operator, one.run, other.run), operators.type_of(operator, one, other))
            case Call(of, name, arguments):
                return self._call(Step(_this, focus) if of is None else self.build(of, focus), name, arguments, focus)

    def _literal(self, expression: Literal) -> Step:
        node = literal(expression)
        return Step(lambda frame: [node], frozenset({node.type}))

    def _special(self, name: str, focus: Types) -> Step:
        if name == "this":
            return Step(_this, focus)
        if name == "index":
            return Step(_index, frozenset({SYSTEM + "Integer"}))
        return Step(_total, None)

    def _beginning(self, name: str, focus: Types) -> Step:
        """A name where an expression begins: a type that the focus must have, or an element of it."""
        if not name[:1].isupper():
            return self._member(Step(_this, focus), name)
        test = type_test(self._schema, name)
        kept = self._kept(focus, test)
        if kept is not None and not kept:
            raise PathError(f"the expression begins with {name}, which the focus is not")
        return Step(operators.of_type(_this, test), kept)

    def _member(self, of: Step, name: str) -> Step:
        if of.types is None or not NOT_FOLLOWED.isdisjoint(of.types):
            return Step(_member(self._schema, of.run, name), None)
        found = {kind for type_ in of.types for _, kind, _ in self._schema.steps(type_, name)}
        if not found and of.types:
            raise PathError(f"no element {name} in {' or '.join(sorted(of.types))}")
        return Step(_member(self._schema, of.run, name), None if "Resource" in found else frozenset(found))

    def _call(self, of: Step, name: str, arguments: tuple[Expression, ...], focus: Types) -> Step:
        if name in ("is", "as", "ofType") and len(arguments) == 1:
            return self._type_operation(name, of, type_name(arguments[0]))
        if name == "sort":
            return self._sort(of, arguments)
        function = LIBRARY.get(name)
        if function is None:
            raise PathError(f"there is no function {name}()")
        if not function.least <= len(arguments) <= function.most:
            raise PathError(f"{name}() does not take {len(arguments)} arguments")
        if of.types and function.of and function.of.isdisjoint(self._all_ancestors(of.types)):
            raise PathError(f"{name}() is not for {' or '.join(sorted(of.types))}")
        inner = of.types if function.lazy else focus
        runs = tuple(self.build(argument, inner).run for argument in arguments)
        return Step(_called(function, of.run, runs), self._given(function, of.types))

    def _sort(self, of: Step, keys: tuple[Expression, ...]) -> Step:
        """`sort()`, where a minus before a key means that it descends."""
        descending = [isinstance(key, Unary) and key.operator == "-" for key in keys]
        plain = (key.of if isinstance(key, Unary) else key for key in keys)
        runs = tuple((self.build(key, of.types).run, down) for key, down in zip(plain, descending, strict=True))
        return Step(lambda frame: sort(frame, of.run(frame), runs), of.types)

    def _all_ancestors(self, types: frozenset[str]) -> frozenset[str]:
        return frozenset().union(*(self._schema.ancestors(type_) for type_ in types))

    def _given(self, function: Function, of: Types) -> Types:
        if function.gives == "same":
            return of
        if function.gives == "Extension":
            return frozenset({"Extension"})
        return frozenset({SYSTEM + function.gives}) if function.gives else None

    def _type_operation(self, operator: str, of: Step, name: str) -> Step:
        test = type_test(self._schema, name)
        if operator == "is":
            return Step(operators.is_type(of.run, test), frozenset({SYSTEM + "Boolean"}))
        run = operators.of_type(of.run, test) if operator == "ofType" else operators.as_type(of.run, test)
        return Step(run, self._kept(of.types, test))

    def _kept(self, types: Types, test: TypeTest) -> Types:
        """Of the types an item can have, those that pass the test."""
        if types is None or not NOT_FOLLOWED.isdisjoint(types):
            return test.names
        return frozenset(type_ for type_ in types if test.accepts(type_))


def _index(frame: Frame) -> Collection:
    return [] if frame.index is None else [Node(frame.index, SYSTEM + "Integer")]


def _total(frame: Frame) -> Collection:
    return frame.total or []


def _member(schema: Schema, of: Run, name: str) -> Run:
    def members(frame: Frame) -> Collection:
        found: Collection = []
        for node in of(frame):
            found += schema.member(node, name)
        frame.environment.spend(len(found) + 1)
        return found

    return members


def _item(of: Run, index: Run) -> Run:
    def item(frame: Frame) -> Collection:
        frame.environment.spend(1)
        position = single(index(frame), "an index")
        if position is None:
            return []
        if type(position.value) is not int:
            raise PathError("an index is an integer")
        return of(frame)[position.value : position.value + 1] if position.value >= 0 else []

    return item


def _called(function: Function, of: Run, arguments: tuple[Run, ...]) -> Run:
    call: Any = function.call
    if function.lazy:

        def lazily(frame: Frame) -> Collection:
            items = of(frame)
            frame.environment.spend(len(items) + 1)
            result: Collection = call(frame, items, *arguments)
            return result

        return lazily

    def eagerly(frame: Frame) -> Collection:
        items = of(frame)
        frame.environment.spend(len(items) + 1)
        result: Collection = call(frame.environment, items, *(argument(frame) for argument in arguments))
        return result

    return eagerly
