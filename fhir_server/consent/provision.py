"""Reading the provision of a directive against its shape, noting every fault with its place (spec access §3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fhir_server.consent.categories import SENSITIVITIES, tables
from fhir_server.consent.keys import link_of
from fhir_server.consent.labels import ACT_CODE
from fhir_server.consent.periods import ALWAYS, Span, span
from fhir_server.consent.shapes import ACTORS, MES_CATEGORY, RECIPIENT, Label, Shape
from fhir_server.errors import Issue

PROVISION: Final = "Consent.provision"
_CODING: Final = frozenset({"system", "code", "display"})
_REFERENCE: Final = frozenset({"reference", "identifier", "display"})


class Reading:
    """One pass over parsed JSON that notes every fault and goes on."""

    def __init__(self) -> None:
        """Without faults so far."""
        self.issues: list[Issue] = []

    def only(self, value: Mapping[str, Any], names: Iterable[str], place: str) -> None:
        """No element but these."""
        for name in sorted(set(value) - set(names)):
            self.fault(f"{place}.{name}", "A directive does not have this element.")

    def one(self, value: Any, place: str) -> tuple[Mapping[str, Any] | None, str]:
        """The only object of a list, and its place."""
        if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], Mapping):
            self.fault(place, "Exactly one is expected.")
            return None, place
        return value[0], f"{place}[0]"

    def coded(self, value: Any, wanted: tuple[str, str], place: str) -> None:
        """A CodeableConcept that says the wanted (system, code) and nothing else."""
        codings = value.get("coding") if isinstance(value, Mapping) and set(value) == {"coding"} else None
        coding = codings[0] if isinstance(codings, list) and len(codings) == 1 else None
        if not isinstance(coding, Mapping) or _pair(coding) != wanted or set(coding) - _CODING:
            self.fault(place, f"The code {wanted[1]} of its system is expected.")

    def fault(self, place: str, text: str, code: str = "business-rule") -> None:
        """Note that something is wrong at that place; `code` is of http://hl7.org/fhir/issue-type."""
        self.issues.append(Issue(code, text, place))


