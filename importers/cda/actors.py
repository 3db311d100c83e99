"""The persons, organisations and devices of a header, as contained resources of a DocumentReference.

A professional becomes PractitionerRole with Practitioner and Organization, a machine a Device, the patient a Patient,
another person known by an INS a RelatedPerson. Source: CDA R2 header participations; PDSm contained actors.
"""

from __future__ import annotations

import re
from typing import Any, Final

from lxml import etree

from fhir_server.fhir import identity as identities
from importers.cda.datatypes import Key, address, concept, contact_point, human_name, key, present
from importers.cda.elements import attribute, child, children, text
from importers.cda.patient import PatientIdentity
from importers.issues import Notes
from importers.tables import table

Reference = dict[str, Any]

_PROFESSION: Final = "1.2.250.1.71.1.2.7"
_SPECIALTY: Final = "1.2.250.1.213.2.28"
_PROFESSION_AND_SKILL: Final = "1.2.250.1.213.1.1.4.5"
# `G15_10/SM26`: profession 10 of TRE_G15, then a skill; those of TRE_R38 begin with SM, SCD, SI or SP.
_ROLE = re.compile(r"G15_([0-9]{2})(?:/(.+))?", re.ASCII).fullmatch
# Between the words of a type name: PractitionerRole, practitioner-role.
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ORDINAL_SPECIALTY = re.compile(r"(?:SM|SCD|SI|SP)[0-9]{2}", re.ASCII).fullmatch


