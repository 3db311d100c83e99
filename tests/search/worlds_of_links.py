"""Small worlds of linked resources, for the tests of hops: extraction and the memory reader, and nothing of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.hops import cleared
from fhir_server.search.match import Row, holds
from fhir_server.search.parse import parse
from fhir_server.search.predicate import TRUE, Predicate
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"


class World:
    """Live resources, as the memory reader is given them."""

    def __init__(self, registry: SearchRegistry, resources: Iterable[dict[str, Any]]) -> None:
        self.registry = registry
        self.rows = {f"{each['resourceType']}/{each['id']}": self._row(each) for each in resources}

    def _row(self, resource: dict[str, Any]) -> Row:
        type_ = resource["resourceType"]
        return Row(Facts(type_, resource["id"], "record"), extract(self.registry, type_, resource, BASE), 0)

    def targets(self, facts: Facts) -> Iterator[tuple[Facts, bool]]:
        return iter(())

    def referrers(self, facts: Facts) -> Iterator[Facts]:
        return iter(())

    def row(self, link: str) -> Row | None:
        return self.rows.get(link)

    def referring(self, type: str, param: str, link: str) -> Iterator[Row]:
        for row in self.rows.values():
            if row.facts.rtype == type and any(each[:] == (param, link) for each in row.entries.references):
                yield row

    def found(self, type_: str, name: str, value: str, visible: Predicate = TRUE) -> set[str]:
        """The ids of the resources that a search of one criterion finds."""
        where = parse(self.registry, (type_,), [(name, value)], strict=True, base_url=BASE).plan.where
        asked = cleared(where, lambda types: visible)
        return {each.facts.id for each in self.rows.values() if each.facts.rtype == type_ and holds(asked, each, self)}
