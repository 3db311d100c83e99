"""What a handler works with: one `entry` of a section, what its document shares, and the resources made of it.

Source: importers page §4 (what each resource carries) and §8 (identity).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from lxml import etree

from importers.cda import datatypes, values
from importers.cda.body import Content
from importers.cda.elements import child
from importers.cda.entries.absent import Absence, absence_in
from importers.cda.entries.statement import Statement
from importers.cda.entries.subject import is_another
from importers.cda.people import People
from importers.cda.texts import Texts
from importers.issues import Notes
from importers.limits import Limits

Reference = dict[str, Any]
Resource = dict[str, Any]
Handler = Callable[[Statement, "Entry"], list[Reference]]

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:fhir-server:importer:1")

# Where a resource names its patient and its encounter, if it has such an element: (patient, encounter).
_PLACES: Final[dict[str, tuple[str, str | None]]] = {
    "AllergyIntolerance": ("patient", "encounter"),
    "Binary": ("", None),
    "Condition": ("subject", "encounter"),
    "DiagnosticReport": ("subject", "encounter"),
    "Encounter": ("subject", None),
    "FamilyMemberHistory": ("patient", None),
    "Immunization": ("patient", "encounter"),
    "ImmunizationRecommendation": ("patient", None),
    "Medication": ("", None),
    "MedicationDispense": ("subject", "context"),
    "MedicationRequest": ("subject", "encounter"),
    "MedicationStatement": ("subject", "context"),
    "Observation": ("subject", "encounter"),
    "Procedure": ("subject", "encounter"),
    "Specimen": ("subject", None),
}

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})
_NO_PERSONS: Final = frozenset({"Device", "Organization"})


@dataclass(slots=True)
class Source:
    """What all entries of one document share.

    `subject` is a literal reference, `lineage` and `urn` name the document (`urn` is its meta.source), `labels` the
    Codings of its security labels, `encounter` the reference of its encounter, `created` its
    effectiveTime. `media` are the URL and the title of what its entries carry, by the ID a narrative names them by.
    """

    subject: str
    lineage: str
    urn: str
    labels: list[dict[str, Any]]
    texts: Texts
    notes: Notes
    people: People
    handlers: Mapping[str, Handler]
    limits: Limits
    encounter: Reference | None = None
    media: dict[str, tuple[str, str]] = field(default_factory=dict)
    created: str | None = None
    _equals: dict[str, int] = field(default_factory=dict)

    def identity(self, kind: str, *keys: str) -> str:
        """The id of a resource: the same for the same document, type and keys; equals are told by their rank."""
        return self._ranked("|".join((self.subject, self.lineage, kind, *keys)))

    def document_identity(self, kind: str, *keys: str) -> str:
        """The same for what exists once a document, whoever its subject is."""
        return self._ranked("|".join((self.urn, kind, *keys)))

    def _ranked(self, name: str) -> str:
        rank = self._equals[name] = self._equals.get(name, 0) + 1
        return name_uuid(f"{name}|{rank}")

    def meta(self) -> dict[str, Any]:
        """Where a resource comes from and who may see it: as its document."""
        found: dict[str, Any] = {"source": self.urn}
        if self.labels:
            found["security"] = [dict(each) for each in self.labels]
        return found


def name_uuid(name: str) -> str:
    """The UUID of version 5 of a name in `NAMESPACE`; what `uuid.uuid5` gives, in a quarter of its time."""
    digest = bytearray(sha1(NAMESPACE.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Attached(NamedTuple):
    """A content that an entry carries: the id of its Binary, the bytes, the ID it has in the document, its title."""

    id: str
    content: Content
    name: str | None
    title: str


class Entry:
    """One `entry` while it is converted: reads data types, keeps what is made.

    `made` are the resources so far, `attached` the contents; `covered` is set where the entry is told without either
    (as the emptyReason of its section).
    """

    __slots__ = ("attached", "covered", "empty_reason", "made", "source")

    def __init__(self, source: Source) -> None:
        """Begin with nothing made."""
        self.source = source
        self.made: list[Resource] = []
        self.attached: list[Attached] = []
        self.covered = False
        self.empty_reason: str | None = None

    def convert(self, statement: Statement) -> list[Reference]:
        """The references of what the handler of this statement's kind makes of it.

        An act or organizer that has no handler is what its nested statements are; anything else is then nothing. So is
        a statement that is null, and one about somebody else, unless it is of the history of the family.
        """
        if statement.element.get("nullFlavor"):
            # Nothing may be null because nothing is known (IPS).
            if Absence.UNKNOWN in map(absence_in, (statement.first("code"), statement.first("value"))):
                self.unavailable()
            return []
        if statement.kind != "family-history" and is_another(statement.first("subject")):
            return []
        handler = self.source.handlers.get(statement.kind or "")
        if handler:
            return handler(statement, self)
        if statement.kind is None and statement.name in ("act", "organizer"):
            return [reference for each in statement.nested for reference in self.convert(each)]
        return []

    def add(
        self,
        statement: Statement,
        kind: str,
        content: Mapping[str, Any],
        *,
        code: Mapping[str, Any] | None = None,
        when: str | None = None,
        distinct: str = "",
    ) -> Reference:
        """Keep a resource and return its literal reference (`urn:uuid:…`).

        `content` is written without what every resource gets: id, meta, identifier, patient, encounter. What is None or
        empty in it is left out. `code`, `when` and `distinct` (isolate, specimen) are what tells it from its like.
        """
        keys = [found for each in statement.all("id") if (found := datatypes.key(each, self.source.notes))]
        first = "^".join(keys[0]) if keys else ""
        id = self.source.identity(kind, first, _code_key(code), when or "", distinct)
        resource: Resource = {"resourceType": kind, "id": id, "meta": self.source.meta()}
        if keys:
            resource["identifier"] = [each.identifier() for each in dict.fromkeys(keys)]
        for name, value in content.items():
            # What is false or nought is said; what is empty is not.
            if value or value is False or value not in _EMPTY:
                resource[name] = value
        patient, encounter = _PLACES[kind]
        if patient:
            resource[patient] = {"reference": self.source.subject}
        if encounter and self.source.encounter:
            resource.setdefault(encounter, dict(self.source.encounter))
        self.made.append(resource)
        return {"reference": f"urn:uuid:{id}"}

    def attach(self, content: Content, name: str | None, title: str) -> Reference:
        """Keep a content as a Binary; `name` is the ID the narrative may call it by."""
        id = self.source.document_identity("Binary", name or "")
        self.attached.append(Attached(id, content, name, title))
        return {"reference": f"urn:uuid:{id}"}

    def unavailable(self) -> None:
        """The entry says that nothing is known: its section is empty for that reason."""
        self.covered, self.empty_reason = True, "unavailable"

    def recorded(self, statement: Statement) -> str | None:
        """When the statement was written, by its own author."""
        for each in statement.all("author"):
            if found := self.moment(child(each, "time")):
                return found
        return None

    def issue(self, code: str, element: etree._Element | None = None, detail: str = "") -> None:
        """Note an issue of `importers.issues.MESSAGES` at that element."""
        self.source.notes.add(code, element, detail)

    def text(self, element: etree._Element | None) -> str | None:
        """The text of an ED or ST, its reference into the narrative followed."""
        return self.source.texts.of(element)

    def narrative(self, statement: Statement) -> str | None:
        """What the `text` of the statement says, its reference followed."""
        return self.source.texts.of(statement.first("text"))

    def concept(self, element: etree._Element | None, name: str | None = None) -> dict[str, Any] | None:
        """A CD as a CodeableConcept: @code, translations, then text (original text, else `name`, else displayName)."""
        return datatypes.concept(element, self.source.notes, self.source.texts, name)

    def moment(self, element: etree._Element | None) -> str | None:
        """A TS (or the value of an IVL_TS) as a dateTime."""
        return datatypes.date_time(element, self.source.notes)

    def period(self, element: etree._Element | None) -> dict[str, str]:
        """An IVL_TS as a Period; empty when nothing is known."""
        return {} if element is None else datatypes.period(element, self.source.notes)

    def quantity(self, element: etree._Element | None) -> dict[str, Any]:
        """A PQ as a Quantity; empty when it is absent or unreadable."""
        return values.quantity(element, self.source.notes)

    def value(self, element: etree._Element | None) -> dict[str, Any] | None:
        """A `value` by its xsi:type as one `value[x]` (or `dataAbsentReason`) member; {} when it is absent.

        None where its type is not known: what it says is then kept as narrative only.
        """
        return values.value(element, self.source.notes, self.source.texts)

    def recorder(self, statement: Statement) -> Reference | None:
        """The person who wrote this statement, if it has an author of its own: never a device nor an organisation."""
        return self._person(statement, "author")

    def asserter(self, statement: Statement) -> Reference | None:
        """The person who says so, if the statement has an informant of its own."""
        return self._person(statement, "informant")

    def performers(self, statement: Statement) -> list[Reference]:
        """Who did it: persons, organisations; devices are left out, which R4 does not take as performers."""
        elements = statement.all("performer")
        if not elements:
            return []
        found = datatypes.present(map(self.source.people.actor, elements))
        return [each for each in found if each.get("type") != "Device"]

    def _person(self, statement: Statement, participation: str) -> Reference | None:
        for each in statement.all(participation):
            found = self.source.people.actor(each)
            if found and found.get("type") not in _NO_PERSONS:
                return found
        return None

    def annotations(self, statement: Statement) -> list[dict[str, Any]]:
        """The comments on a statement (nested statements of the kind `comment`) as Annotations."""
        return [{"text": said} for each in statement.of_kind("comment") if (said := self.narrative(each))]


def _code_key(concept: Mapping[str, Any] | None) -> str:
    if not concept:
        return ""
    codings: list[dict[str, str]] = concept.get("coding", [])
    return "^".join((codings[0].get("system", ""), codings[0]["code"])) if codings else concept.get("text", "")
