"""XDS metadata written as ebRIM: a SubmitObjectsRequest, alone or in a ProvideAndRegister request with its documents.

The same metadata give the same bytes. Source: ebRIM 3.0, IHE ITI TF-3 §4.2, importers-tables §6.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Final

from lxml import etree

from importers import hl7v2
from importers.ebrim import REFERENCE_IDS
from importers.metadata import Association, Author, Code, DocumentEntry, Folder, Registry, SubmissionSet
from importers.tables import table

RIM: Final = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
LCM: Final = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
XDS: Final = "urn:ihe:iti:xds-b:2007"

# What a value of a Slot may hold before it is split (ebRIM LongName).
_LONGEST: Final = 128


def submit_objects_request(registry: Registry) -> bytes:
    """The SubmitObjectsRequest of some metadata, as METADATA.XML has it."""
    return _serialised(_request(registry))


def provide_and_register(registry: Registry, documents: Mapping[str, bytes]) -> bytes:
    """The ProvideAndRegisterDocumentSetRequest of some metadata and the documents of their entries, by entry id."""
    root = etree.Element(f"{{{XDS}}}ProvideAndRegisterDocumentSetRequest", nsmap={"xds": XDS, "lcm": LCM, "rim": RIM})
    root.append(_request(registry))
    for id, data in documents.items():
        etree.SubElement(root, f"{{{XDS}}}Document", id=id).text = b64encode(data).decode()
    return _serialised(root)


def _serialised(root: etree._Element) -> bytes:
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _request(registry: Registry) -> etree._Element:
    root = etree.Element(f"{{{LCM}}}SubmitObjectsRequest", nsmap={"lcm": LCM, "rim": RIM})
    objects = etree.SubElement(root, f"{{{RIM}}}RegistryObjectList")
    for entry in registry.entries:
        _entry(objects, entry)
    if registry.submission_set:
        _set(objects, registry.submission_set)
    for folder in registry.folders:
        _folder(objects, folder)
    for number, association in enumerate(registry.associations, 1):
        _association(objects, association, number)
    return root


class _Object:
    """A registry object being written: the order of its parts is that of the schema."""

    def __init__(self, parent: etree._Element, name: str, attributes: Mapping[str, str | None]) -> None:
        known = {key: value for key, value in attributes.items() if value is not None}
        self.element = etree.SubElement(parent, f"{{{RIM}}}{name}", known)
        self._id = known.get("id", "")
        self._count = 0

    def slot(self, name: str, *values: str | None) -> None:
        told = [value for value in values if value]
        if told:
            slot = etree.SubElement(self.element, f"{{{RIM}}}Slot", name=name)
            values_of = etree.SubElement(slot, f"{{{RIM}}}ValueList")
            for value in told:
                etree.SubElement(values_of, f"{{{RIM}}}Value").text = value

    def text(self, name: str, value: str | None) -> None:
        if value:
            holder = etree.SubElement(self.element, f"{{{RIM}}}{name}")
            etree.SubElement(holder, f"{{{RIM}}}LocalizedString", value=value)

    def codes(self, role: str, *codes: Code | None) -> None:
        for code in codes:
            if code is not None:
                each = self._classification(role, code.code)
                each.slot("codingScheme", code.system)
                each.text("Name", code.display)

    def authors(self, role: str, authors: Iterable[Author]) -> None:
        for author in authors:
            each = self._classification(role, "")
            each.slot("authorPerson", hl7v2.write_person(author.person) if author.person else None)
            each.slot("authorInstitution", *map(hl7v2.write_institution, author.institutions))
            each.slot("authorRole", *map(hl7v2.write_code, author.roles))
            each.slot("authorSpecialty", *map(hl7v2.write_code, author.specialties))
            each.slot("authorTelecommunication", *author.telecoms)

    def identified(self, role: str, value: str | None) -> None:
        if value:
            names = table("ebrim")
            scheme = f"urn:uuid:{names['identifiers'][role]}"
            given = {"id": self._next("ei"), "registryObject": self._id, "identificationScheme": scheme, "value": value}
            _Object(self.element, "ExternalIdentifier", given).text("Name", names["names"][role])

    def _classification(self, role: str, node: str) -> _Object:
        scheme = f"urn:uuid:{table('ebrim')['classifications'][role]}"
        given = {"classificationScheme": scheme, "classifiedObject": self._id, "nodeRepresentation": node}
        return _Object(self.element, "Classification", {"id": self._next("cl"), **given})

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}-{self._id}"


def _entry(parent: etree._Element, entry: DocumentEntry) -> None:
    names = table("ebrim")
    kind = names["onDemand" if entry.on_demand else "stable"]
    attributes = {"id": entry.id, "lid": entry.logical_id, "mimeType": entry.mime_type, "status": _status(entry.status)}
    each = _Object(parent, "ExtrinsicObject", {**attributes, "objectType": f"urn:uuid:{kind}"})
    each.slot("creationTime", entry.creation_time)
    each.slot("hash", entry.hash)
    each.slot("languageCode", entry.language)
    each.slot(
        "legalAuthenticator", hl7v2.write_person(entry.legal_authenticator) if entry.legal_authenticator else None
    )
    each.slot("repositoryUniqueId", entry.repository_unique_id)
    each.slot("serviceStartTime", entry.service_start_time)
    each.slot("serviceStopTime", entry.service_stop_time)
    each.slot("size", None if entry.size is None else str(entry.size))
    each.slot("sourcePatientId", hl7v2.write_identifier(entry.source_patient_id) if entry.source_patient_id else None)
    each.slot("sourcePatientInfo", *entry.source_patient_info)
    each.slot("URI", *_split(entry.uri))
    each.slot(REFERENCE_IDS, *map(hl7v2.write_identifier, entry.reference_ids))
    each.text("Name", entry.title)
    each.text("Description", entry.comments)
    each.authors("entryAuthor", entry.authors)
    each.codes("classCode", entry.class_code)
    each.codes("confidentialityCode", *entry.confidentiality)
    each.codes("eventCodeList", *entry.events)
    each.codes("formatCode", entry.format_code)
    each.codes("healthcareFacilityTypeCode", entry.facility_type)
    each.codes("practiceSettingCode", entry.practice_setting)
    each.codes("typeCode", entry.type_code)
    each.identified("entryPatientId", hl7v2.write_identifier(entry.patient_id) if entry.patient_id else None)
    each.identified("entryUniqueId", entry.unique_id)


def _set(parent: etree._Element, submission: SubmissionSet) -> None:
    each = _Object(parent, "RegistryPackage", {"id": submission.id, "status": _status(submission.status)})
    each.slot("submissionTime", submission.submission_time)
    each.text("Name", submission.title)
    each.text("Description", submission.comments)
    each.authors("setAuthor", submission.authors)
    each.codes("contentTypeCode", submission.content_type)
    each.identified("setPatientId", hl7v2.write_identifier(submission.patient_id) if submission.patient_id else None)
    each.identified("setSourceId", submission.source_id)
    each.identified("setUniqueId", submission.unique_id)
    _classified_as(parent, submission.id, "SubmissionSet")


def _folder(parent: etree._Element, folder: Folder) -> None:
    each = _Object(parent, "RegistryPackage", {"id": folder.id, "status": _status(folder.status)})
    each.slot("lastUpdateTime", folder.last_update_time)
    each.text("Name", folder.title)
    each.text("Description", folder.comments)
    each.codes("folderCodeList", *folder.codes)
    each.identified("folderPatientId", hl7v2.write_identifier(folder.patient_id) if folder.patient_id else None)
    each.identified("folderUniqueId", folder.unique_id)
    _classified_as(parent, folder.id, "Folder")


def _classified_as(parent: etree._Element, id: str, kind: str) -> None:
    node = next(node for node, named in table("ebrim")["nodes"].items() if named == kind)
    given = {"id": f"cl-{id}", "classifiedObject": id, "classificationNode": f"urn:uuid:{node}"}
    _Object(parent, "Classification", given)


def _association(parent: etree._Element, association: Association, number: int) -> None:
    kind = table("ebrim")["associations"].get(association.kind, association.kind)
    given = {"id": association.id or f"as-{number}", "associationType": kind}
    ends = {"sourceObject": association.source, "targetObject": association.target}
    _Object(parent, "Association", {**given, **ends}).slot("SubmissionSetStatus", association.set_status)


def _status(name: str | None) -> str | None:
    return None if name is None else table("ebrim")["statuses"].get(name, name)


def _split(value: str | None) -> list[str]:
    """A long value in numbered parts."""
    if not value or len(value) <= _LONGEST:
        return [value] if value else []
    step = _LONGEST - 4
    return [f"{rank}|{value[at : at + step]}" for rank, at in enumerate(range(0, len(value), step), 1)]
