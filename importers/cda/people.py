"""Who took part in something: professionals, organisations, devices and relatives as References by identifier.

Entries name the same few persons again and again, so each role is read once by its ids. The actors of the header are
contained resources (`actors`). Source: CDA R2 participations; importers page §4.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from fhir_server.fhir import identity as identities
from importers.cda.datatypes import Key, human_name, key
from importers.cda.elements import V3, attribute, child, children, descendant, text
from importers.issues import Notes

Reference = dict[str, Any]

_PERSONS: Final = ("assignedPerson", "relatedPerson", "informationRecipient", "playingEntity", "associatedPerson")
_DEVICES: Final = ("assignedAuthoringDevice", "playingDevice")
_ORGANIZATIONS: Final = ("representedOrganization", "scopingOrganization", "representedCustodianOrganization")
_ROLES: Final = ("assignedAuthor", "assignedEntity", "relatedEntity", "associatedEntity", "participantRole")


class People:
    """The participants of one document; an actor of the identity of the patient is the subject."""

    __slots__ = ("_known", "_notes", "_patient", "subject")

    def __init__(self, subject: str, patient: tuple[Key, ...], notes: Notes) -> None:
        """`subject` is the reference of the patient, `patient` the INS that are his."""
        self.subject, self._patient, self._notes = subject, patient, notes
        self._known: dict[tuple[str | None, ...], Reference | None] = {}

    def actor(self, participation: etree._Element | None) -> Reference | None:
        """Who takes part: the patient, a professional, a relative, a device, else the organisation; None for nobody."""
        role = _role(participation)
        if role is None:
            return None
        # Names are part of the key: some software gives one id to all.
        seen = tuple([each.get(name) for each in children(role, "id") for name in ("root", "extension")])
        if not any(seen):
            return self._actor(role)
        seen = (*seen, *(each.text for each in role.iterdescendants(V3 + "family", V3 + "given")))
        if seen not in self._known:
            self._known[seen] = self._actor(role)
        found = self._known[seen]
        return dict(found) if found else None

    def organization(self, element: etree._Element | None) -> Reference | None:
        """An organisation by its first usable identifier and its name."""
        return (
            None if element is None else _reference("Organization", self._keys(element), text(child(element, "name")))
        )

    def organization_of(self, participation: etree._Element | None) -> Reference | None:
        """The organisation somebody takes part for."""
        role = _role(participation)
        found = None if role is None else _one_of(role, _ORGANIZATIONS)
        return self.organization(found)

    def _actor(self, role: etree._Element) -> Reference | None:
        keys = self._keys(role)
        if any(each in self._patient for each in keys):
            return {"reference": self.subject}
        device = _one_of(role, _DEVICES)
        if device is not None:
            shown = text(child(device, "softwareName")) or text(child(device, "manufacturerModelName"))
            return _reference("Device", keys, shown or text(descendant(device, "code", "displayName")))
        person = _one_of(role, _PERSONS)
        shown = _shown(person)
        known = any(each.system in identities.INS_SYSTEMS for each in keys)
        if role.tag == V3 + "relatedEntity" or known:
            if attribute(role, "classCode") == "PAT":
                return {"reference": self.subject}
            return _reference("RelatedPerson", keys, shown)
        if person is None:
            found = self.organization(_one_of(role, _ORGANIZATIONS))
            if found:
                return found
        return _reference("Practitioner", keys, shown)

    def _keys(self, element: etree._Element) -> list[Key]:
        return [found for each in children(element, "id") if (found := key(each, self._notes))]


def _role(participation: etree._Element | None) -> etree._Element | None:
    return None if participation is None else _one_of(participation, _ROLES)


def _one_of(parent: etree._Element, names: tuple[str, ...]) -> etree._Element | None:
    if len(parent):
        for name in names:
            if (found := child(parent, name)) is not None:
                return found
    return None


def _shown(person: etree._Element | None) -> str | None:
    name = human_name(child(person, "name")) or {}
    return (
        name.get("text") or " ".join([*name.get("given", []), *([name["family"]] if "family" in name else [])]) or None
    )


def _reference(kind: str, keys: list[Key], shown: str | None) -> Reference | None:
    found: Reference = {"type": kind}
    if keys:
        found["identifier"] = keys[0].identifier()
    if shown:
        found["display"] = shown
    return found if len(found) > 1 else None
