"""Statements that say there is nothing, or that nothing is known: the IPS codes absent and unknown.

Source: https://hl7.org/fhir/uv/ips/CodeSystem-absent-unknown-uv-ips.html, importers page §6 rule 9.
"""

from __future__ import annotations

import re
from enum import StrEnum

from lxml import etree

from importers.cda.elements import attribute

_SYSTEMS = frozenset(("2.16.840.1.113883.5.1150.1", "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"))
_NONE = re.compile(r"no-known-[a-z]+(?:-[a-z]+)*").fullmatch
_NO_WORD = re.compile(r"no-[a-z]+-info").fullmatch


class Absence(StrEnum):
    """`NONE`: there is none, and the record shall say so. `UNKNOWN`: nothing is known, so that nothing is recorded."""

    NONE = "none"
    UNKNOWN = "unknown"


def absence_in(element: etree._Element | None) -> Absence | None:
    """What a CD of the IPS code system says is absent; None for any other code."""
    code = attribute(element, "code") or ""
    if not code.startswith("no-") or attribute(element, "codeSystem") not in _SYSTEMS:
        return None
    if _NONE(code):
        return Absence.NONE
    return Absence.UNKNOWN if _NO_WORD(code) else None
