"""From text to tree: the whole FHIRPath grammar, by precedence climbing."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from fhir_server.fhir.path.tokens import PathError, Token, tokens
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
)

# The tighter an operator binds, the higher its number (https://hl7.org/fhirpath/N1/#operator-precedence).
_BINDING: Final[dict[str, int]] = {
    "implies": 1,
    "or": 2,
    "xor": 2,
    "and": 3,
    "in": 4,
    "contains": 4,
    "=": 5,
    "~": 5,
    "!=": 5,
    "!~": 5,
    "<": 6,
    ">": 6,
    "<=": 6,
    ">=": 6,
    "|": 7,
    "is": 8,
    "as": 8,
    "+": 9,
    "-": 9,
    "&": 9,
    "*": 10,
    "/": 10,
    "div": 10,
    "mod": 10,
}
_SIGN: Final = 11
_NAMES_TOO: Final = frozenset({"as", "is", "in", "contains"})
_KEYWORDS: Final = frozenset({*_BINDING, "true", "false"}) - _NAMES_TOO
_UNITS: Final = frozenset(
    f"{unit}{plural}"
    for unit in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in ("", "s")
)
_DEPTH: Final = 60
_DIGITS: Final = 100


def parse(text: str) -> Expression:
    """The tree of a FHIRPath expression. Raises PathError for anything that is not one, or is nested deeper than 60."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(tokens(text))
        self._at = 0
        self._depth = 0

    def whole(self) -> Expression:
        expression = self._expression(0)
        if self._next.kind != "end":
            raise self._unexpected()
        return expression

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += 1
        return token

    def _taken(self, symbol: str) -> bool:
        if self._next.kind == "symbol" and self._next.text == symbol:
            self._at += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._taken(symbol):
            raise self._unexpected(f"{symbol!r} was expected")

    def _unexpected(self, instead: str = "") -> PathError:
        found = "the end" if self._next.kind == "end" else repr(self._next.text)
        return PathError(f"unexpected {found} at {self._next.at}" + (f", {instead}" if instead else ""))

    def _expression(self, least: int) -> Expression:
        self._depth += 1
        if self._depth > _DEPTH:
            raise PathError(f"nested deeper than {_DEPTH} at {self._next.at}")
        left = self._signed()
        while (binding := self._binding()) > least:
            operator = self._take().text
            if operator in ("is", "as"):
                left = TypeOperation(operator, left, self._type())
            else:
                left = Binary(operator, left, self._expression(binding))
        self._depth -= 1
        return left

    def _binding(self) -> int:
        return _BINDING.get(self._next.text, 0) if self._next.kind in ("symbol", "word") else 0

    def _signed(self) -> Expression:
        if self._next.kind == "symbol" and self._next.text in ("+", "-"):
            return Unary(self._take().text, self._expression(_SIGN))
        return self._invocations()

    def _invocations(self) -> Expression:
        left = self._term()
        while True:
            if self._taken("."):
                left = self._invocation(left)
            elif self._taken("["):
                left = Item(left, self._expression(0))
                self._expect("]")
            else:
                return left

    def _invocation(self, of: Expression | None) -> Expression:
        if self._next.kind == "special":
            return Special(self._take().text) if of is None else self._refuse()
        name = self._name()
        if self._taken("("):
            return Call(of, name, self._arguments())
        return Member(of, name)

    def _refuse(self) -> Expression:
        raise self._unexpected("a name was expected")

    def _name(self) -> str:
        token = self._next
        if token.kind == "quoted" or (token.kind == "word" and token.text not in _KEYWORDS):
            return self._take().text
        raise self._unexpected("a name was expected")

    def _arguments(self) -> tuple[Expression, ...]:
        if self._taken(")"):
            return ()
        arguments = [self._expression(0)]
        while self._taken(","):
            arguments.append(self._expression(0))
        self._expect(")")
        return tuple(arguments)

    def _type(self) -> str:
        name = self._name()
        while self._taken("."):
            name += "." + self._name()
        return name

    def _term(self) -> Expression:
        token = self._next
        if token.kind == "number":
            return self._number()
        if token.kind == "string":
            return Literal("string", self._take().text)
        if token.kind == "time":
            return _moment(self._take().text)
        if token.kind == "constant":
            return Constant(self._take().text)
        if token.kind == "word" and token.text in ("true", "false"):
            return Literal("boolean", self._take().text == "true")
        if self._taken("("):
            inside = self._expression(0)
            self._expect(")")
            return inside
        if self._taken("{"):
            self._expect("}")
            return Empty()
        return self._invocation(None)

    def _number(self) -> Expression:
        at, text = self._next.at, self._take().text
        if len(text) > _DIGITS:
            raise PathError(f"a number of more than {_DIGITS} digits at {at}")
        unit = self._next
        if unit.kind == "string" or (unit.kind == "word" and unit.text in _UNITS):
            return Literal("quantity", (Decimal(text), self._take().text))
        return Literal("decimal", Decimal(text)) if "." in text else Literal("integer", int(text))


def _moment(text: str) -> Literal:
    if text.startswith("T"):
        return Literal("time", text[1:])
    return Literal("dateTime" if "T" in text else "date", text)
