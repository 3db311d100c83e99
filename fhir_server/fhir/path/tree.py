"""The syntax tree of a FHIRPath expression (https://hl7.org/fhirpath/N1): small, frozen, without positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fhir_server.fhir.path.tokens import PathError


@dataclass(frozen=True, slots=True)
class Literal:
    """`kind`: string, boolean, integer, decimal, date, dateTime, time or quantity.

    `value` is a str, bool, int or Decimal; dates and times keep their text without `@`; a quantity is (Decimal, unit).
    """

    kind: str
    value: object


@dataclass(frozen=True, slots=True)
class Empty:
    """`{}`."""


@dataclass(frozen=True, slots=True)
class Special:
    """`$this`, `$index` or `$total`, without the `$`."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """`%name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`of.name`; `of` None where the expression begins (there it may also be a type name)."""

    of: Expression | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`of.name(arguments)`; `of` None where the expression begins."""

    of: Expression | None
    name: str
    arguments: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """`of[index]`."""

    of: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Unary:
    """`-of` or `+of`."""

    operator: str
    of: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class TypeOperation:
    """`of is type` or `of as type`; the type may be qualified (`FHIR.Patient`)."""

    operator: str
    of: Expression
    type: str


Expression: TypeAlias = Literal | Empty | Special | Constant | Member | Call | Item | Unary | Binary | TypeOperation


def type_name(argument: Expression) -> str:
    """The name of the type that stands as an argument: `Patient`, `FHIR.Patient`. Raises PathError for what is none."""
    match argument:
        case Member(None, name):
            return name
        case Member(Member(None, namespace), name):
            return f"{namespace}.{name}"
    raise PathError("the name of a type was expected")
