"""A clinical statement of a CDA body with its children read once: act, encounter, observation, procedure and so on.

Source: CDA R2 `clinicalStatement`, `entryRelationship`, `component`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lxml import etree

from importers.cda.elements import V3, by_tag, folded

NAMES: Final = frozenset(
    f"{V3}{name}"
    for name in (
        "act",
        "encounter",
        "observation",
        "observationMedia",
        "organizer",
        "procedure",
        "regionOfInterest",
        "substanceAdministration",
        "supply",
    )
)
_RELATIONS: Final = (V3 + "entryRelationship", V3 + "component")
_TEMPLATE: Final = V3 + "templateId"
_LENGTH: Final = len(V3)

KindOf = Callable[[tuple[str, ...]], str | None]


class Statement:
    """One clinical statement.

    `templates` are the roots of its templates in their order; `kind` is what they say it is (a value of
    `entry_templates.json`) or None; `relation` the typeCode that ties it to `parent` (`COMP` where none is written),
    both None for the statement of an `entry`.
    """

    __slots__ = (
        "_kind_of", "_nested", "_parts", "element", "inverted", "kind", "name", "parent", "relation", "templates"
    )  # fmt: skip

    def __init__(
        self,
        element: etree._Element,
        kind_of: KindOf,
        parent: Statement | None = None,
        relation: etree._Element | None = None,
    ) -> None:
        """Read the children of the element; its nested statements are read when asked for."""
        self.element, self.parent = element, parent
        self.name = str(element.tag)[_LENGTH:]
        self._parts, self._kind_of = by_tag(element), kind_of
        self.templates = tuple([each.get("root", "") for each in self._parts.get(_TEMPLATE, ())])
        self.kind = kind_of(self.templates)
        self.relation: str | None = None
        self.inverted = False
        if relation is not None:
            self.relation = relation.get("typeCode") or "COMP"
            self.inverted = relation.get("inversionInd") == "true"
        self._nested: list[Statement] | None = None

    def first(self, name: str) -> etree._Element | None:
        """The first child of that local name, or None."""
        found = self._parts.get(V3 + name)
        return found[0] if found else None

    def has(self, name: str) -> bool:
        """Whether there is a child of that local name."""
        return V3 + name in self._parts

    def all(self, name: str) -> list[etree._Element]:
        """The children of that local name; the list is not to be changed."""
        return self._parts.get(V3 + name) or []

    @property
    def mood(self) -> str:
        """The moodCode: EVN where none is written."""
        return self.element.get("moodCode") or "EVN"

    @property
    def negated(self) -> bool:
        """Whether negationInd says that this did not happen or is not so."""
        return self.element.get("negationInd") == "true"

    @property
    def status(self) -> str | None:
        """The code of statusCode."""
        found = self.first("statusCode")
        return None if found is None else folded(found.get("code"))

    @property
    def code(self) -> str | None:
        """The `@code` of the child `code`, whatever its system."""
        found = self.first("code")
        return None if found is None else folded(found.get("code"))

    @property
    def nested(self) -> list[Statement]:
        """The statements under entryRelationship and component, in their order."""
        if self._nested is None:
            self._nested = [
                Statement(each, self._kind_of, self, relation)
                for name in _RELATIONS
                if name in self._parts
                for relation in self._parts[name]
                for each in relation
                if each.tag in NAMES
            ]
        return self._nested

    def release(self) -> None:
        """Forget the nested statements, which know their parent: without the circle they are gone at once."""
        for each in self._nested or ():
            each.release()
        self._nested = []

    def of_kind(self, *kinds: str) -> list[Statement]:
        """The nested statements of one of those kinds."""
        return [each for each in self.nested if each.kind in kinds]

    def related(self, relation: str) -> list[Statement]:
        """The nested statements tied to this one by that typeCode."""
        return [each for each in self.nested if each.relation == relation]
