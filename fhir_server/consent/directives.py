"""A Consent read as one directive of the closed set D01 to D10, or refused with every reason (spec access §3.4).

Nothing in a directive may be without effect: an element the shape does not have is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.consent.keys import link_of
from fhir_server.consent.periods import ALWAYS, Span
from fhir_server.consent.provision import PROVISION, ProvisionReading
from fhir_server.consent.shapes import CATEGORY, POLICY, SCOPE, SHAPES, Label, Shape
from fhir_server.errors import Invalid, Issue
from fhir_server.search.facts import Facts

_SERVER_SET: Final = frozenset({"id", "meta", "dateTime", "organization"})
_STATED: Final = frozenset({"scope", "category", "patient", "performer", "sourceAttachment", "policy"})
_ENVELOPE: Final = _SERVER_SET | _STATED | {"resourceType", "status", "provision"}
_SOURCE: Final = frozenset({"contentType", "language", "url", "size", "hash", "title", "creation"})


@dataclass(frozen=True, slots=True)
class Directive:
    """One will of the patient. `id`: D01 to D10; `consent`: the id of the Consent, "" before it has one.

    `actor`: a key (`rpps:…`, `org:…`, `client:…`, `country:…`), None for everyone; `team`, `instance`: "Type/id";
    `label`: what it selects, None for all; `except_label`: what a grant leaves out; `purpose`: the emergency mode it
    opposes, or TREAT, PATRQT; `period`: when it holds; `data_period`: which data it selects, by their own time.
    """

    id: str
    active: bool
    patient: str
    performer: str
    consent: str = ""
    actor: str | None = None
    team: str | None = None
    instance: str | None = None
    label: Label | None = None
    except_label: Label | None = None
    purpose: str = ""
    period: Span = ALWAYS
    data_period: Span = ALWAYS

    @property
    def link(self) -> str:
        """The Consent that says so."""
        return f"Consent/{self.consent}"

    def live(self, now: int) -> bool:
        """Whether it has effect at that time."""
        return self.active and self.period.holds(now)


def parse_directive(consent: Mapping[str, Any]) -> Directive:
    """The directive that a Consent is; raises Invalid with all its faults, each with the place."""
    reading = _Reading()
    found = reading.consent(consent)
    if reading.issues or found is None:
        raise Invalid(issues=reading.issues)
    return found


def check_update(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise Invalid, naming each place, unless only the status (to inactive) and the period differ."""
    issues = []
    if after.get("status") not in (before.get("status"), "inactive"):
        issues.append(Issue("business-rule", "A directive that has ended stays ended.", "Consent.status"))
    for name in sorted(_STATED):
        if before.get(name) != after.get(name):
            issues.append(Issue("business-rule", "This cannot change; end this directive.", f"Consent.{name}"))
    one, other = before.get("provision", {}), after.get("provision", {})
    for name in sorted((set(one) | set(other)) - {"period"}):
        if one.get(name) != other.get(name):
            issues.append(Issue("business-rule", "This cannot change; end this directive.", f"{PROVISION}.{name}"))
    if issues:
        raise Invalid(issues=issues)


def check_target(directive: Directive, target: str, facts: Facts | None) -> None:
    """Raise Invalid unless what the directive names is in this patient's record, as far as its writer sees.

    `facts`: of the resource `target` ("Type/id") as the writer sees it, None when they do not. Another patient's
    resource reads as unknown.
    """
    if facts and facts.kind == "record" and facts.patient == directive.patient:
        return
    place = "data[0].reference" if target == directive.instance else "actor[0].reference"
    raise Invalid(issues=[Issue("not-found", "This resource is not known.", f"{PROVISION}.{place}")])


def check_performer(directive: Directive, writer: Actor) -> None:
    """Raise Invalid unless a new directive is given in the name of the one who writes it (I17, REC-81)."""
    if directive.performer != writer.reference:
        text = "A directive is given by the patient or representative who writes it."
        raise Invalid(issues=[Issue("business-rule", text, "Consent.performer[0]")])


class _Reading(ProvisionReading):
    """One pass over a Consent."""

    def consent(self, consent: Mapping[str, Any]) -> Directive | None:
        """The directive; None when there is not enough to make one."""
        self.only(consent, _ENVELOPE, "Consent")
        status = consent.get("status")
        if status not in ("active", "inactive"):
            self.fault("Consent.status", "A directive is active or inactive.")
        self.coded(consent.get("scope"), SCOPE, "Consent.scope")
        category = consent.get("category")
        if not isinstance(category, list) or len(category) != 1:
            self.fault("Consent.category", "One category is expected.")
        else:
            self.coded(category[0], CATEGORY, "Consent.category[0]")
        patient = self._patient(consent.get("patient"))
        performer = self._performer(consent.get("performer"), patient)
        self._source(consent)
        shape = self._shape(consent.get("policy"))
        provision = consent.get("provision")
        if not isinstance(provision, Mapping):
            self.fault(PROVISION, "A provision is expected.", "required")
            return None
        if shape is None:
            return None
        parts = self.provision(shape, provision)
        identity = str(consent.get("id", ""))
        return Directive(shape.id, status == "active", patient, performer, identity, **parts)

    def _patient(self, value: Any) -> str:
        link = link_of(value.get("reference")) if isinstance(value, Mapping) else None
        if link is None or not link.startswith("Patient/") or set(value) - {"reference", "display"}:
            self.fault("Consent.patient", "A Patient of this server is expected.")
            return ""
        return link.partition("/")[2]

    def _performer(self, value: Any, patient: str) -> str:
        performer, place = self.one(value, "Consent.performer")
        if performer is None:
            return ""
        link = link_of(performer.get("reference")) or ""
        known = link == f"Patient/{patient}" or link.startswith("RelatedPerson/")
        if not known or set(performer) - {"reference", "display"}:
            self.fault(place, "A directive is given by the patient or a representative.")
        return link

    def _source(self, consent: Mapping[str, Any]) -> None:
        source = consent.get("sourceAttachment")
        if not isinstance(source, Mapping) or not source:
            self.fault("Consent.source", "A directive says where it was given.", "required")
        else:
            self.only(source, _SOURCE, "Consent.sourceAttachment")

    def _shape(self, value: Any) -> Shape | None:
        policy, place = self.one(value, "Consent.policy")
        if policy is None:
            return None
        self.only(policy, frozenset({"uri"}), place)
        uri = str(policy.get("uri", ""))
        shape = SHAPES.get(uri.removeprefix(POLICY)) if uri.startswith(POLICY) else None
        if shape is None:
            self.fault(f"{place}.uri", "This is not a policy of this server.")
        return shape
