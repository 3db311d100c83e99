"""Literals as nodes."""

from __future__ import annotations

from decimal import Decimal

from fhir_server.fhir.path.amounts import amount_in
from fhir_server.fhir.path.moments import parse_moment
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.tree import Literal


def literal(expression: Literal) -> Node:
    """The node of a literal; PathError for a date that does not exist."""
    match expression:
        case Literal("quantity", (Decimal() as value, str(unit))):
            return Node(amount_in(value, unit), "System.Quantity")
        case Literal("date" | "dateTime" | "time" as kind, str(text)):
            system = "Date" if kind == "date" else "DateTime" if kind == "dateTime" else "Time"
            moment = parse_moment(text, system)  # type: ignore[arg-type]
            if moment is None:
                raise PathError("the expression holds a date or time that does not exist")
            return Node(moment, "System." + system)
        case Literal(kind, value):
            return Node(value, "System." + kind[0].upper() + kind[1:])
