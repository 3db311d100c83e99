"""The narrative of a document as its entries point at it: one map of ids.

Source: CDA R2 `originalText/reference` and `text/reference`; importers page §6 rule 16.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from lxml import etree

from importers.cda.elements import V3, child, folded, text

_IDENTIFIED: Final = etree.XPath("descendant::*/@ID/..")
_REFERENCE: Final = V3 + "reference"


class Texts:
    """Texts by the ID of their element."""

    __slots__ = ("_by_id",)

    def __init__(self, root: etree._Element) -> None:
        """Of one ClinicalDocument; the first of two equal ids wins, as it does in a browser."""
        found = cast("list[etree._Element]", _IDENTIFIED(root))
        self._by_id = {each.get("ID"): each for each in reversed(found)}

    def dangling(self, references: Iterable[str]) -> int:
        """How many of the references lead nowhere, those that name nothing (`#`) among them."""
        return sum(_named(each) not in self._by_id for each in references)

    def resolve(self, reference: str | None) -> str | None:
        """The text under `#id` or a bare `id`; None where there is none."""
        return text(self._by_id.get(_named(reference or "")))

    def of(self, element: etree._Element | None) -> str | None:
        """The text of an ED: what its reference leads to, else its own; None where there is neither."""
        if element is None:
            return None
        reference = next(element.iterchildren(_REFERENCE), None)
        if reference is None:
            return text(element)
        return self.resolve(reference.get("value")) or _own(element) or text(child(element, "thumbnail"))


def _named(reference: str) -> str:
    return reference.strip().lstrip("#")


def _own(element: etree._Element) -> str | None:
    return folded("".join([element.text or "", *(each.tail or "" for each in element)]))
