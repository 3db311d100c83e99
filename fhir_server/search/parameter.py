"""What is known of one search parameter of one resource type."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from fhir_server.search.kinds import KINDS, SORTABLE, Kind

# Answered from the row itself, not from the index.
FROM_THE_ROW: Final = frozenset({"_id", "_lastUpdated"})
# Parameters of type special that are built: the words of a text, and a language of its own.
TEXTS: Final = frozenset({"_text", "_content"})
FILTER: Final = "_filter"
SPECIAL: Final = TEXTS | {FILTER}


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a composite parameter.

    `parameter`: the one that is asked there, with the `types` that it has at that place. `path`: FHIRPath relative to
    the composite's expression; `of_resource`: relative to the resource instead. `narrows`: whatever the component is
    found by, the resource is found by through the parameter too.
    """

    parameter: Parameter
    path: str
    types: tuple[str, ...] = ()
    of_resource: bool = False
    narrows: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One search parameter of one resource type.

    `type`: number, date, string, token, reference, composite, quantity, uri or special. `url`: the canonical of its
    definition. `types`: the FHIR types it indexes, none when it is not `built`. `system`: of elements of type code, the
    one that R4 requires their codes to be of, "" where it is not one. `components` of a composite. `usage`: normal,
    phonetic or nearby. `single`: whether a resource has one element of it at the most.
    """

    code: str
    type: str
    url: str
    expression: str = ""
    targets: frozenset[str] = field(default_factory=frozenset)
    aliases: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    built: bool = True
    types: tuple[str, ...] = ()
    system: str = ""
    usage: str = "normal"
    single: bool = False

    @property
    def kind(self) -> Kind:
        """How its values are extracted and asked for; KeyError for composites, `_filter` and what is not built."""
        if self.code in TEXTS:
            return KINDS["prose"]
        return KINDS["phonetic" if self.usage == "phonetic" else self.type]

    @property
    def sortable(self) -> bool:
        """Whether a search can be sorted by it."""
        return self.built and (
            self.code in FROM_THE_ROW or (self.type in SORTABLE and self.usage == "normal" and bool(self.types))
        )

    @property
    def leads(self) -> bool:
        """Whether it leads to other resources of this server: chains, `_has` and includes follow it."""
        return self.built and "Reference" in self.types and self.type == "reference"


def places(expression: str, resource_type: str) -> set[str]:
    """The elements that the branches of an expression for that type lead to, such as ".code"; functions left off."""
    return set(re.findall(rf"\b{resource_type}((?:\.\w+\b(?!\())+)", expression))


@dataclass(frozen=True, slots=True)
class ProjectParameter:
    """A search parameter that R4 does not have, or has under fewer names."""

    base: tuple[str, ...]
    parameter: Parameter