class Actors:
    """The contained resources of one document: each actor once, however often the header names it."""

    def __init__(self, subject: str, patient: PatientIdentity, notes: Notes) -> None:
        """Begin with nobody; `subject` is the reference of the stored patient."""
        self.contained: list[dict[str, Any]] = []
        self.subject = subject
        self._patient, self._notes = patient, notes
        self._known: list[tuple[dict[str, Any], Reference]] = []

    def source_patient(self) -> Reference | None:
        """The patient as the document describes him; None where it does not."""
        described = self._patient.patient
        return self._add(described) if len(described) > 1 else None

    def author(self, author: etree._Element) -> Reference | None:
        """An author: the patient, a device, another known person, a professional or an organisation."""
        assigned = child(author, "assignedAuthor")
        if assigned is None:
            return None
        ins = self._ins(assigned)
        if ins in self._patient.ins:
            return self.source_patient()
        device = child(assigned, "assignedAuthoringDevice")
        if device is not None:
            return self._device(assigned, device)
        if ins:
            return self._related_person(ins, assigned)
        return self._professional(assigned, author)

    def authenticator(self, authenticator: etree._Element | None) -> Reference | None:
        """Who answers for the document.

        R4 takes a professional or an organisation here: anyone else stands as an identifier with a name.
        """
        assigned = child(authenticator, "assignedEntity")
        if assigned is None:
            return None
        ins = self._ins(assigned)
        if ins is None:
            return self._professional(assigned, None)
        name = human_name(child(child(assigned, "assignedPerson"), "name")) or {}
        shown = name.get("text") or " ".join([*name.get("given", []), *([name["family"]] if "family" in name else [])])
        return {"identifier": identities.patient_identifier(*ins), **({"display": shown} if shown else {})}

    def organization(self, element: etree._Element | None) -> Reference | None:
        """An organisation; None where neither a name nor an identifier is known (org-1)."""
        if element is None:
            return None
        found = {
            "identifier": self._identifiers(element),
            "name": next((name for each in children(element, "name") if (name := text(each))), None),
            # org-2 and org-3: nothing of an organisation is at home.
            "telecom": [_abroad(each) for each in present(map(contact_point, children(element, "telecom")))],
            "address": [_abroad(each) for each in present(map(address, children(element, "addr")))],
        }
        return self._add(_resource("Organization", found)) if found["identifier"] or found["name"] else None

    def _professional(self, assigned: etree._Element, author: etree._Element | None) -> Reference | None:
        practitioner = self._practitioner(assigned)
        organization = self.organization(child(assigned, "representedOrganization"))
        if practitioner is None:
            return organization
        code, specialty = _roles(child(assigned, "code"), self._notes)
        found = {
            "practitioner": practitioner,
            "organization": organization,
            "code": present([code, concept(child(author, "functionCode"), self._notes)]),
            "specialty": present([specialty]),
            "telecom": present(map(contact_point, children(assigned, "telecom"))),
        }
        return self._add(_resource("PractitionerRole", found))

    def _practitioner(self, assigned: etree._Element) -> Reference | None:
        person = child(assigned, "assignedPerson")
        found = {
            "identifier": self._identifiers(assigned),
            "name": present(map(human_name, children(person, "name"))),
            "address": present(map(address, children(assigned, "addr"))),
        }
        return self._add(_resource("Practitioner", found)) if found["identifier"] or found["name"] else None

    def _device(self, assigned: etree._Element, device: etree._Element) -> Reference:
        names = (("manufacturerModelName", "model-name"), ("softwareName", "user-friendly-name"))
        said = [(text(each), kind) for name, kind in names for each in children(device, name)]
        found = {
            "identifier": self._identifiers(assigned),
            "deviceName": [{"name": name, "type": kind} for name, kind in said if name],
            "type": concept(child(assigned, "code"), self._notes),
            "owner": self.organization(child(assigned, "representedOrganization")),
        }
        return self._add(_resource("Device", found))

    def _related_person(self, ins: Key, assigned: etree._Element) -> Reference:
        person = child(assigned, "assignedPerson")
        found = {
            "identifier": [identities.patient_identifier(*ins)],
            "patient": {"reference": self.subject},
            "name": present(map(human_name, children(person, "name"))),
            "telecom": present(map(contact_point, children(assigned, "telecom"))),
            "address": present(map(address, children(assigned, "addr"))),
        }
        return self._add(_resource("RelatedPerson", found))

    def _ins(self, assigned: etree._Element) -> Key | None:
        keys = (key(each, self._notes) for each in children(assigned, "id"))
        return next((each for each in keys if each and each.system in identities.INS_SYSTEMS), None)

    def _identifiers(self, element: etree._Element) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for each in children(element, "id"):
            known = key(each, self._notes)
            if known and known.system == identities.IDNPS:
                found += identities.professional_identifiers(known.value)
            elif known and known.system == identities.IDNST:
                found += identities.structure_identifiers(known.value)
            elif known:
                found.append(known.identifier())
        return present(found)

    def _add(self, resource: dict[str, Any]) -> Reference:
        for known, reference in self._known:
            if known == resource:
                return dict(reference)
        name = resource["resourceType"]
        rank = 1 + sum(each["resourceType"] == name for each in self.contained)
        id = f"{_WORDS.sub('-', name).lower()}-{rank}"
        self.contained.append({"resourceType": name, "id": id, **resource})
        self._known.append((resource, {"reference": f"#{id}"}))
        return {"reference": f"#{id}"}


def _roles(element: etree._Element | None, notes: Notes) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The role and the specialty of a professional; the pair as written stays on the role."""
    role = concept(element, notes)
    found = _ROLE(attribute(element, "code") or "")
    if role is None or found is None or attribute(element, "codeSystem") != _PROFESSION_AND_SKILL:
        return role, None
    uris = table("code_systems")["uris"]
    role["coding"].insert(0, {"system": uris[_PROFESSION], "code": found[1]})
    if not _ORDINAL_SPECIALTY(found[2] or ""):
        return role, None
    return role, {"coding": [{"system": uris[_SPECIALTY], "code": found[2]}]}


def _resource(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": kind, **{name: value for name, value in content.items() if value}}


def _abroad(contact: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in contact.items() if (name, value) != ("use", "home")}