class ProvisionReading(Reading):
    """Reads `Consent.provision` into the parts of a Directive."""

    def provision(self, shape: Shape, provision: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the Directive that its provision fills."""
        if provision.get("type") != shape.type:
            self.fault(f"{PROVISION}.type", f"This directive is a {shape.type}.")
        self.only(provision, shape.elements, PROVISION)
        for name in sorted(shape.required - set(provision)):
            self.fault(f"{PROVISION}.{name}", "This directive needs it.", "required")
        parts: dict[str, Any] = {}
        for name, read in (
            ("actor", self._actor),
            ("purpose", self._purpose),
            ("data", self._data),
            ("securityLabel", self._label),
            ("period", self._period),
            ("dataPeriod", self._data_period),
            ("provision", self._exception),
        ):
            if name in provision and name in shape.elements:
                parts.update(read(shape, provision[name]))
        if shape.id == "D05" and "period" in provision:
            self._grant_period(parts)
        return parts

    def _actor(self, shape: Shape, value: Any) -> dict[str, Any]:
        actor, place = self.one(value, f"{PROVISION}.actor")
        if actor is None:
            return {}
        self.only(actor, frozenset({"role", "reference"}), place)
        self.coded(actor.get("role"), RECIPIENT, f"{place}.role")
        place += ".reference"
        reference = actor.get("reference")
        if not isinstance(reference, Mapping):
            self.fault(place, "An actor is named by a reference.", "required")
            return {}
        self.only(reference, _REFERENCE, place)
        return self._team(reference, place) if "team" in shape.actors else self._key(shape, reference, place)

    def _team(self, reference: Mapping[str, Any], place: str) -> dict[str, Any]:
        link = link_of(reference.get("reference")) or ""
        if not link.startswith("CareTeam/") or "identifier" in reference:
            self.fault(place, "A CareTeam of this server is expected.")
        return {"team": link}

    def _key(self, shape: Shape, reference: Mapping[str, Any], place: str) -> dict[str, Any]:
        identifier = reference.get("identifier")
        if not isinstance(identifier, Mapping) or "reference" in reference:
            self.fault(place, "An actor is named by its identifier.")
            return {}
        place += ".identifier"
        self.only(identifier, frozenset({"system", "value"}), place)
        kind, form = ACTORS.get(str(identifier.get("system")), ("", None))
        if form is None or kind not in shape.actors:
            self.fault(f"{place}.system", "This directive does not name actors by that system.")
            return {}
        value = str(identifier.get("value", ""))
        if not form.fullmatch(value):
            self.fault(f"{place}.value", "This is not an identifier of that system.")
        return {"actor": f"{kind}:{value}"}

    def _purpose(self, shape: Shape, value: Any) -> dict[str, Any]:
        coding, place = self.one(value, f"{PROVISION}.purpose")
        if coding is None:
            return {}
        self.only(coding, _CODING, place)
        meaning = shape.purposes.get(_pair(coding))
        if meaning is None:
            self.fault(place, "This directive does not have that purpose.")
        return {"purpose": meaning or ""}

    def _data(self, shape: Shape, value: Any) -> dict[str, Any]:
        data, place = self.one(value, f"{PROVISION}.data")
        if data is None:
            return {}
        self.only(data, frozenset({"meaning", "reference"}), place)
        if data.get("meaning") != "instance":
            self.fault(f"{place}.meaning", "Data is named as an instance.")
        reference = data.get("reference")
        link = link_of(reference.get("reference")) if isinstance(reference, Mapping) else None
        if not isinstance(reference, Mapping) or link is None or set(reference) - {"reference", "display"}:
            self.fault(f"{place}.reference", "A resource of this server is expected.")
        return {"instance": link}

    def _label(self, shape: Shape, value: Any) -> dict[str, Any]:
        label = self._one_label(value, f"{PROVISION}.securityLabel")
        if shape.id == "D09" and label == Label("class_code", "messages"):
            self.fault(f"{PROVISION}.securityLabel[0]", "Messages are not shared with applications.")
        return {"label": label}

    def _one_label(self, value: Any, place: str) -> Label | None:
        coding, place = self.one(value, place)
        if coding is None:
            return None
        self.only(coding, _CODING, place)
        system, code = _pair(coding)
        if system == MES_CATEGORY and code in tables().names:
            return Label("class_code", code)
        if system == ACT_CODE and code in SENSITIVITIES:
            return Label("labels", code)
        self.fault(place, "This is not a category of the record or a sensitivity.")
        return None

    def _exception(self, shape: Shape, value: Any) -> dict[str, Any]:
        nested, place = self.one(value, f"{PROVISION}.provision")
        if nested is None:
            return {}
        self.only(nested, frozenset({"type", "securityLabel"}), place)
        if nested.get("type") != "deny":
            self.fault(f"{place}.type", "Inside a grant only a deny is expected.")
        if "securityLabel" not in nested:
            self.fault(f"{place}.securityLabel", "This directive needs it.", "required")
            return {}
        return {"except_label": self._one_label(nested["securityLabel"], f"{place}.securityLabel")}

    def _period(self, shape: Shape, value: Any) -> dict[str, Any]:
        return {"period": self._span(value, f"{PROVISION}.period")}

    def _data_period(self, shape: Shape, value: Any) -> dict[str, Any]:
        return {"data_period": self._span(value, f"{PROVISION}.dataPeriod")}

    def _span(self, value: Any, place: str) -> Span:
        if not isinstance(value, Mapping) or not value:
            self.fault(place, "A period is expected.")
            return ALWAYS
        self.only(value, frozenset({"start", "end"}), place)
        try:
            found = span(value)
        except ValueError:
            self.fault(place, "The period is not made of FHIR dates.", "value")
            return ALWAYS
        if found.low is not None and found.high is not None and found.high <= found.low:
            self.fault(place, "The period ends before it begins.")
        return found

    def _grant_period(self, parts: Mapping[str, Any]) -> None:
        found: Span = parts.get("period", ALWAYS)
        if found.low is None:
            self.fault(f"{PROVISION}.period.start", "A grant says when it begins.", "required")
        if found.high is None and str(parts.get("actor")).startswith("org:"):
            self.fault(f"{PROVISION}.period.end", "A grant to an organisation says when it ends.", "required")


def _pair(coding: Mapping[str, Any]) -> tuple[str, str]:
    return str(coding.get("system", "")), str(coding.get("code", ""))
