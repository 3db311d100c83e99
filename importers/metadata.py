"""What a registry says of a document: the XDS metadata of an ebRIM message or an XDM archive, as plain data.

Texts are as written, white space at their ends removed; a code system or an assigning authority is an OID where the
sender wrote one. Source: IHE ITI TF-3 §4.2 (metadata attributes), importers-tables §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

APPROVED: Final = "Approved"
DEPRECATED: Final = "Deprecated"
ARCHIVED: Final = "Archived"
DELETED: Final = "Deleted"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: `system` is the coding scheme as written, mostly an OID."""

    code: str
    system: str | None = None
    display: str | None = None


@dataclass(frozen=True, slots=True)
class Identifier:
    """A CX or CXi: a value, the OID of who gave it, and its type (NH for an INS, PI for a local one)."""

    value: str
    authority: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """An XCN: an identifier and a name; `name_type` is D or L as written."""

    identifier: Identifier | None = None
    family: str | None = None
    given: str | None = None
    second: str | None = None
    suffix: str | None = None
    prefix: str | None = None
    name_type: str | None = None


@dataclass(frozen=True, slots=True)
class Institution:
    """A XON: a name and an identifier."""

    name: str | None = None
    identifier: Identifier | None = None


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote something: a person or a device, for whom, in what role."""

    person: Person | None = None
    institutions: tuple[Institution, ...] = ()
    roles: tuple[Code, ...] = ()
    specialties: tuple[Code, ...] = ()
    telecoms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentEntry:
    """The metadata of one document.

    `id` is the entryUUID or the symbolic name of the message. Times are HL7 TS. `hash` is SHA-1 in small hexadecimal,
    `size` in bytes, `uri` the name of the document in its archive. `status` is one of the four names of this module.
    `source_patient_info` are the values `PID-n|…` as written.
    """

    id: str
    mime_type: str | None = None
    on_demand: bool = False
    status: str | None = None
    logical_id: str | None = None
    unique_id: str | None = None
    patient_id: Identifier | None = None
    source_patient_id: Identifier | None = None
    source_patient_info: tuple[str, ...] = ()
    title: str | None = None
    comments: str | None = None
    language: str | None = None
    creation_time: str | None = None
    service_start_time: str | None = None
    service_stop_time: str | None = None
    hash: str | None = None
    size: int | None = None
    uri: str | None = None
    repository_unique_id: str | None = None
    authors: tuple[Author, ...] = ()
    legal_authenticator: Person | None = None
    class_code: Code | None = None
    type_code: Code | None = None
    format_code: Code | None = None
    facility_type: Code | None = None
    practice_setting: Code | None = None
    confidentiality: tuple[Code, ...] = ()
    events: tuple[Code, ...] = ()
    reference_ids: tuple[Identifier, ...] = ()


@dataclass(frozen=True, slots=True)
class SubmissionSet:
    """What was submitted at once, by whom, when."""

    id: str
    unique_id: str | None = None
    source_id: str | None = None
    patient_id: Identifier | None = None
    title: str | None = None
    comments: str | None = None
    status: str | None = None
    submission_time: str | None = None
    content_type: Code | None = None
    authors: tuple[Author, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """A named group of documents."""

    id: str
    unique_id: str | None = None
    patient_id: Identifier | None = None
    title: str | None = None
    comments: str | None = None
    status: str | None = None
    last_update_time: str | None = None
    codes: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True)
class Association:
    """What one object is to another: HasMember, RPLC, APND, XFRM, XFRM_RPLC, signs.

    `target` may be outside the message, by its entryUUID. `set_status` is Original or Reference where a set has a
    member.
    """

    kind: str
    source: str
    target: str
    id: str | None = None
    set_status: str | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """All objects of one message or one subset of an archive."""

    entries: tuple[DocumentEntry, ...] = ()
    submission_set: SubmissionSet | None = None
    folders: tuple[Folder, ...] = ()
    associations: tuple[Association, ...] = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """What one document came with: its entry, the set it was submitted in, its folders, its associations."""

    entry: DocumentEntry
    submission_set: SubmissionSet | None = None
    folders: tuple[Folder, ...] = ()
    associations: tuple[Association, ...] = ()

    @property
    def visibility(self) -> tuple[str, ...]:
        """The codes of confidentiality and visibility that the sender gave, for `convert`."""
        return tuple(each.code for each in self.entry.confidentiality)


def of_entry(entry: DocumentEntry, registry: Registry) -> Metadata:
    """What a registry says of one of its documents."""
    linked = tuple(each for each in registry.associations if entry.id in (each.source, each.target))
    holders = {each.source for each in linked if each.kind == "HasMember" and each.target == entry.id}
    folders = tuple(each for each in registry.folders if each.id in holders)
    return Metadata(entry, registry.submission_set, folders, linked)
