"""A search as understood: what to ask the store, and what to tell the client about it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from fhir_server.errors import Issue
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate


@dataclass(frozen=True, slots=True)
class Include:
    """Resources to go with those found (https://hl7.org/fhir/R4/search.html#include).

    `source`: the type that has the reference, "*" for any (then `param` is "*"); `param`: its reference parameter, "*"
    for all of them; `target`: the one type to include, "" for any. `reverse`: `_revinclude`, resources of `source` that
    refer to what was found. `iterate`: also from resources that were themselves included.
    """

    source: str
    param: str
    target: str = ""
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One parsed search.

    `plan`: its first page; a limit of 0 asks for the count alone. Hops in `plan.where` are not cleared: whoever knows
    the caller does it (search/hops.py). `used`: the parameters that were understood, as sent, in an order that does not
    depend on the client's: criteria by name and value, then what shapes the result; they make the self link.
    `warnings`: what was left out of account. `total`: none, estimate or accurate. `ids`: the resources that `_id`
    confines the answer to, none when it is not asked.

    `includes`: in the order of the self link. `summary`: "" (all of each resource), true, text, data or count.
    `elements`: names of elements of the type, without `[x]`, that are wanted; none means all.
    `named`: what the search says of the one Patient that its answer is confined to, when it names them by an identifier
    with its system (`patient.identifier=system|value`); None otherwise.
    """

    plan: Plan
    used: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Issue, ...] = ()
    total: str = "none"
    ids: tuple[str, ...] = ()
    includes: tuple[Include, ...] = ()
    summary: str = ""
    elements: tuple[str, ...] = ()
    named: Predicate | None = None

    @property
    def digest(self) -> str:
        """Names the search: two searches with the same digest ask the same thing of the same types."""
        return sha256(repr((self.plan.types, self.used)).encode()).hexdigest()
