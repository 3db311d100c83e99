"""What the token endpoint is asked for, and what answers it: the seam by which a grant type is added."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fhir_server.auth.clients import Client
from fhir_server.auth.proof import Proven
from fhir_server.storage.interface import Ledger


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to the token endpoint whose client is proven. `form`: its parameters; `now`: microseconds."""

    ledger: Ledger
    proven: Proven
    form: Mapping[str, str]
    now: int

    @property
    def client(self) -> Client:
        """Who asks."""
        return self.proven.client


Grants: TypeAlias = Mapping[str, Callable[[TokenRequest], Awaitable[Mapping[str, Any]]]]
"""By grant type: what answers it, with the JSON of the answer; it raises Refused."""
