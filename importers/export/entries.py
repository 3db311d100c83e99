"""A stored DocumentReference as the DocumentEntry a registry takes, with the set it is submitted in.

Source: IHE ITI MHD §4.5 and PDSm (DocumentReference to DocumentEntry), importers page §5 and §10.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from importers.coded import code, cx, timestamp, unique_id
from importers.metadata import (
    APPROVED,
    ARCHIVED,
    DEPRECATED,
    Association,
    Author,
    Code,
    DocumentEntry,
    Identifier,
    Institution,
    Person,
    Registry,
    SubmissionSet,
)

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:fhir-server:exporter:1")
IS_ARCHIVED: Final = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"

_RELATIONS: Final = {"replaces": "RPLC", "appends": "APND", "transforms": "XFRM", "signs": "signs"}
_TYPES: Final = {
    "urn:oid:1.2.250.1.71.4.2.1": "IDNPS",
    "urn:oid:1.2.250.1.71.4.2.2": "IDNST",
}


def document_entry(reference: Mapping[str, Any], patient: Identifier, *, part: int = 0) -> DocumentEntry:
    """The entry of one content of a DocumentReference, for the patient known by that CX. Raises IndexError for no such
    content."""
    content, context = reference["content"][part], reference.get("context", {})
    attachment, period = content["attachment"], context.get("period", {})
    actors = _Actors(reference)
    master = reference.get("masterIdentifier") or {}
    return DocumentEntry(
        id=entry_id(reference),
        mime_type=attachment.get("contentType"),
        status=_status(reference),
        unique_id=unique_id(master),
        patient_id=patient,
        source_patient_id=patient,
        title=attachment.get("title"),
        comments=reference.get("description"),
        language=attachment.get("language"),
        creation_time=timestamp(attachment.get("creation")),
        service_start_time=timestamp(period.get("start")),
        service_stop_time=timestamp(period.get("end")),
        hash=_hexadecimal(attachment.get("hash")),
        size=attachment.get("size"),
        authors=tuple(found for each in reference.get("author", ()) if (found := actors.author(each))),
        legal_authenticator=actors.person(reference.get("authenticator") or {}),
        class_code=code(next(iter(reference.get("category", ())), None)),
        type_code=code(reference.get("type")),
        format_code=code({"coding": [content["format"]]}) if "format" in content else None,
        facility_type=code(context.get("facilityType")),
        practice_setting=code(context.get("practiceSetting")),
        confidentiality=_codes(reference.get("securityLabel", ())),
        events=_codes(context.get("event", ())),
        reference_ids=tuple(
            known for each in context.get("related", ()) if (known := cx(each.get("identifier", {}))) is not None
        ),
    )


def submission(entries: Sequence[DocumentEntry], submission_set: SubmissionSet, *more: Association) -> Registry:
    """The objects of one submission: each entry an original member of the set, beside what is said of others."""
    members = (Association("HasMember", submission_set.id, each.id, None, "Original") for each in entries)
    return Registry(tuple(entries), submission_set, (), (*members, *more))


def relations(reference: Mapping[str, Any], targets: Mapping[str, str]) -> list[Association]:
    """What a DocumentReference is to others; `targets` are their entry ids by literal reference."""
    found = []
    for each in reference.get("relatesTo", ()):
        target = targets.get(each.get("target", {}).get("reference", ""))
        if target and each.get("code") in _RELATIONS:
            found.append(Association(_RELATIONS[each["code"]], entry_id(reference), target))
    return found


def entry_id(reference: Mapping[str, Any]) -> str:
    """The entryUUID of a document: that of its identifiers, else one that its master identifier always gives."""
    known = (each.get("value", "") for each in reference.get("identifier", ()))
    own = next((each for each in known if each.startswith("urn:uuid:")), None)
    return own or f"urn:uuid:{uuid5(NAMESPACE, unique_id(reference.get('masterIdentifier') or {}) or '')}"


def _status(reference: Mapping[str, Any]) -> str:
    archived = any(
        each.get("url") == IS_ARCHIVED and each.get("valueBoolean") for each in reference.get("extension", ())
    )
    if reference.get("status") == "superseded":
        return DEPRECATED
    return ARCHIVED if archived else APPROVED


def _codes(concepts: Sequence[Mapping[str, Any]]) -> tuple[Code, ...]:
    found = (code({"coding": [coding]}) for each in concepts for coding in each.get("coding", ()))
    return tuple(each for each in found if each)


def _hexadecimal(hash: str | None) -> str | None:
    try:
        return b64decode(hash, validate=True).hex() if hash else None
    except (binascii.Error, ValueError):
        return None


class _Actors:
    """The contained actors of a DocumentReference by their reference."""

    def __init__(self, reference: Mapping[str, Any]) -> None:
        self._known = {f"#{each['id']}": each for each in reference.get("contained", ()) if "id" in each}

    def author(self, reference: Mapping[str, Any]) -> Author | None:
        actor = self._known.get(reference.get("reference", ""), {})
        organization = self._institution(actor.get("organization") or actor.get("owner") or reference)
        found = Author(
            person=self.person(reference),
            institutions=(organization,) if organization else (),
            roles=_codes(actor.get("code", ())) if actor.get("resourceType") == "PractitionerRole" else (),
            specialties=_codes(actor.get("specialty", ())),
        )
        return None if found == Author() else found

    def person(self, reference: Mapping[str, Any]) -> Person | None:
        """A professional, a patient, a relative or a device as a XCN."""
        actor = self._known.get(reference.get("reference", ""), {})
        if "practitioner" in actor:
            return self.person(actor["practitioner"])
        if actor.get("resourceType") == "Organization":
            return None
        key = _key(actor.get("identifier", ()) or [reference.get("identifier", {})])
        name: Mapping[str, Any] = next(iter(actor.get("name", ())), {})
        device = next((each.get("name") for each in actor.get("deviceName", ())), None)
        given = name.get("given", ())
        family = name.get("family") or name.get("text") or device or (None if actor else reference.get("display"))
        second = " ".join(given[1:]) or None
        prefix, suffix = (" ".join(name.get(each, ())) or None for each in ("prefix", "suffix"))
        found = Person(key, family, next(iter(given), None), second, suffix, prefix, "D" if family else None)
        return None if found == Person() else found

    def _institution(self, reference: Mapping[str, Any]) -> Institution | None:
        actor = self._known.get(reference.get("reference", ""), {})
        if actor.get("resourceType") != "Organization":
            return None
        return Institution(actor.get("name"), _key(actor.get("identifier", ())))


def _key(identifiers: Sequence[Mapping[str, Any]]) -> Identifier | None:
    """The French identifier among some, else the first."""
    ranked = sorted(identifiers, key=lambda each: each.get("system") not in _TYPES)
    first = next(iter(ranked), {})
    return cx(first, _TYPES.get(first.get("system", "")))
