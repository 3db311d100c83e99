"""ebRIM, the XML of XDS metadata, read: a SubmitObjectsRequest alone, in a ProvideAndRegister request, or in SOAP.

Elements are found by local name, whatever their prefix. Source: ebRIM 3.0, IHE ITI TF-3 §4.2, importers-tables §6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeVar

from lxml import etree

from fhir_server.errors import Invalid
from importers import hl7v2
from importers.cda.elements import attribute, folded
from importers.issues import refusal
from importers.metadata import (
    Association,
    Author,
    Code,
    DocumentEntry,
    Folder,
    Identifier,
    Registry,
    SubmissionSet,
)
from importers.tables import table

_T = TypeVar("_T")

_NUMBERED = re.compile(r"([0-9]{1,3})\|(.*)", re.DOTALL).fullmatch
_SIZE = re.compile(r"[0-9]{1,15}", re.ASCII).fullmatch
REFERENCE_IDS: Final = "urn:ihe:iti:xds:2013:referenceIdList"


def registry(request: etree._Element) -> Registry:
    """The objects of a request. Raises Invalid (`not-a-document`) where it has no single RegistryObjectList."""
    lists = list(request.iter("{*}RegistryObjectList"))
    if len(lists) != 1:
        raise refusal(Invalid, "not-a-document", detail=f"found {len(lists)} RegistryObjectList")
    objects = _Objects(lists[0])
    return Registry(
        entries=tuple(_entry(each) for each in objects.named("ExtrinsicObject")),
        submission_set=next((_set(each) for each in objects.packages("SubmissionSet")), None),
        folders=tuple(_folder(each) for each in objects.packages("Folder")),
        associations=tuple(found for each in objects.named("Association") if (found := _association(each))),
    )


class _Objects:
    """The registry objects of a list; what a package is, a Classification says inside it or beside it."""

    def __init__(self, objects: etree._Element) -> None:
        self._objects = objects
        nodes = table("ebrim")["nodes"]
        self._kinds: dict[str, str] = {}
        for each in objects.iter("{*}Classification"):
            kind = nodes.get(_uuid(attribute(each, "classificationNode")))
            target = attribute(each, "classifiedObject")
            if kind and target:
                self._kinds.setdefault(target, kind)

    def named(self, name: str) -> Iterable[etree._Element]:
        return self._objects.iterchildren("{*}" + name)

    def packages(self, kind: str) -> Iterable[etree._Element]:
        return (each for each in self.named("RegistryPackage") if self._kinds.get(each.get("id", "").strip()) == kind)


class _Object:
    """One registry object: its slots, classifications and external identifiers by what they are."""

    def __init__(self, element: etree._Element) -> None:
        self.element = element
        self._slots = {attribute(each, "name"): _values(each) for each in element.iterchildren("{*}Slot")}
        self._classified: dict[str, list[etree._Element]] = {}
        for each in element.iterchildren("{*}Classification"):
            self._classified.setdefault(_uuid(attribute(each, "classificationScheme")), []).append(each)
        self._identified = {
            _uuid(attribute(each, "identificationScheme")): attribute(each, "value")
            for each in element.iterchildren("{*}ExternalIdentifier")
        }

    def slot(self, name: str) -> str | None:
        values = self._slots.get(name)
        return values[0] if values else None

    def slots(self, name: str) -> tuple[str, ...]:
        return tuple(self._slots.get(name, ()))

    def text(self, name: str) -> str | None:
        """Its Name or Description, in the first language given."""
        for each in self.element.iterchildren("{*}" + name):
            for localized in each.iterchildren("{*}LocalizedString"):
                return attribute(localized, "value")
        return None

    def codes(self, role: str) -> tuple[Code, ...]:
        found = (_code(each) for each in self._classified.get(table("ebrim")["classifications"][role], ()))
        return tuple(each for each in found if each)

    def code(self, role: str) -> Code | None:
        return next(iter(self.codes(role)), None)

    def authors(self, role: str) -> tuple[Author, ...]:
        return tuple(_author(each) for each in self._classified.get(table("ebrim")["classifications"][role], ()))

    def identified(self, role: str) -> str | None:
        return self._identified.get(table("ebrim")["identifiers"][role])

    def patient(self, role: str) -> Identifier | None:
        written = self.identified(role)
        return hl7v2.identifier(written) if written else None

    @property
    def id(self) -> str:
        return attribute(self.element, "id") or ""

    @property
    def status(self) -> str | None:
        """The last word of the status URN: Approved, Deprecated, Archived, Deleted."""
        return _last(attribute(self.element, "status"))


def _entry(element: etree._Element) -> DocumentEntry:
    each = _Object(element)
    size = each.slot("size") or ""
    authenticator, source = each.slot("legalAuthenticator"), each.slot("sourcePatientId")
    return DocumentEntry(
        id=each.id,
        mime_type=attribute(element, "mimeType"),
        on_demand=_uuid(attribute(element, "objectType")) == table("ebrim")["onDemand"],
        status=each.status,
        logical_id=attribute(element, "lid"),
        unique_id=each.identified("entryUniqueId"),
        patient_id=each.patient("entryPatientId"),
        source_patient_id=hl7v2.identifier(source) if source else None,
        source_patient_info=each.slots("sourcePatientInfo"),
        title=each.text("Name"),
        comments=each.text("Description"),
        language=each.slot("languageCode"),
        creation_time=each.slot("creationTime"),
        service_start_time=each.slot("serviceStartTime"),
        service_stop_time=each.slot("serviceStopTime"),
        hash=(each.slot("hash") or "").lower() or None,
        size=int(size) if _SIZE(size) else None,
        uri=_joined(each.slots("URI")),
        repository_unique_id=each.slot("repositoryUniqueId"),
        authors=each.authors("entryAuthor"),
        legal_authenticator=hl7v2.person(authenticator) if authenticator else None,
        class_code=each.code("classCode"),
        type_code=each.code("typeCode"),
        format_code=each.code("formatCode"),
        facility_type=each.code("healthcareFacilityTypeCode"),
        practice_setting=each.code("practiceSettingCode"),
        confidentiality=each.codes("confidentialityCode"),
        events=each.codes("eventCodeList"),
        reference_ids=_read(map(hl7v2.identifier, each.slots(REFERENCE_IDS))),
    )


def _set(element: etree._Element) -> SubmissionSet:
    each = _Object(element)
    return SubmissionSet(
        id=each.id,
        unique_id=each.identified("setUniqueId"),
        source_id=each.identified("setSourceId"),
        patient_id=each.patient("setPatientId"),
        title=each.text("Name"),
        comments=each.text("Description"),
        status=each.status,
        submission_time=each.slot("submissionTime"),
        content_type=each.code("contentTypeCode"),
        authors=each.authors("setAuthor"),
    )


def _folder(element: etree._Element) -> Folder:
    each = _Object(element)
    return Folder(
        id=each.id,
        unique_id=each.identified("folderUniqueId"),
        patient_id=each.patient("folderPatientId"),
        title=each.text("Name"),
        comments=each.text("Description"),
        status=each.status,
        last_update_time=each.slot("lastUpdateTime"),
        codes=each.codes("folderCodeList"),
    )


def _association(element: etree._Element) -> Association | None:
    kind, source, target = (attribute(element, each) for each in ("associationType", "sourceObject", "targetObject"))
    if not kind or not source or not target:
        return None
    status = _Object(element).slot("SubmissionSetStatus")
    return Association(_last(kind) or kind, source, target, attribute(element, "id"), status)


def _author(element: etree._Element) -> Author:
    slots = {attribute(each, "name"): _values(each) for each in element.iterchildren("{*}Slot")}
    persons = _read(map(hl7v2.person, slots.get("authorPerson", ())))
    return Author(
        person=persons[0] if persons else None,
        institutions=_read(map(hl7v2.institution, slots.get("authorInstitution", ()))),
        roles=_read(map(hl7v2.code, slots.get("authorRole", ()))),
        specialties=_read(map(hl7v2.code, slots.get("authorSpecialty", ()))),
        telecoms=tuple(slots.get("authorTelecommunication", ())),
    )


def _code(element: etree._Element) -> Code | None:
    code = attribute(element, "nodeRepresentation")
    each = _Object(element)
    return Code(code, each.slot("codingScheme"), each.text("Name")) if code else None


def _values(slot: etree._Element) -> list[str]:
    """The values of a Slot, their white space folded, blank ones left out."""
    lists = slot.iterchildren("{*}ValueList")
    texts = (folded(each.text) for values in lists for each in values.iterchildren("{*}Value"))
    return [each for each in texts if each]


def _joined(values: tuple[str, ...]) -> str | None:
    """A value that is split as `1|…`, `2|…` where it is long."""
    parts = [_NUMBERED(each) for each in values]
    if len(values) < 2 or not all(parts):
        return values[0] if values else None
    return "".join(each[2] for each in sorted((each for each in parts if each), key=lambda each: int(each[1])))


def _read(found: Iterable[_T | None]) -> tuple[_T, ...]:
    return tuple(each for each in found if each is not None)


def _uuid(urn: str | None) -> str:
    return (urn or "").lower().removeprefix("urn:uuid:")


def _last(urn: str | None) -> str | None:
    return urn.rpartition(":")[2] if urn else None
