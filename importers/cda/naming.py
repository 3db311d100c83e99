"""What identifies a document: its uniqueId, the set its versions share, its version, the parents it declares."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from importers.cda.datatypes import Key, key
from importers.cda.elements import attribute, child, children
from importers.issues import Notes, rejection

_RELATIONS: Final = {"RPLC": "replaces", "APND": "appends", "XFRM": "transforms"}


@dataclass(frozen=True, slots=True)
class RelatedDocument:
    """A parent the document declares: relation code of R4, its uniqueIds, its set and version where given."""

    code: str
    ids: tuple[Key, ...]
    set_id: Key | None
    version: int | None


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of a document; without `set_id` it is alone, and its version is 1 where it gives none."""

    unique_id: Key
    set_id: Key | None
    version: int
    parents: tuple[RelatedDocument, ...]

    @property
    def lineage(self) -> Key:
        """What all versions of the document share."""
        return self.set_id or self.unique_id


def naming(document: etree._Element, notes: Notes) -> Naming:
    """The names of a ClinicalDocument. Raises Invalid (906) where its id is missing or unreadable."""
    unique_id = key(child(document, "id"), notes)
    if unique_id is None:
        raise rejection("906", "no document id", document)
    parents = [_parent(each, notes) for each in children(document, "relatedDocument")]
    set_id = key(child(document, "setId"), notes)
    return Naming(unique_id, set_id, _version(document) or 1, tuple(each for each in parents if each))


def _parent(related: etree._Element, notes: Notes) -> RelatedDocument | None:
    parent = child(related, "parentDocument")
    code = _RELATIONS.get(attribute(related, "typeCode") or "")
    if parent is None or code is None:
        return None
    ids = tuple(found for each in children(parent, "id") if (found := key(each, notes)))
    return RelatedDocument(code, ids, key(child(parent, "setId"), notes), _version(parent))


def _version(document: etree._Element) -> int | None:
    written = attribute(child(document, "versionNumber"), "value") or ""
    return int(written) if re.fullmatch("[0-9]{1,9}", written, re.ASCII) else None
