"""Who a document is about: the one patientRole of its recordTarget, and nobody else it names.

Guardian, informant, author, legalAuthenticator and other persons may carry an INS too: none of them is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lxml import etree

from fhir_server.errors import Invalid, Issue
from fhir_server.fhir import identity as identities
from fhir_server.fhir.identity import Traits
from importers.cda.datatypes import Key, Parts, address, contact_point, date, human_name, key, present
from importers.cda.elements import attribute, child, children, descendant, text
from importers.issues import Notes, issue, rejection
from importers.tables import table

_GENDERS = {"M": "male", "F": "female", "UN": "other", "U": "unknown"}
_INSEE_COMMUNES = "1.2.250.1.213.2.23"


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """The identity a document gives to its patient.

    `patient` is an R4 Patient without id: all identifiers, names, gender, birth date and place, addresses, telecoms.
    `ins` are those of its identifiers that are INS, `other_ids` the rest; `traits` the strict traits of `patient`.
    `role` is where it stands.
    """

    patient: dict[str, Any]
    ins: tuple[Key, ...]
    other_ids: tuple[Key, ...]
    traits: Traits
    role: etree._Element | None = field(repr=False, compare=False)


def read_patient(document: etree._Element, notes: Notes) -> PatientIdentity:
    """The identity under recordTarget; empty where there is none. Raises Invalid (906) for more than one patient."""
    targets = children(document, "recordTarget")
    roles = [role for target in targets for role in children(target, "patientRole")]
    persons = [person for role in roles for person in children(role, "patient")]
    if len(targets) > 1 or len(roles) > 1 or len(persons) > 1:
        raise rejection("906", "more than one patient", targets[-1])
    role, person = next(iter(roles), None), next(iter(persons), None)
    keys = list(dict.fromkeys(found for each in children(role, "id") if (found := key(each, notes))))
    patient = _patient(keys, role, person, notes)
    ins = tuple(each for each in keys if each.system in identities.INS_SYSTEMS)
    others = tuple(each for each in keys if each not in ins)
    return PatientIdentity(patient, ins, others, identities.traits_of(patient), role)


@dataclass(frozen=True, slots=True)
class Verified:
    """The INS a document may be filed under, and what remains to be said about it."""

    ins: Key
    issues: tuple[Issue, ...]


def verify(identity: PatientIdentity, *, strict: bool = True, production: bool = False) -> Verified:
    """The one INS under which the patient is looked up.

    Raises Invalid: 903 without INS, 906 with several, with one of test or demonstration in production or, in strict
    mode, with a wrong shape, or under a system of real people a wrong structure or key (ID-4); 905 where a strict
    trait is missing. In lenient mode blanks and small letters of the INS are forgiven.
    """
    if not identity.ins:
        raise rejection("903", element=identity.role)
    if len(identity.ins) > 1:
        raise rejection("906", "more than one INS", identity.role)
    ins = identity.ins[0]
    if production and ins.system in identities.TRIAL_INS_SYSTEMS:
        raise rejection("906", "INS of test or demonstration", identity.role)
    coded = _coded(identities.judge_ins(*ins, strict=strict), identity.role)
    if any(each.severity == "error" for each in coded):
        raise Invalid(coded[0].text, issues=coded)
    if missing := identity.traits.missing():
        raise rejection("905", ", ".join(missing), identity.role)
    return Verified(ins if strict else Key(ins.system, identities.normal_ins(ins.value)), coded)


def _coded(issues: Iterable[Issue], role: etree._Element | None) -> tuple[Issue, ...]:
    """The issues of an INS with the place of the identity, coded as a refusal where they are errors."""
    codes = {"error": "906", "warning": "doubtful-ins"}
    return tuple(
        replace(issue(codes[each.severity], role, each.diagnostics), code=each.code, text=each.text) for each in issues
    )


def compare(identity: PatientIdentity, patient: Mapping[str, Any]) -> list[str]:
    """The names of the strict traits in which the document and a stored Patient differ (then: 904); never values."""
    return identities.differing_traits(identity.traits, identities.traits_of(patient))


def _patient(
    keys: list[Key], role: etree._Element | None, person: etree._Element | None, notes: Notes
) -> dict[str, Any]:
    found = {
        "extension": [place] if (place := _birth_place(person)) else [],
        "identifier": [identities.patient_identifier(*each) for each in keys],
        "name": present(name for each in children(person, "name") for name in _names(each, notes)),
        "telecom": present(contact_point(each) for each in children(role, "telecom")),
        "gender": _gender(child(person, "administrativeGenderCode")),
        "birthDate": date(child(person, "birthTime"), notes),
        "address": present(address(each) for each in children(role, "addr")),
    }
    return {"resourceType": "Patient", **{name: value for name, value in found.items() if value}}


def _names(element: etree._Element, notes: Notes) -> list[dict[str, Any]]:
    parts = Parts(element)
    birth, used, spouse = (parts("family", qualifier) for qualifier in ("BR", "CL", "SP"))
    if element.get("nullFlavor") or not (birth or used or spouse):
        name = human_name(element)
        return [name] if name else []
    names = [_official(parts, element, notes)] if birth else []
    if used or spouse:
        given = parts("given", "CL") or (names[0].get("given", []) if names else parts("given"))
        names.append({"use": "usual", "family": " ".join(used or spouse), **({"given": given} if given else {})})
    if used and spouse and used != spouse:
        names.append({"use": "usual", "family": " ".join(spouse)})
    titles = {each: found for each in ("prefix", "suffix") if (found := parts(each))}
    (names[1] if len(names) > 1 else names[0]).update(titles)
    return names


def _official(parts: Parts, element: etree._Element, notes: Notes) -> dict[str, Any]:
    listed, first = " ".join(parts("given", "")), " ".join(parts("given", "BR"))
    if first and listed and not identities.begins_with(listed, first):
        notes.add("given-names", element)
        listed = f"{first} {listed}"
    first = first or listed.split(" ")[0]
    extension = [{"url": identities.BIRTH_GIVEN_NAMES, "valueString": listed}]
    return {
        **({"extension": extension} if listed else {}),
        "use": "official",
        "family": " ".join(parts("family", "BR")),
        **({"given": [first]} if first else {}),
    }


def _gender(element: etree._Element | None) -> str | None:
    if element is not None and element.get("nullFlavor"):
        return None
    return _GENDERS.get(attribute(element, "code") or "")


def _birth_place(person: etree._Element | None) -> dict[str, Any] | None:
    element = descendant(person, "birthplace", "place", "addr")
    place = None if element is None else address(element)
    code = text(child(element, "county"))
    if place is None:
        return None
    # In French documents the county of a birth place is the code of the commune, not the name of a district.
    if code and _is_commune(code):
        place.pop("district", None)
        system = table("code_systems")["uris"][_INSEE_COMMUNES]
        insee = {"url": identities.INSEE_CODE, "valueCoding": {"system": system, "code": code}}
        place = {"extension": [insee], **place}
    return {"url": identities.BIRTH_PLACE, "valueAddress": place}


def _is_commune(code: str) -> bool:
    return len(code) == 5 and code[0].isdecimal() and (code[1:].isdecimal() or code[:2] in ("2A", "2B"))
