"""The door to all of FHIRPath: an expression compiled once, evaluated on any resource."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.path import tree
from fhir_server.fhir.path.build import Builder
from fhir_server.fhir.path.frame import Budget, Environment, Frame, Run
from fhir_server.fhir.path.functions import truth
from fhir_server.fhir.path.node import Node, Schema
from fhir_server.fhir.path.parse import parse
from fhir_server.fhir.path.tokens import PathError

MAX_TEXT: Final = 10_000
"""How many characters an expression may have."""


class Expression:
    """A compiled expression; made by `compile_expression`. Holds nothing of what it is evaluated on."""

    __slots__ = ("_run", "_schema")

    def __init__(self, run: Run, schema: Schema) -> None:
        self._run = run
        self._schema = schema

    def evaluate(
        self,
        resource: dict[str, Any],
        *,
        focus: Node | None = None,
        root: dict[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        now: datetime | None = None,
        budget: Budget | None = None,
    ) -> list[Node]:
        """The items the expression gives for a resource (a dict as `json.parse` or `json.exact` gives it), in order.

        `focus`: where it begins and what `%context` is, if not at the resource. `root`: `%rootResource`, the resource
        that contains this one. `variables`: name → Node, list of Node, str, bool, int or Decimal, for `%name`.
        `now`: what `now()` means, with its offset. `budget`: the work it may take, `WORK` nodes if none is given.
        Raises PathError, and nothing else, where FHIRPath has an error, and where the work is more than that.
        """
        own = self._schema.root(resource)
        start = focus or own
        outer = own if root is None else self._schema.root(root)
        environment = Environment(self._schema, own, outer, start, variables or {}, now, budget or Budget())
        try:
            return self._run(Frame(environment, [start]))
        except RecursionError:
            raise PathError("nested too deeply") from None

    def holds(
        self,
        resource: dict[str, Any],
        *,
        focus: Node | None = None,
        root: dict[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> bool | None:
        """Whether the expression is true of the resource or the element; None where that cannot be decided (empty)."""
        return truth(self.evaluate(resource, focus=focus, root=root, budget=budget))


def compile_expression(text: str, definitions: Definitions | Schema, focus: str = "") -> Expression:
    """Compile a FHIRPath expression; whoever compiles many gives them one Schema to share.

    With `focus` (a resource type, a datatype, the path of a backbone element) it is for that type alone, and an element
    that cannot be there is an error now; without it, such an element gives nothing. Raises PathError, and nothing else,
    for text that is not FHIRPath, is too long or nested too deeply, and for functions and types that there are not.
    """
    if len(text) > MAX_TEXT:
        raise PathError(f"an expression has at most {MAX_TEXT} characters")
    schema = definitions if isinstance(definitions, Schema) else Schema(definitions)
    try:
        return expression_of(parse(text), schema, focus)
    except RecursionError:
        raise PathError("nested too deeply") from None


def expression_of(parsed: tree.Expression, schema: Schema, focus: str = "") -> Expression:
    """The same for an expression, or a part of one, that is parsed."""
    return Expression(Builder(schema).build(parsed, frozenset({focus}) if focus else None).run, schema)
