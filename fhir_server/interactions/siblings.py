"""The other resources of one transaction, as a draft among them has to know them."""

from __future__ import annotations

from dataclasses import dataclass, field

from fhir_server.search.facts import Facts


@dataclass(slots=True)
class Siblings:
    """`facts`: "Type/id" of each draft made so far to its facts. `holders`: content to the lineage that holds it."""

    facts: dict[str, Facts] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
