"""Visibility and sensitivity as a depositor states them in security labels, in any of their spellings (COD-7 to COD-9).

What is stated is input to the decision, never authority: it can hide a resource, never show one that is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from fhir_server.consent.categories import SENSITIVITIES
from fhir_server.errors import Invalid, Issue
from fhir_server.search.facts import (
    INVISIBLE_PATIENT,
    INVISIBLE_REPRESENTANTS_LEGAUX,
    MASQUE_PS,
    MASQUE_PSOCIAL,
    MASQUE_PT,
)

TRE_A07: Final = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

BITS: Final[Mapping[str, int]] = {
    "MASQUE_PS": MASQUE_PS,
    "INVISIBLE_PATIENT": INVISIBLE_PATIENT,
    "INVISIBLE_REPRESENTANTS_LEGAUX": INVISIBLE_REPRESENTANTS_LEGAUX,
    "MASQUE_PSOCIAL": MASQUE_PSOCIAL,
    "MASQUE_PT": MASQUE_PT,
}
MASKS: Final = MASQUE_PS | MASQUE_PSOCIAL | MASQUE_PT

_LEVELS: Final = frozenset({"U", "L", "M", "N", "R", "V"})
_SPELLINGS: Final = {
    TRE_A07: TRE_A07,
    "https://mos.esante.gouv.fr/NOS/TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument": TRE_A07,
    "1.2.250.1.213.1.1.4.13": TRE_A07,
    "urn:oid:1.2.250.1.213.1.1.4.13": TRE_A07,
    CONFIDENTIALITY: CONFIDENTIALITY,
    "2.16.840.1.113883.5.25": CONFIDENTIALITY,
    "urn:oid:2.16.840.1.113883.5.25": CONFIDENTIALITY,
}


class Stated(NamedTuple):
    """What the labels of a resource state: visibility bits, and sensitivity labels."""

    vis: int
    labels: frozenset[str]


def stated(resource: Mapping[str, Any]) -> Stated:
    """The labels of a resource. Raises Invalid naming each that is of these systems but unknown (COD-8), and a
    visibility under a system that is none of theirs."""
    vis, labels, issues = 0, set(), []
    for place, coding in _codings(resource):
        system, code = _normal(coding)
        if system == TRE_A07 and code in BITS:
            vis |= BITS[code]
        elif system == ACT_CODE and code in SENSITIVITIES:
            labels.add(code)
        elif not _known(system, code):
            issues.append(Issue("code-invalid", "This is not a known visibility or confidentiality.", place))
    if issues:
        raise Invalid(issues=issues)
    return Stated(vis, frozenset(labels))


def canonical_labels(resource: Mapping[str, Any], vis: int = 0) -> dict[str, Any]:
    """The members of a resource that change when its labels are spelt as they should be (COD-9), with those of the bits
    `vis` that it does not state added: what a replacement takes over is said in it. Empty when nothing changes."""
    changes: dict[str, Any] = {}
    meta = resource.get("meta")
    if isinstance(meta, Mapping) and isinstance(meta.get("security"), list):
        security = [_respelt(coding) for coding in meta["security"]]
        if security != meta["security"]:
            changes["meta"] = {**meta, "security": security}
    unstated = vis & ~stated(resource).vis if vis else 0
    missing = [name for name, bit in BITS.items() if bit & unstated]
    if resource.get("resourceType") == "DocumentReference":
        before = resource.get("securityLabel", [])
        concepts = [
            {**each, "coding": [_respelt(coding) for coding in each["coding"]]} if "coding" in each else each
            for each in before
        ]
        concepts += [{"coding": [{"system": TRE_A07, "code": name}]} for name in missing]
        if concepts != before:
            changes["securityLabel"] = concepts
    elif missing:
        security = [*changes.get("meta", meta or {}).get("security", ())]
        security += [{"system": TRE_A07, "code": name} for name in missing]
        changes["meta"] = {**(meta or {}), "security": security}
    return changes


def other_labels(resource: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The labels of a resource that are no visibility, as (system, code) in order of their spelling."""
    found = (_normal(coding) for _, coding in _codings(resource))
    return sorted((system, code) for system, code in found if system != TRE_A07)


def label_place(type: str) -> str:
    """Where a resource of that type states its visibility, as a FHIRPath."""
    return f"{type}.securityLabel" if type == "DocumentReference" else f"{type}.meta.security"


def _known(system: str, code: str) -> bool:
    """Whether a label that hides nothing may pass: a level of confidentiality, or a system not ours to judge."""
    if system in (TRE_A07, CONFIDENTIALITY):
        return system == CONFIDENTIALITY and code in _LEVELS
    return code not in BITS


def _normal(coding: Mapping[str, Any]) -> tuple[str, str]:
    system, code = str(coding.get("system", "")), str(coding.get("code", ""))
    system = _SPELLINGS.get(system, system)
    return (CONFIDENTIALITY if system == TRE_A07 and code in _LEVELS else system), code


def _respelt(coding: dict[str, Any]) -> dict[str, Any]:
    system, _ = _normal(coding)
    return coding if system == coding.get("system", "") else {**coding, "system": system}


def _codings(resource: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    type_ = resource.get("resourceType")
    for place, coding in enumerate(resource.get("meta", {}).get("security", ())):
        yield f"{type_}.meta.security[{place}]", coding
    if type_ == "DocumentReference":
        for outer, concept in enumerate(resource.get("securityLabel", ())):
            for inner, coding in enumerate(concept.get("coding", ())):
                yield f"{type_}.securityLabel[{outer}].coding[{inner}]", coding
