"""_include and _revinclude: what goes with the resources found (https://hl7.org/fhir/R4/search.html#include).

Every row that is included is read under the caller's own predicate for its type, as a search for it would be; what may
not be seen is left out without a trace, and takes nothing of the budget (access §4, L33–L37).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final, TypeVar

import orjson

from fhir_server.interactions.whose import View
from fhir_server.search.index import index_of
from fhir_server.search.kinds.sink import Index, Sink
from fhir_server.search.parameter import Parameter
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate, RefersTo, disj, one_of
from fhir_server.search.query import Include
from fhir_server.search.registry import SearchRegistry
from fhir_server.storage.interface import Version

_AT_ONCE: Final = 200

T = TypeVar("T")


class Included:
    """The resources that go with one page; `full` when there were more than the budget allows."""

    def __init__(self, view: View, page: Sequence[Version], budget: int) -> None:
        self.rows: list[Version] = []
        self.full = False
        self._view = view
        self._registry = view.ctx.services.registry
        self._budget = budget
        self._known = {(each.type, each.id) for each in page}
        self._page = page
        self._resources: dict[tuple[str, str], Any] = {}

    async def gather(self, includes: Sequence[Include]) -> None:
        """Follow every include from the page; those that iterate also from what was included, until nothing is new."""
        rows: Sequence[Version] = self._page
        wanted = list(includes)
        while rows and wanted and not self.full:
            start = len(self.rows)
            for include in wanted:
                await (self._referring(include, rows) if include.reverse else self._referred(include, rows))
            rows = self.rows[start:]
            wanted = [include for include in includes if include.iterate]

    async def _referred(self, include: Include, rows: Sequence[Version]) -> None:
        """What the rows refer to."""
        targets: dict[str, dict[str, None]] = {}
        for row in rows:
            if include.source in ("*", row.type):
                for target in self._targets(row, include):
                    type_, _, id_ = target.partition("/")
                    targets.setdefault(type_, {})[id_] = None
        for type_, ids in targets.items():
            if include.target in ("", type_) and type_ in self._registry.resource_types:
                new = [id_ for id_ in ids if (type_, id_) not in self._known]
                await self._add(type_, (one_of("id", part) for part in _parts(new)))

    async def _referring(self, include: Include, rows: Sequence[Version]) -> None:
        """What refers to the rows."""
        leaves = [
            RefersTo(parameter.code, f"{row.type}/{row.id}")
            for parameter in self._parameters(include.source, include.param)
            for row in rows
            if include.target in ("", row.type) and (not parameter.targets or row.type in parameter.targets)
        ]
        await self._add(include.source, (disj(*part) for part in _parts(leaves)))

    def _parameters(self, type_: str, code: str) -> list[Parameter]:
        found = self._registry.searchable(type_) if code == "*" else [self._registry.find(type_, code)]
        return [each for each in found if each and each.leads]

    def _targets(self, row: Version, include: Include) -> Iterator[str]:
        """ "Type/id" of what the row refers to by the parameters of the include, and other urls."""
        key = (row.type, row.id)
        if key not in self._resources:
            self._resources[key] = orjson.loads(row.body)
        sink = Sink(self._view.ctx.base, self._registry.zone)
        for parameter in self._parameters(row.type, include.param):
            _index(self._registry, row.type, parameter)(self._resources[key], sink)
        for entry in sink.entries().references:
            yield entry.target

    async def _add(self, type_: str, questions: Iterator[Predicate]) -> None:
        """The rows that the questions find and the caller may see, each once, within the budget."""
        for where in questions:
            if self.full:
                return
            # Rows that are there already may come again, and take no room.
            limit = self._budget - len(self.rows) + len(self._known) + 1
            plan, visible = await self._view.search(Plan((type_,), where, limit=limit))
            for row in await self._view.snapshot.search(plan, visible=visible):
                if (row.type, row.id) in self._known:
                    continue
                if len(self.rows) == self._budget:
                    self.full = True
                    return
                self._known.add((row.type, row.id))
                self.rows.append(row)


@lru_cache(maxsize=2_000)
def _index(registry: SearchRegistry, type_: str, parameter: Parameter) -> Index:
    """What finds the references of one parameter."""
    return index_of(parameter, registry.definitions, type_)[1]


def _parts(values: Iterable[T]) -> Iterator[list[T]]:
    """The values, so many at once as one statement takes well."""
    rest = iter(values)
    while part := list(islice(rest, _AT_ONCE)):
        yield part
