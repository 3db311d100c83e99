"""Predicates that are made once and asked often: a record's policy compiled for one caller (spec access §5).

What is remembered is the question, never an answer: each row is still held against it. A predicate is found again by
the caller, by the version of each policy it was made of, by the right and by the types asked about, and only within the
span of time in which nothing of those policies begins or ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from fhir_server.auth.actor import Actor
from fhir_server.consent.openings import openings_of
from fhir_server.consent.periods import Span
from fhir_server.consent.policy import RecordPolicy
from fhir_server.consent.rules import Rules
from fhir_server.search.predicate import AllRefs, And, AnyRef, Not, Or, Predicate, Rng, SomeRef

# Facts that a rule compares with the present: who is asked about them asks anew each time.
_PRESENT: Final = frozenset({"deposited_at", "release_at"})
Versions: TypeAlias = tuple[tuple[str, int], ...]
"""Patients and the versions of their policies."""

_Key: TypeAlias = tuple[Actor, Versions, str, frozenset[str] | None]


class Remembered:
    """`Rules.predicate`, the least used of what it gave forgotten."""

    def __init__(self, rules: Rules, size: int = 2048) -> None:
        """`size`: how many predicates at the most."""
        self._rules = rules
        self._size = size
        self._known: OrderedDict[_Key, tuple[Predicate, Span]] = OrderedDict()

    def predicate(
        self,
        actor: Actor,
        policies: Mapping[str, RecordPolicy],
        now: int,
        *,
        letter: str,
        only: Collection[str] | None,
    ) -> Predicate:
        """What `Rules.predicate` says to the same."""
        versions = tuple([(patient, policy.version) for patient, policy in policies.items()])
        known = self.known(actor, versions, now, letter=letter, only=only)
        if known is not None:
            return known
        made = self._rules.predicate(actor, policies, now, letter=letter, only=only)
        if not _asks_the_present(made):
            key = _key(actor, versions, letter, only)
            self._known[key] = (made, _steady(actor, policies, now))
            self._known.move_to_end(key)
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        return made

    def known(
        self, actor: Actor, versions: Versions, now: int, *, letter: str, only: Collection[str] | None
    ) -> Predicate | None:
        """The same if it is remembered: the policies themselves are not needed then."""
        key = _key(actor, versions, letter, only)
        known = self._known.get(key)
        if known is None or not known[1].holds(now):
            return None
        self._known.move_to_end(key)
        return known[0]


def _key(actor: Actor, versions: Versions, letter: str, only: Collection[str] | None) -> _Key:
    return actor, versions, letter, None if only is None else frozenset(only)


def _steady(actor: Actor, policies: Mapping[str, RecordPolicy], now: int) -> Span:
    """The span of time around `now` in which nothing of these policies, or that the caller opened, begins or ends."""
    edges = [edge for policy in policies.values() for edge in policy.edges()]
    edges += [each.until for each in openings_of(actor)]
    low = max((edge for edge in edges if edge <= now), default=None)
    high = min((edge for edge in edges if edge > now), default=None)
    return Span(low, high)


def _asks_the_present(predicate: Predicate) -> bool:
    match predicate:
        case Rng(column):
            return column in _PRESENT
        case And(of) | Or(of):
            return any(map(_asks_the_present, of))
        case Not(part) | AllRefs(part) | SomeRef(part) | AnyRef(part):
            return _asks_the_present(part)
    return False
