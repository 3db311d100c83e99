"""The closed set of directives D01 to D10: which elements each has, and which codes it may use (spec access §3.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fhir_server.consent.keys import CLIENT, COUNTRY
from fhir_server.fhir.identity import FINESS, RPPS
from fhir_server.settings import CANONICAL_BASE

POLICY: Final = f"{CANONICAL_BASE}/policy/"
ACCESS_MODE: Final = f"{CANONICAL_BASE}/CodeSystem/access-mode"
MES_CATEGORY: Final = f"{CANONICAL_BASE}/CodeSystem/mes-category"
ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
SCOPE: Final = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
CATEGORY: Final = ("http://loinc.org", "59284-0")
RECIPIENT: Final = ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")

# How an actor is named: system to the kind of key, and the form of its value.
ACTORS: Final = {
    RPPS: ("rpps", re.compile(r"[0-9]{11}")),
    FINESS: ("org", re.compile(r"[0-9]{2}[0-9]{7}|2[AB][0-9]{7}")),
    CLIENT: ("client", re.compile(r"\S{1,100}")),
    COUNTRY: ("country", re.compile(r"[A-Z]{2}")),
}

_TREATMENT: Final = {(ACT_REASON, "TREAT"): "TREAT"}
_PATIENT_REQUEST: Final = {(ACT_REASON, "PATRQT"): "PATRQT"}
_EMERGENCY: Final = {(ACT_REASON, "BTG"): "bris_de_glace", (ACCESS_MODE, "centre_15"): "centre_15"}
_ANYONE: Final = frozenset({"rpps", "org", "country"})


class Label(NamedTuple):
    """What a category or a sensitivity selects: the fact (facts.SINGLE or MULTI) and its value."""

    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of directive. `required`, `optional`: elements of `provision` besides its type; `actors`: the kinds of
    key its actor may be; `purposes`: coding to what it means."""

    id: str
    type: str
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    actors: frozenset[str] = frozenset()
    purposes: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def elements(self) -> frozenset[str]:
        """Every element its provision may have."""
        return self.required | self.optional | {"type"}


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


SHAPES: Final[Mapping[str, Shape]] = {
    "opposition": Shape("D01", "deny"),
    "no-emergency": Shape("D02", "deny", _set("purpose"), purposes=_EMERGENCY),
    "block": Shape("D03", "deny", _set("actor"), _set("period"), _ANYONE),
    "care-team": Shape("D04", "permit", _set("actor"), _set("period"), _set("team")),
    "grant": Shape(
        "D05", "permit", _set("purpose", "actor", "period"), _set("provision"), _set("rpps", "org"), _TREATMENT
    ),
    "mt-rights": Shape("D06", "permit", _set("actor"), _set("period"), _set("rpps")),
    "mask": Shape("D07", "deny", _set("data"), _set("actor"), _ANYONE),
    "hide": Shape("D08", "deny", _set("securityLabel"), _set("actor", "dataPeriod"), _ANYONE),
    "app-share": Shape(
        "D09", "permit", _set("purpose", "actor"), _set("securityLabel", "period"), _set("client"), _PATIENT_REQUEST
    ),
    "cross-border": Shape("D10", "permit", _set("purpose", "actor"), _set("period"), _set("country"), _TREATMENT),
}
