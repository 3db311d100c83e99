"""The parameters that shape the answer instead of choosing it (https://hl7.org/fhir/R4/search.html#return)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fhir_server.search.criteria import Unknown
from fhir_server.search.include import NAMES, include
from fhir_server.search.kinds.asked import malformed
from fhir_server.search.limits import Limits, too_costly
from fhir_server.search.plan import OF_THE_ROW, Sort
from fhir_server.search.query import Include
from fhir_server.search.registry import SearchRegistry

# In the order of the self link. `_contained` and `_containedType` are understood as far as they ask for nothing.
SHAPING: Final = (
    *("_type", "_sort", *NAMES, "_count", "_total", "_summary", "_elements", "_contained", "_containedType"),
)

_SUMMARIES: Final = ("true", "text", "data", "count", "false")


class Shape:
    """What shapes one answer; `read` takes each parameter in the order of the self link, `_type` first of all."""

    def __init__(self, registry: SearchRegistry, types: tuple[str, ...], count: int, most: int, limits: Limits) -> None:
        self._registry = registry
        self._most = most
        self._limits = limits
        self._several = len(types) > 1
        self.types = types
        self.limit = count
        self.sort: tuple[Sort, ...] = ()
        self.total = "none"
        self.summary = ""
        self.elements: tuple[str, ...] = ()
        self.includes: tuple[Include, ...] = ()
        self._readers: dict[str, Callable[[str], str]] = {
            "_type": self._read_type,
            "_sort": self._read_sort,
            "_count": self._read_count,
            "_total": self._read_total,
            "_summary": self._read_summary,
            "_elements": self._read_elements,
            "_contained": self._read_contained,
            "_containedType": self._read_contained_type,
        }

    def read(self, name: str, value: str) -> str:
        """Takes one parameter; its value as it stands in the self link.

        Raises Unknown for what may be left out of account, Malformed for what cannot be read.
        """
        if name in NAMES:
            return self._read_include(name, value)
        return self._readers[name](value)

    def check(self) -> None:
        """Raises Malformed for what does not go together, once everything has been read."""
        if self.summary == "text" and self.includes:
            raise malformed("_summary", "R4 has no summary of the text together with includes.")

    def _read_type(self, value: str) -> str:
        if not self._several:
            raise Unknown("This search is of one type: the parameter is not supported")
        wanted = value.split(",")
        if not self._registry.resource_types.issuperset(wanted):
            raise malformed("_type", "Names of resource types are expected.")
        self.types = tuple(type_ for type_ in self.types if type_ in wanted)
        return value

    def _read_sort(self, value: str) -> str:
        codes = value.split(",")
        if len(codes) > self._limits.keys:
            raise too_costly(f"More than {self._limits.keys} keys.", "_sort")
        keys = [self._key(code.removeprefix("-"), code.startswith("-")) for code in codes]
        self.sort = tuple(keys)
        return value

    def _key(self, code: str, descending: bool) -> Sort:
        if code in OF_THE_ROW:
            return Sort(code, "row", descending)
        found = [self._registry.find(type_, code) for type_ in self.types]
        kinds = {(each.code, each.type) for each in found if each is not None and each.sortable}
        if len(kinds) != 1 or not all(each is not None and each.sortable for each in found):
            raise Unknown("What every type searched for can be sorted by is expected: this is not supported")
        ((param, kind),) = kinds
        return Sort(param, kind, descending)

    def _read_count(self, value: str) -> str:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise malformed("_count", "A whole number is expected.")
        self.limit = min(int(value), self._most) if self.summary != "count" else 0
        return str(min(int(value), self._most))

    def _read_total(self, value: str) -> str:
        if value not in ("none", "estimate", "accurate"):
            raise malformed("_total", "none, estimate or accurate is expected.")
        self.total = value
        return value

    def _read_summary(self, value: str) -> str:
        if value not in _SUMMARIES:
            raise malformed("_summary", "true, text, data, count or false is expected.")
        self.summary = "" if value == "false" else value
        if value == "count":
            self.limit = 0
        return value

    def _read_elements(self, value: str) -> str:
        """The known ones are applied; the others are told of when none of them is left."""
        names = [name.strip().removesuffix("[x]") for name in value.split(",") if name.strip()]
        known = {
            name: element.name
            for type_ in self.types
            for name, (element, _) in self._registry.definitions.type(type_).properties.items()
        }
        known |= {name: name for name in known.values()}
        if not names or not all(name in known for name in names):
            raise Unknown("Names of elements of the type itself are expected; the parameter is not supported otherwise")
        self.elements = tuple(dict.fromkeys(known[name] for name in names))
        return value

    def _read_contained(self, value: str) -> str:
        if value not in ("false", "true", "both"):
            raise malformed("_contained", "true, false or both is expected.")
        if value != "false":
            raise Unknown("Contained resources are found with the resource that holds them only: this is not supported")
        return value

    def _read_contained_type(self, value: str) -> str:
        if value not in ("container", "contained"):
            raise malformed("_containedType", "container or contained is expected.")
        if value != "container":
            raise Unknown("Contained resources are never answers by themselves: this is not supported")
        return value

    def _read_include(self, name: str, value: str) -> str:
        if len(self.includes) >= self._limits.includes:
            raise too_costly(f"More than {self._limits.includes} includes.", name)
        self.includes = (*self.includes, include(self._registry, self.types, name, value))
        return value
