"""Security labels of a document: the union of what the document and the envelope say, never less than that.

Sources: JDV_J08-XdsConfidentialityCode-CISIS (systems v3-Confidentiality and TRE_A07), COD-7 and COD-9.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from lxml import etree

from importers.cda.datatypes import present, system_of
from importers.cda.elements import attribute
from importers.issues import Notes

CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
VISIBILITY: Final = (
    "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
)
MOST_RESTRICTIVE: Final = ("MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX")

_DEGREES: Final = frozenset("ULMNRV")
_ALIASES: Final = {"INVISIBLE_REP_LEGAUX": "INVISIBLE_REPRESENTANTS_LEGAUX"}
KNOWN: Final = frozenset({*_DEGREES, *MOST_RESTRICTIVE, *_ALIASES})
"""What may be said beside a document."""


def security_labels(
    confidentiality: Iterable[etree._Element], visibility: Iterable[str], notes: Notes
) -> list[dict[str, Any]]:
    """The CodeableConcepts of `securityLabel`.

    A code that is neither a degree of confidentiality nor a visibility brings all three visibilities that hide a
    document, since an unknown one must not be read as visible; a label of another code system stays beside them.
    """
    found: list[dict[str, Any]] = []
    for element in confidentiality:
        found += _labels_of(element, notes)
    for code in visibility:
        found += _labels(code, None, notes)
    if not found:
        notes.add("no-confidentiality")
        found = _labels("N", None, notes)
    return [{"coding": [each]} for each in present(found)]


def _labels_of(element: etree._Element, notes: Notes) -> list[dict[str, Any]]:
    code, oid = attribute(element, "code"), attribute(element, "codeSystem")
    if code is None:
        return []
    system = system_of(oid, element, notes) if oid else None
    if oid and system not in (CONFIDENTIALITY, VISIBILITY):
        foreign = [{"system": system, "code": code}] if system else []
        return [*_unknown(element, notes), *foreign]
    return _labels(code, element, notes)


def _labels(code: str, element: etree._Element | None, notes: Notes) -> list[dict[str, Any]]:
    code = _ALIASES.get(code, code)
    if code in _DEGREES:
        return [{"system": CONFIDENTIALITY, "code": code}]
    if code in MOST_RESTRICTIVE:
        return [{"system": VISIBILITY, "code": code}]
    return _unknown(element, notes)


def _unknown(element: etree._Element | None, notes: Notes) -> list[dict[str, Any]]:
    notes.add("unknown-visibility", element)
    return [{"system": VISIBILITY, "code": code} for code in MOST_RESTRICTIVE]
