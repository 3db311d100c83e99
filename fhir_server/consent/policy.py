"""The policy of one record: all that decides who may see it, read from one snapshot (spec access §3, §5)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from fhir_server.consent.directives import Directive, parse_directive
from fhir_server.consent.keys import keys_of
from fhir_server.consent.periods import ALWAYS, Span, birthday, span
from fhir_server.errors import Invalid
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Eq, Predicate, conj, one_of
from fhir_server.storage.interface import Snapshot, Version

AGE_OF_MAJORITY: Final = 18
SOURCES: Final = ("CareTeam", "Consent", "Patient", "RelatedPerson")
_PAGE: Final = 500

# Who may stand for a patient: parents, and whom the law or the patient has put in that place (record REC-100, REC-109).
# Codes of v3-RoleCode and v3-RoleClass, which the French tables TRE_R216 and TRE_R260 take over.
_RELATIONS: Final = frozenset(
    {
        "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
        "http://terminology.hl7.org/CodeSystem/v3-RoleClass",
        "https://mos.esante.gouv.fr/NOS/TRE_R216-HL7RoleCode/FHIR/TRE-R216-HL7RoleCode",
        "https://mos.esante.gouv.fr/NOS/TRE_R260-HL7RoleClass/FHIR/TRE-R260-HL7RoleClass",
    }
)
_REPRESENTATIVES: Final = frozenset(
    {"PRN", "FTH", "MTH", "NPRN", "NFTH", "NMTH", "ADOPTP", "ADOPTF", "ADOPTM"}
    | {"GUARD", "RESPRSN", "GUADLTM", "POWATT", "DPOWATT", "HPOWATT", "SPOWATT"}
)


@dataclass(frozen=True, slots=True)
class Member:
    """One participation in a care team."""

    keys: frozenset[str]
    period: Span


@dataclass(frozen=True, slots=True)
class Team:
    """An active CareTeam. `link`: "CareTeam/id"."""

    link: str
    period: Span
    members: tuple[Member, ...]

    def holds(self, keys: frozenset[str], now: int) -> bool:
        """Whether one of these keys takes part in it now."""
        return self.period.holds(now) and any(
            member.period.holds(now) and not member.keys.isdisjoint(keys) for member in self.members
        )


@dataclass(frozen=True, slots=True)
class RecordPolicy:
    """One patient's policy at one policy version.

    `exists`: the Patient is here; `open`: and was not closed by the account service; `readable`: all its directives
    could be read (one that cannot closes the record to everyone but those who can mend it).
    `lineages`: of each D07 the lineage that it masks, by the instance it names.
    """

    patient: str
    version: int = 0
    exists: bool = False
    open: bool = True
    readable: bool = True
    directives: tuple[Directive, ...] = ()
    lineages: Mapping[str, str] | None = None
    teams: tuple[Team, ...] = ()
    practitioners: frozenset[str] = frozenset()
    representatives: Mapping[str, Span] | None = None

    @property
    def closed(self) -> bool:
        """Whether the record answers as if there were none (D01, or closed by the account service)."""
        return not self.exists or not self.open or bool(self.closing)

    @property
    def closing(self) -> frozenset[str]:
        """The ids of the Consents that close it."""
        return frozenset(each.consent for each in self.directives if each.id == "D01" and each.active)

    def live(self, now: int, *ids: str) -> tuple[Directive, ...]:
        """The directives of those kinds that have effect now."""
        return tuple(each for each in self.directives if each.id in ids and each.live(now))

    def lineage(self, directive: Directive) -> str:
        """What a D07 masks: the whole chain of replacements that the named resource belongs to."""
        instance = directive.instance or ""
        return (self.lineages or {}).get(instance, instance)

    def edges(self) -> Iterator[int]:
        """Every moment at which something of it begins or ends; between two of them it says the same."""
        spans = [each.period for each in self.directives]
        spans += [span for team in self.teams for span in (team.period, *(each.period for each in team.members))]
        spans += (self.representatives or {}).values()
        return (edge for span in spans for edge in span if edge is not None)

    def represents(self, reference: str, now: int) -> bool:
        """Whether that RelatedPerson is a live representative."""
        period = (self.representatives or {}).get(reference)
        return period is not None and period.holds(now)


async def load_policy(snapshot: Snapshot, patient: str, *, base: str = "") -> RecordPolicy:
    """The policy of a record as of that snapshot; of an unknown patient one that is closed.

    `base`: the FHIR base url of this server, which references may be written with.
    """
    found: dict[str, list[Version]] = {name: [] for name in SOURCES}
    for version in await _sources(snapshot, patient):
        found[version.type].append(version)
    policy = RecordPolicy(patient, await snapshot.policy_version(patient))
    if not found["Patient"]:
        return policy
    person = orjson.loads(found["Patient"][0].body)
    directives, readable = _directives(found["Consent"])
    return replace(
        policy,
        exists=True,
        open=person.get("active") is not False,
        readable=readable,
        directives=directives,
        lineages=await _lineages(snapshot, patient, directives),
        teams=_teams((orjson.loads(each.body) for each in found["CareTeam"]), base),
        practitioners=_practitioners(person, base),
        representatives=_representatives(person, (orjson.loads(each.body) for each in found["RelatedPerson"])),
    )


def team_of(resource: Mapping[str, Any], id: str, *, base: str) -> Team:
    """The CareTeam with that id, whatever its status. `base`: the FHIR base url of this server."""
    members = tuple(
        Member(keys_of(each.get("member"), base), _period(each)) for each in resource.get("participant", ())
    )
    return Team(f"CareTeam/{id}", _period(resource), members)


class PolicyCache:
    """Policies by patient and policy version, the least used forgotten; decisions and results are never kept."""

    def __init__(self, size: int = 4096) -> None:
        """`size`: how many policies at the most."""
        self._size = size
        self._known: OrderedDict[tuple[str, int], RecordPolicy] = OrderedDict()

    async def policy(self, snapshot: Snapshot, patient: str, *, base: str = "") -> RecordPolicy:
        """The policy as of that snapshot, read again whenever its version has moved."""
        key = (patient, await snapshot.policy_version(patient))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = await load_policy(snapshot, patient, base=base)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known


async def _sources(snapshot: Snapshot, patient: str) -> list[Version]:
    """Every resource of the record that its policy is made of."""
    visible = conj(Eq("kind", "record"), Eq("patient", patient), one_of("rtype", SOURCES))
    plan = Plan(types=SOURCES, patients=(patient,), limit=_PAGE)
    found: list[Version] = []
    while True:
        page = await snapshot.search(plan, visible=visible)
        found += page
        if len(page) < _PAGE:
            return found
        plan = replace(plan, after=((), page[-1].position))


def _directives(versions: Iterable[Version]) -> tuple[tuple[Directive, ...], bool]:
    found, readable = [], True
    for version in versions:
        try:
            found.append(replace(parse_directive(orjson.loads(version.body)), consent=version.id))
        except Invalid:
            readable = False
    return tuple(found), readable


async def _lineages(snapshot: Snapshot, patient: str, directives: Iterable[Directive]) -> dict[str, str]:
    """The lineage of each named instance, deleted ones included: a replacement may have outlived it."""
    found = {}
    for instance in {each.instance for each in directives if each.instance}:
        type_, _, id_ = instance.partition("/")
        visible: Predicate = conj(Eq("kind", "record"), Eq("patient", patient), Eq("rtype", type_), Eq("id", id_))
        version = await snapshot.read(type_, id_, visible=visible)
        found[instance] = version.facts.lineage if version else instance
    return found


def _teams(resources: Iterable[Mapping[str, Any]], base: str) -> tuple[Team, ...]:
    return tuple(team_of(each, each["id"], base=base) for each in resources if each.get("status") == "active")


def _practitioners(person: Mapping[str, Any], base: str) -> frozenset[str]:
    """The keys of the médecin traitant: a person, never all the staff of an organisation."""
    keys = (key for each in person.get("generalPractitioner", ()) for key in keys_of(each, base))
    return frozenset(key for key in keys if key.startswith(("rpps:", "Practitioner/", "PractitionerRole/")))


def _representatives(person: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> dict[str, Span]:
    """Who stands for the patient, and when. A death ends it (record REC-14)."""
    if person.get("deceasedBoolean") or person.get("deceasedDateTime"):
        return {}
    majority = birthday(person["birthDate"], AGE_OF_MAJORITY) if "birthDate" in person else None
    return {
        f"RelatedPerson/{each['id']}": _representation(each, majority)
        for each in resources
        if each.get("active") is not False and not _REPRESENTATIVES.isdisjoint(_relationships(each))
    }


def _representation(resource: Mapping[str, Any], majority: int | None) -> Span:
    """Until majority, unless it began after it (guardianship of an adult). Without a birth date, only a period that
    says when it ends is believed."""
    period = _period(resource)
    if majority is None:
        return period if period.high is not None else Span(0, 0)
    if period.low is not None and period.low >= majority:
        return period
    return Span(period.low, majority if period.high is None else min(period.high, majority))


def _relationships(resource: Mapping[str, Any]) -> set[str]:
    codings = (coding for each in resource.get("relationship", ()) for coding in each.get("coding", ()))
    return {str(coding.get("code")) for coding in codings if coding.get("system") in _RELATIONS}


def _period(resource: Mapping[str, Any]) -> Span:
    return span(resource["period"]) if "period" in resource else ALWAYS
