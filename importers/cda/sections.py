"""The section tree of a structured body: narrative, coded entries, and what became of each of them.

One pass, in the order of the document. Source: CDA R2 `structuredBody`; https://hl7.org/fhir/R4/composition.html;
importers page §4, §6 rule 9 and §9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import concept
from importers.cda.elements import V3, attribute, by_tag, text
from importers.cda.entries.dispatch import Bucket, Converted, Outcome, convert_entry
from importers.cda.entries.entry import Attached, Source
from importers.cda.entries.subject import is_another
from importers.cda.narrative import xhtml
from importers.issues import place
from importers.limits import Stopwatch
from importers.tables import section_code_of

_ENTRY: Final = V3 + "entry"
_SECTION: Final = V3 + "section"
_COMPONENT: Final = V3 + "component"
_AUTHOR, _CODE, _SUBJECT = V3 + "author", V3 + "code", V3 + "subject"
_TEMPLATE, _TEXT, _TITLE = V3 + "templateId", V3 + "text", V3 + "title"
_RENDER: Final = V3 + "renderMultiMedia"
_EMPTY_REASONS: Final = "http://terminology.hl7.org/CodeSystem/list-empty-reason"


@dataclass(slots=True)
class SectionTree:
    """What a body became: Composition sections, the resources of its entries, an outcome an entry, sections covered."""

    sections: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    covered: int = 0


def read_sections(structured: etree._Element, total: int, source: Source, watch: Stopwatch) -> SectionTree:
    """The sections of a structuredBody, its `total` entries converted; one outside any section is narrative only.

    Raises TooLarge for `seconds`, `attachment_bytes` and `all_attachment_bytes`.
    """
    tree = SectionTree()
    reader = _Reader(source, tree, watch)
    tree.sections = reader.components(structured, place(structured))
    reader.illustrate()
    if len(tree.outcomes) < total:
        tree.outcomes += reader.stray(structured)
    return tree


class _Reader:
    __slots__ = ("_count", "_read", "_size", "_source", "_told", "_tree", "_watch")

    def __init__(self, source: Source, tree: SectionTree, watch: Stopwatch) -> None:
        self._source, self._tree, self._watch = source, tree, watch
        self._count = self._size = 0
        self._read: set[etree._Element] = set()
        self._told: list[tuple[dict[str, Any], etree._Element, str]] = []

    def illustrate(self) -> None:
        """Write again each narrative that shows a medium: it may stand in an entry of a later section."""
        if not self._tree.attached:
            return
        for section, block, prefix in self._told:
            if next(block.iter(_RENDER), None) is not None and (div := xhtml(block, prefix, self._source.media)):
                section["text"] = {"status": "generated", "div": div}

    def stray(self, structured: etree._Element) -> list[Outcome]:
        """The entries that stand where none is expected."""
        stray = [each for each in structured.iter(_ENTRY) if each not in self._read]
        lines = ((each, each.sourceline) for each in stray)
        return [
            Outcome(place(each), line if isinstance(line, int) else 0, None, Bucket.NARRATIVE_ONLY)
            for each, line in lines
        ]

    def components(self, parent: etree._Element, path: str, *, another: bool = False) -> list[dict[str, Any]]:
        """The sections under the components of a body or a section; `another`: about somebody else."""
        return self._sections([each for each in parent if each.tag == _COMPONENT], path, another)

    def _sections(self, components: list[etree._Element], path: str, another: bool) -> list[dict[str, Any]]:
        found = []
        for number, component in enumerate(components, 1):
            step = f"{path}/component" if len(components) == 1 else f"{path}/component[{number}]"
            sections = [each for each in component if each.tag == _SECTION]
            for rank, section in enumerate(sections, 1):
                under = f"{step}/section" if len(sections) == 1 else f"{step}/section[{rank}]"
                if made := self._section(section, under, another):
                    found.append(made)
        return found

    def _section(self, section: etree._Element, path: str, another: bool) -> dict[str, Any] | None:
        self._count += 1
        prefix = f"s{self._count}-"
        source, parts = self._source, by_tag(section)
        another = another or is_another(_first(parts, _SUBJECT))
        code = _first(parts, _CODE)
        loinc = attribute(code, "code") or _prescribed(parts.get(_TEMPLATE, ()))
        converted = self._entries(parts.get(_ENTRY, []), loinc, path, another)
        if any(each.outcome.bucket is Bucket.MAPPED for each in converted):
            self._tree.covered += 1
        resources = [each for one in converted for each in one.resources]
        attached = [each for one in converted for each in one.attached]
        self._tree.resources += resources
        self._keep(attached)
        inner = self._sections(parts.get(_COMPONENT, []), path, another)
        narrative = _first(parts, _TEXT)
        div = xhtml(narrative, prefix, source.media)
        reason = next((each.empty_reason for each in converted if each.empty_reason), None)
        found = {
            "title": text(_first(parts, _TITLE)),
            "code": concept(code, source.notes) or _loinc(loinc),
            "author": [each for each in [source.people.actor(_first(parts, _AUTHOR))] if each],
            "text": {"status": "generated", "div": div} if div else None,
            "entry": [
                *({"reference": f"urn:uuid:{each['id']}"} for each in resources),
                *({"reference": f"urn:uuid:{each.id}"} for each in attached),
            ],
            # cmp-2: a section is empty for a reason only if it is empty.
            "emptyReason": _empty(reason) if reason and not resources and not attached else None,
            "section": inner,
        }
        made = _with_text({name: value for name, value in found.items() if value})
        if made and narrative is not None:
            self._told.append((made, narrative, prefix))
        return made

    def _keep(self, attached: list[Attached]) -> None:
        for each in attached:
            self._tree.attached.append(each)
            if each.name:
                self._source.media[each.name] = (f"urn:uuid:{each.id}", each.title)
            self._size += len(each.content.data)
        self._source.limits.hold("all_attachment_bytes", self._size)

    def _entries(self, entries: list[etree._Element], code: str | None, path: str, another: bool) -> list[Converted]:
        found = []
        for number, entry in enumerate(entries, 1):
            under = f"{path}/entry" if len(entries) == 1 else f"{path}/entry[{number}]"
            self._watch.check()
            found.append(convert_entry(entry, code, under, self._source, another=another))
        self._read.update(entries)
        self._tree.outcomes += [each.outcome for each in found]
        return found


def _first(parts: Mapping[str, list[etree._Element]], tag: str) -> etree._Element | None:
    found = parts.get(tag)
    return found[0] if found else None


def _prescribed(templates: Iterable[etree._Element]) -> str | None:
    """The code that the template of a section prescribes."""
    return section_code_of(tuple([each.get("root", "") for each in templates]))


def _loinc(code: str | None) -> dict[str, Any] | None:
    return {"coding": [{"system": "http://loinc.org", "code": code}]} if code else None


def _empty(code: str) -> dict[str, Any]:
    return {"coding": [{"system": _EMPTY_REASONS, "code": code}]}


def _with_text(section: dict[str, Any]) -> dict[str, Any] | None:
    """The section, its title for a text where nothing else is in it (cmp-1); None where even that is missing."""
    if any(name in section for name in ("text", "entry", "section")):
        return section
    said = section.get("title") or section.get("code", {}).get("text")
    if not said:
        return None
    plain = said.replace("&", "&amp;").replace("<", "&lt;")
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{plain}</p></div>'
    return {**section, "text": {"status": "empty", "div": div}}
