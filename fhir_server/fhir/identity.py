"""French identities: the INS and its key, the strict traits of a person, the numbers of professionals and structures.

Sources: `INS` and `IdNat` forms, RNIV for the traits; the statements ID-1 to ID-6, PRO-3 and PAT-8 of the domain page.
Identifiers and patients are plain R4 dicts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from fhir_server.errors import Issue

INS_NIR: Final = "urn:oid:1.2.250.1.213.1.4.8"
INS_NIA: Final = "urn:oid:1.2.250.1.213.1.4.9"
INS_NIR_TEST: Final = "urn:oid:1.2.250.1.213.1.4.10"
INS_NIR_DEMO: Final = "urn:oid:1.2.250.1.213.1.4.11"
INS_SYSTEMS: Final = frozenset({INS_NIR, INS_NIA, INS_NIR_TEST, INS_NIR_DEMO})
TRIAL_INS_SYSTEMS: Final = frozenset({INS_NIR_TEST, INS_NIR_DEMO})
"""Numbers of nobody: refused where real people are cared for."""

IDNPS: Final = "urn:oid:1.2.250.1.71.4.2.1"
IDNST: Final = "urn:oid:1.2.250.1.71.4.2.2"
RPPS: Final = "https://rpps.esante.gouv.fr"
ADELI: Final = "https://adeli.esante.gouv.fr"
FINESS: Final = "https://finess.esante.gouv.fr"
SIRENE: Final = "https://sirene.fr"

IDENTIFIER_TYPES: Final = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
BIRTH_GIVEN_NAMES: Final = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-birth-list-given-name"
INSEE_CODE: Final = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-address-insee-code"
BIRTH_PLACE: Final = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"

# The type and the use fr-core gives to each identifier of a patient.
_PATIENT_IDENTIFIERS: Final[Mapping[str, tuple[str, str]]] = {
    INS_NIR: ("INS-NIR", "official"),
    INS_NIA: ("INS-NIA", "temp"),
    INS_NIR_TEST: ("INS-NIR-TEST", "official"),
    INS_NIR_DEMO: ("INS-NIR-DEMO", "official"),
    "urn:oid:1.2.250.1.213.1.4.2": ("INS-C", "secondary"),
    "urn:oid:1.2.250.1.176.1.2": ("NDP", "secondary"),
}

# Prefix of the national number, then what stands behind it: form, system and type of the number itself.
_PROFESSIONAL_NUMBERS: Final = {
    "8": (re.compile(r"[0-9]{11}"), RPPS, "RPPS"),
    "0": (re.compile(r"[0-9A-Z]{9}"), ADELI, "ADELI"),
}
_STRUCTURE_NUMBERS: Final = {
    "0": (re.compile(r"[0-9A-Z]{9,}"), "https://adelirang.esante.gouv.fr", "INTRN"),
    # Nothing in the number tells a legal entity (FINEJ) from a site (FINEG): no type.
    "1": (re.compile(r"[0-9]{2}[0-9]{7}|2[AB][0-9]{7}"), FINESS, None),
    "2": (re.compile(r"[0-9]{9}"), SIRENE, "SIREN"),
    "3": (re.compile(r"[0-9]{14}"), SIRENE, "SIRET"),
    "4": (re.compile(r"[0-9]{11,}"), "https://rppsrang.esante.gouv.fr", "INTRN"),
}

_SHAPE = re.compile(r"[0-9]{5}(?:[0-9]{2}|2[AB])[0-9]{8}", re.ASCII).fullmatch
_BODY = re.compile(r"[0-9]{5}(?:[0-9]{2}|2[AB])[0-9]{6}", re.ASCII).fullmatch
# Sex; year; month, or a pseudo-month where the birth date is not known; department and commune; order.
_STRUCTURE = re.compile(
    r"[1278][0-9]{2}(?:0[1-9]|1[0-2]|[23][0-9]|4[0-2]|[5-9][0-9])(?!00)[0-9][0-9AB][0-9]{3}(?!000)[0-9]{3}[0-9]{2}",
    re.ASCII,
).fullmatch

# What each fault is called in French, and in English for diagnostics.
_FAULTS: Final = {
    "shape": ("L'INS n'a pas la forme attendue (15 caractères).", "the INS is not 15 characters of the right kind"),
    "structure": ("La structure de l'INS est incohérente.", "the INS has an impossible structure"),
    "key": ("La clé de l'INS est fausse.", "the check digits of the INS do not match"),
}


def ins_key(body: str) -> str:
    """The two-digit key of the 13 characters of an INS (ID-1); ValueError if they are not such a number."""
    if not _BODY(body):
        raise ValueError("not the 13 characters of an INS")
    department = {"2A": "19", "2B": "18"}.get(body[5:7], body[5:7])
    return f"{97 - int(body[:5] + department + body[7:]) % 97:02d}"


def normal_ins(value: str) -> str:
    """The INS in capitals without blanks: what the lenient policy reads (ID-1)."""
    return "".join(value.split()).upper()


def ins_faults(value: str) -> tuple[str, ...]:
    """What is wrong with an INS as written: of `shape`, `structure`, `key`; a wrong shape hides the two others."""
    if not _SHAPE(value):
        return ("shape",)
    structure = () if _STRUCTURE(value) else ("structure",)
    return structure if ins_key(value[:13]) == value[13:] else (*structure, "key")


def judge_ins(system: str, value: str, *, strict: bool = True, expression: str = "") -> tuple[Issue, ...]:
    """The issues of an INS under a policy (ID-4): none when it is right.

    Strict: a wrong shape is an error; a wrong structure or key is one under the systems of real people, a warning
    under those of tests and demonstrations. Lenient: blanks and small letters are forgiven, all else is a warning.
    """
    faults = ins_faults(value if strict else normal_ins(value))

    def severity(fault: str) -> str:
        return "error" if strict and (fault == "shape" or system not in TRIAL_INS_SYSTEMS) else "warning"

    told = ((severity(fault), *_FAULTS[fault]) for fault in faults)
    return tuple(Issue("value", french, expression, how, diagnostics=english) for how, french, english in told)


def patient_identifier(system: str, value: str) -> dict[str, Any]:
    """An Identifier of a patient, with the type and use fr-core gives to the systems it knows."""
    known = _PATIENT_IDENTIFIERS.get(system)
    if known is None:
        return {"system": system, "value": value}
    return {"use": known[1], "type": _type(known[0]), "system": system, "value": value}


def professional_identifiers(value: str) -> list[dict[str, Any]]:
    """An IdNat_PS as Identifiers: the raw value, then the RPPS or ADELI number behind its prefix (ID-5: no Luhn)."""
    return _national(IDNPS, "IDNPS", value, _PROFESSIONAL_NUMBERS)


def structure_identifiers(value: str) -> list[dict[str, Any]]:
    """An IdNat_Struct as Identifiers: the raw value, then the FINESS, SIREN, SIRET or cabinet number it holds."""
    return _national(IDNST, "IDNST", value, _STRUCTURE_NUMBERS)


def rpps_of(identifier: Mapping[str, Any]) -> str | None:
    """The 11 digits of an RPPS, given as such or as an IdNat_PS (PRO-3: both compare equal); None for all else."""
    system, value = identifier.get("system"), str(identifier.get("value", ""))
    number = value[1:] if system == IDNPS and value.startswith("8") else value if system == RPPS else ""
    return number if _PROFESSIONAL_NUMBERS["8"][0].fullmatch(number) else None


def _national(system: str, code: str, value: str, numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    raw = {"use": "official", "type": _type(code), "system": system, "value": value}
    form, own_system, own_code = numbers.get(value[:1], (None, "", None))
    if form is None or not form.fullmatch(value[1:]):
        return [raw]
    own = {"system": own_system, "value": value[1:]}
    return [raw, {"type": _type(own_code), **own} if own_code else own]


def _type(code: str) -> dict[str, Any]:
    return {"coding": [{"system": IDENTIFIER_TYPES, "code": code}]}


@dataclass(frozen=True, slots=True)
class Traits:
    """The strict traits of a person as written; None where unknown.

    `given_names` is the whole list of the birth certificate, `first_given` the first of them, `sex` a FHIR gender,
    `birth_date` a FHIR date, `birth_place` a code of the Code officiel géographique.
    """

    birth_family: str | None = None
    given_names: str | None = None
    first_given: str | None = None
    birth_date: str | None = None
    sex: str | None = None
    birth_place: str | None = None

    def missing(self) -> tuple[str, ...]:
        """The names of the traits without which an identity is incomplete and that are not there."""
        return tuple(name for name in _REQUIRED if getattr(self, name) is None)


_REQUIRED: Final = ("birth_family", "first_given", "birth_date", "sex")


def traits_of(patient: Mapping[str, Any]) -> Traits:
    """The strict traits of an R4 Patient in the French shape: official name, list of birth names, birth place."""
    names: list[dict[str, Any]] = [each for each in patient.get("name", ()) if each.get("use") == "official"]
    name = names[0] if names else {}
    given = name.get("given") or []
    listed = next((str(e["valueString"]) for e in _extensions(name, BIRTH_GIVEN_NAMES) if "valueString" in e), None)
    given_names = listed or (" ".join(given) if len(given) > 1 else None)
    return Traits(
        birth_family=name.get("family"),
        given_names=given_names,
        first_given=given[0] if given else (listed or "").split(" ")[0] or None,
        birth_date=patient.get("birthDate"),
        sex=patient.get("gender"),
        birth_place=_birth_place(patient),
    )


def differing_traits(left: Traits, right: Traits) -> list[str]:
    """The names of the traits in which two persons differ (PAT-8), never their values.

    A required trait that one side lacks differs; the list of names and the birth place count only where both know
    them, and a list agrees with one that goes on after it.
    """
    return [each.name for each in fields(Traits) if _differ(each.name, left, right)]


def normal_name(text: str) -> str:
    """A name as it is compared: capitals, no accent, hyphens, apostrophes and other marks as one blank."""
    spelt = text.upper().replace("Œ", "OE").replace("Æ", "AE")
    letters = (each for each in unicodedata.normalize("NFD", spelt) if not unicodedata.combining(each))
    return " ".join("".join(each if each.isalnum() else " " for each in letters).split())


def _differ(name: str, left: Traits, right: Traits) -> bool:
    one, other = getattr(left, name), getattr(right, name)
    if one is None or other is None:
        return name in _REQUIRED
    first, second = _comparable(name, str(one)), _comparable(name, str(other))
    return not (begins_with(first, second) or begins_with(second, first)) if name == "given_names" else first != second


def begins_with(names: str, first: str) -> bool:
    """Whether a list of names begins with another, word by word, compared as PAT-8 compares."""
    return f"{normal_name(names)} ".startswith(f"{normal_name(first)} ")


def _comparable(name: str, value: str) -> str:
    if name == "birth_date":
        return value
    # The national register knows man, woman and not determined: R4 has two codes for the last.
    return "UNKNOWN" if name == "sex" and value == "other" else normal_name(value)


def _birth_place(patient: Mapping[str, Any]) -> str | None:
    for place in _extensions(patient, BIRTH_PLACE):
        for insee in _extensions(place.get("valueAddress", {}), INSEE_CODE):
            code: str | None = insee.get("valueCoding", {}).get("code")
            return code
    return None


def _extensions(element: Mapping[str, Any], url: str) -> list[dict[str, Any]]:
    return [each for each in element.get("extension", ()) if each.get("url") == url]
