"""What the caller may see goes into every hop of a search, wherever it stands (spec access §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fhir_server.search.predicate import And, Chained, Not, Or, Predicate, Referred, conj, disj, negate


def cleared(predicate: Predicate, visible: Callable[[tuple[str, ...]], Predicate]) -> Predicate:
    """`predicate` with `visible(types)` in every hop that has none yet; a hop that has keeps what it has.

    `visible` gives what the caller may see of resources of the types that a hop leads to, and must lead no further by
    hops itself.
    """
    match predicate:
        case Chained(_, types, to, None):
            return replace(predicate, to=cleared(to, visible), visible=visible(types))
        case Referred(type_, _, by, None):
            return replace(predicate, by=cleared(by, visible), visible=visible((type_,)))
        case Chained(_, _, to):
            return replace(predicate, to=cleared(to, visible))
        case Referred(_, _, by):
            return replace(predicate, by=cleared(by, visible))
        case And(of):
            return conj(*(cleared(part, visible) for part in of))
        case Or(of):
            return disj(*(cleared(part, visible) for part in of))
        case Not(of):
            return negate(cleared(of, visible))
    return predicate


def uncleared(predicate: Predicate) -> frozenset[tuple[str, ...]]:
    """The types that hops without `visible` lead to: what `cleared` will ask for, to be found out beforehand."""
    return frozenset(
        hop.types if isinstance(hop, Chained) else (hop.type,) for hop in hops(predicate) if hop.visible is None
    )


def hops(predicate: Predicate) -> Iterator[Chained | Referred]:
    """Every hop, each before those that follow it."""
    match predicate:
        case Chained(to=inner) | Referred(by=inner):
            yield predicate
            yield from hops(inner)
        case And(of) | Or(of):
            for part in of:
                yield from hops(part)
        case Not(of):
            yield from hops(of)
