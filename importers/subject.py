"""Who a document is about, from the metadata it came with: for what says nothing of it itself (a PDF, an image).

Source: IHE ITI TF-3 §4.2.3.2 (patientId, sourcePatientInfo), HL7 v2.5 §3.4.2 (PID), importers-tables §6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fhir_server.fhir import identity as identities
from fhir_server.fhir.identity import traits_of
from importers import hl7v2
from importers.cda.datatypes import Key, urn
from importers.cda.patient import PatientIdentity
from importers.coded import cx
from importers.metadata import DocumentEntry
from importers.tables import table

_GENDERS: Final = {"M": "male", "F": "female", "O": "other", "A": "other", "U": "unknown"}
_COMMUNES: Final = "1.2.250.1.213.2.23"


def identity_of(entry: DocumentEntry) -> PatientIdentity:
    """The identity that the metadata give: the INS of patientId or sourcePatientId, the traits of sourcePatientInfo."""
    given = [each for each in (entry.patient_id, entry.source_patient_id) if each and each.authority]
    keys = [Key(system, each.value) for each in given if (system := urn(each.authority or ""))]
    keys = list(dict.fromkeys(keys))
    ins = tuple(each for each in keys if each.system in identities.INS_SYSTEMS)
    patient = _patient(keys, entry.source_patient_info)
    return PatientIdentity(patient, ins, tuple(each for each in keys if each not in ins), traits_of(patient), None)


def source_patient_info(patient: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of sourcePatientInfo that `identity_of` reads back: INS, birth name and date, sex, commune."""
    traits = traits_of(patient)
    ins = next((each for each in patient.get("identifier", ()) if each.get("system") in identities.INS_SYSTEMS), None)
    sex = next((code for code, gender in _GENDERS.items() if gender == traits.sex), "")
    name = hl7v2.joined([traits.birth_family, traits.first_given, traits.given_names, "", "", "", "L"])
    known = cx(ins, "NH") if ins else None
    found = {
        "PID-3": hl7v2.write_identifier(known) if known else "",
        "PID-5": name if traits.birth_family else "",
        "PID-7": (traits.birth_date or "").replace("-", ""),
        "PID-8": sex,
        "PID-11": hl7v2.joined([*[""] * 6, "BDL", "", traits.birth_place]) if traits.birth_place else "",
    }
    return tuple(f"{name}|{value}" for name, value in found.items() if value)


def _patient(keys: Iterable[Key], written: Iterable[str]) -> dict[str, Any]:
    fields: dict[str, list[str]] = {}
    for each in written:
        name, bar, value = each.partition("|")
        if bar:
            fields.setdefault(name.strip(), []).extend(value.split("~"))
    born = _first(fields.get("PID-7"))[:8]
    found = {
        "extension": [place] if (place := _birth_place(fields.get("PID-11", ()))) else [],
        "identifier": [identities.patient_identifier(*each) for each in keys],
        "name": [official] if (official := _name(fields.get("PID-5", ()))) else [],
        "gender": _GENDERS.get(_first(fields.get("PID-8")).upper()),
        "birthDate": f"{born[:4]}-{born[4:6]}-{born[6:]}" if len(born) == 8 and born.isdecimal() else None,
    }
    return {"resourceType": "Patient", **{each: value for each, value in found.items() if value}}


def _name(written: Iterable[str]) -> dict[str, Any] | None:
    """The birth name: the legal one (type L) where there are several."""
    names = [[part or "" for part in hl7v2.components(each)[:7]] for each in written if each.strip("^ ")]
    if not names:
        return None
    family, first, listed, *_ = next((each for each in names if each[6].upper() == "L"), names[0])
    given = {"given": [first]} if first else {}
    if not listed:
        return {"use": "official", "family": family, **given}
    # The third component holds the further names (HL7), or all of them (French senders).
    whole = listed if identities.begins_with(listed, first) else f"{first} {listed}".strip()
    return {
        "extension": [{"url": identities.BIRTH_GIVEN_NAMES, "valueString": whole}],
        "use": "official",
        "family": family,
        **given,
    }


def _birth_place(written: Iterable[str]) -> dict[str, Any] | None:
    """The commune of birth: the address of type BDL, whose ninth component is its code."""
    for each in written:
        parts = hl7v2.components(each)
        if (parts[6] or "").upper() == "BDL" and parts[8]:
            coding = {"system": table("code_systems")["uris"][_COMMUNES], "code": parts[8]}
            address = {"extension": [{"url": identities.INSEE_CODE, "valueCoding": coding}]}
            return {"url": identities.BIRTH_PLACE, "valueAddress": address}
    return None


def _first(values: list[str] | None) -> str:
    return values[0].strip() if values else ""
