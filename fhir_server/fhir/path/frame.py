"""What the closures of an expression are given when they run: the focus, the variables, what work is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from fhir_server.fhir.path.node import Node, Schema
from fhir_server.fhir.path.regular import Regular
from fhir_server.fhir.path.tokens import PathError

Collection: TypeAlias = list[Node]

WORK: Final = 100_000
"""How many nodes one evaluation may visit: some tenths of a second at most."""

LONGEST: Final = 1_000_000
"""How many characters a string that is computed may have."""


class Budget:
    """How much work is left, in nodes; shared by evaluations that together may take so much."""

    __slots__ = ("left",)

    def __init__(self, work: int = WORK) -> None:
        self.left = work


@dataclass(slots=True)
class Environment:
    """What is the same for one whole evaluation."""

    schema: Schema
    resource: Node
    root: Node
    context: Node
    variables: Mapping[str, Any] = field(default_factory=dict)
    now: datetime | None = None
    budget: Budget = field(default_factory=Budget)
    patterns: dict[str, Regular] = field(default_factory=dict)

    def spend(self, work: int) -> None:
        """Count nodes visited, characters matched; PathError when it is too much."""
        self.budget.left -= work
        if self.budget.left < 0:
            raise PathError("the expression takes too much work on this resource")

    def write(self, length: int) -> None:
        """Count the characters of a string that is made; PathError when it is too long."""
        if length > LONGEST:
            raise PathError(f"a string has at most {LONGEST} characters")
        self.spend(length // 100)

    def regular(self, pattern: str) -> Regular:
        """The regular expression, compiled once an evaluation."""
        if pattern not in self.patterns:
            self.patterns[pattern] = Regular(pattern)
            self.spend(10 * self.patterns[pattern].size)
        return self.patterns[pattern]

    def instant(self) -> datetime:
        """The one moment that `now()` and `today()` mean in this evaluation."""
        if self.now is None:
            self.now = datetime.now(UTC)
        return self.now


class Frame:
    """`this` is `$this` as a collection; `index` and `total` are what the innermost function says of them."""

    __slots__ = ("environment", "index", "this", "total")

    def __init__(
        self, environment: Environment, this: Collection, index: int | None = None, total: Collection | None = None
    ) -> None:
        self.environment = environment
        self.this = this
        self.index = index
        self.total = total

    def at(self, node: Node, index: int) -> Frame:
        """The frame for one item of a collection."""
        return Frame(self.environment, [node], index, self.total)


Run: TypeAlias = Callable[[Frame], Collection]
