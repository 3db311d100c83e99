"""A search as understood: what to ask the store, and what to tell the client about it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from fhir_server.errors import Issue
from fhir_server.search.plan import Plan


@dataclass(frozen=True, slots=True)
class Query:
    """One parsed search.

    `plan`: its first page; a limit of 0 asks for the count alone. `used`: the parameters that were understood, as sent,
    in an order that does not depend on the client's: criteria by name and value, then what shapes the result; they make
    the self link. `warnings`: what was left out of account. `total`: none, estimate or accurate. `ids`: the resources
    that `_id` confines the answer to, none when it is not asked.
    """

    plan: Plan
    used: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Issue, ...] = ()
    total: str = "none"
    ids: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Names the search: two searches with the same digest ask the same thing of the same types."""
        return sha256(repr((self.plan.types, self.used)).encode()).hexdigest()
