"""What one search may hold, and the checks that need no understanding of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhir_server.errors import Issue, Malformed
from fhir_server.search.kinds.asked import split
from fhir_server.search.kinds.bounds import LONGEST


@dataclass(frozen=True, slots=True)
class Limits:
    """What one search may hold.

    `parameters`; `values` joined by commas in all of them together; `length`: characters of a value, none being longer
    than what the index has. `hops` that follow each other in one chain; `turns`: hops of all chains together, once they
    are spread over the types that they may lead to. `filter`: characters of a `_filter`. `includes`; `keys` of a sort.
    """

    parameters: int = 50
    values: int = 200
    length: int = LONGEST
    hops: int = 5
    turns: int = 100
    filter: int = 4_000
    includes: int = 10
    keys: int = 5


LIMITS: Final = Limits()


def check(pairs: list[tuple[str, str]], limits: Limits) -> None:
    """Raises Malformed for more parameters or values, or longer ones, than the limits allow."""
    if len(pairs) > limits.parameters:
        raise too_costly(f"More than {limits.parameters} parameters.")
    # What can be counted is counted first: to take millions of values apart costs a hundred times their length.
    _check_count(sum(1 + value.count(",") - value.count("\\,") for _, value in pairs), limits)
    for name, value in pairs:
        check_length(name, value, limits.values * (limits.length + 1))
    values = [(name, text) for name, value in pairs for text in split(value, ",")]
    _check_count(len(values), limits)
    for name, text in values:
        check_length(name, text, limits.filter if name == "_filter" else limits.length)


def check_length(name: str, text: str, most: int) -> None:
    """Raises Malformed for a text of more than `most` characters."""
    if len(text) > most:
        raise Malformed(issues=[Issue("too-long", f"More than {most} characters.", name[:100])])


def too_costly(text: str, name: str = "") -> Malformed:
    """The error of a search that asks for too much."""
    return Malformed(issues=[Issue("too-costly", text, name[:100])])


def _check_count(values: int, limits: Limits) -> None:
    if values > limits.values:
        raise too_costly(f"More than {limits.values} values.")
