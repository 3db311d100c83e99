"""Small random records, callers and policies, in a domain narrow enough for everything to meet everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from fhir_server.auth.actor import Actor
from fhir_server.consent.directives import Directive
from fhir_server.consent.matrix import Matrix, load_matrix
from fhir_server.consent.periods import ALWAYS, Span
from fhir_server.consent.policy import Member, RecordPolicy, Team
from fhir_server.consent.rules import Rules
from fhir_server.consent.shapes import Label
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds

NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000
PATIENTS = ("p1", "p2")
RPPS = ("rpps:10000000001", "rpps:10000000002")
ORGS = ("org:990000001", "org:990000002")
PROFESSIONS = ("10", "21", "60", "28", "95", "")
MODES = ("normal", "bris_de_glace", "centre_15", "made-up")
CLASSES = (None, "10", "11", "42", "60", "90", "measures")
TYPES = (None, "11488-4", "60591-5", "ATTEST-RESID", "68599-0", "57833-6", "made-up")
LABELS = ("PSY", "HIV")
LINEAGES = ("DocumentReference/d1", "DocumentReference/d2", "Observation/o1")
RECORD_TYPES = (
    "DocumentReference",
    "Observation",
    "Condition",
    "Patient",
    "RelatedPerson",
    "CareTeam",
    "Consent",
    "Communication",
    "Appointment",
    "Task",
    "Provenance",
    "Composition",
)
MATRIX: Matrix = load_matrix(NOW)
RULES = Rules(MATRIX)


@dataclass(frozen=True)
class Linked:
    """The rows of a world as `search.match.Refs`."""

    rows: tuple[Facts, ...]
    dead: frozenset[str] = frozenset()

    def targets(self, facts: Facts) -> Iterable[tuple[Facts, bool]]:
        """Each linked row and whether it lives."""
        by_link = {link(each): each for each in self.rows}
        return [(by_link[each], each not in self.dead) for each in sorted(facts.links) if each in by_link]

    def referrers(self, facts: Facts) -> Iterable[Facts]:
        """Every live row that links to this one."""
        return [each for each in self.rows if link(facts) in each.links and link(each) not in self.dead]


@dataclass(frozen=True)
class World:
    """One caller before records with their policies, at NOW."""

    actor: Actor
    policies: dict[str, RecordPolicy]
    rows: tuple[Facts, ...]
    dead: frozenset[str] = frozenset()

    @property
    def refs(self) -> Linked:
        """The links of its rows."""
        return Linked(self.rows, self.dead)

    def seen(self, rules: Rules = RULES, now: int = NOW) -> frozenset[str]:
        """The live rows that the compiled predicate shows."""
        predicate = rules.predicate(self.actor, self.policies, now)
        return frozenset(
            link(each)
            for each in self.rows
            if link(each) not in self.dead and holds(predicate, Row(each, Entries(), NOW), self.refs)
        )

    def records(self, seen: frozenset[str]) -> frozenset[str]:
        """Those of `seen` that are in a patient's record."""
        return frozenset(link(each) for each in self.rows if each.patient and link(each) in seen)

    def having(self, *directives: Directive) -> World:
        """The same, the first patient having said these too."""
        policy = self.policies["p1"]
        more = replace(policy, directives=(*policy.directives, *directives))
        return replace(self, policies={**self.policies, "p1": more})


def link(facts: Facts) -> str:
    """A row as "Type/id"."""
    return f"{facts.rtype}/{facts.id}"


spans = st.sampled_from(
    [
        ALWAYS,
        ALWAYS,
        ALWAYS,
        Span(None, NOW),
        Span(NOW, None),
        Span(NOW - 5, NOW + 5),
        Span(NOW + 1, None),
        Span(None, NOW + 1),
    ]
)
persons = st.sampled_from(RPPS)
named = st.sampled_from([*RPPS, *ORGS, "country:DE"])
anyone = st.one_of(st.none(), named)
labels = st.sampled_from(
    [Label("class_code", "11"), Label("class_code", "10"), Label("labels", "PSY"), Label("labels", "HIV")]
)
instances = st.sampled_from(LINEAGES)


def _directive(id: str, **parts: st.SearchStrategy[object]) -> st.SearchStrategy[Directive]:
    return st.builds(
        Directive,
        id=st.just(id),
        active=st.sampled_from([True, True, True, False]),
        patient=st.just("p1"),
        performer=st.just("Patient/p1"),
        consent=st.sampled_from(["c1", "c2"]),
        **{"period": spans, **parts},
    )


DENIES = st.one_of(
    _directive("D02", purpose=st.sampled_from(["bris_de_glace", "centre_15"])),
    _directive("D03", actor=named),
    _directive("D07", actor=anyone, instance=instances),
    _directive("D08", actor=anyone, label=labels, data_period=spans),
)
CLOSING = _directive("D01")
PERMITS = st.one_of(
    _directive("D04", team=st.sampled_from(["CareTeam/t1", "CareTeam/t2"])),
    _directive("D05", actor=st.sampled_from([*RPPS, *ORGS]), except_label=st.one_of(st.none(), labels)),
    _directive("D06", actor=persons),
    _directive("D09", actor=st.just("client:app"), label=st.one_of(st.none(), labels)),
    _directive("D10", actor=st.just("country:DE"), purpose=st.just("TREAT")),
)


@st.composite
def policies(draw: st.DrawFn, patient: str = "p1", closing: bool = True) -> RecordPolicy:
    """A record's policy; open and readable in most."""
    kinds = st.one_of(DENIES, PERMITS, PERMITS)
    directives = draw(st.lists(kinds, max_size=6))
    if closing and draw(st.integers(0, 9)) == 0:
        directives.append(draw(CLOSING))
    members = st.builds(
        Member, keys=st.frozensets(st.sampled_from([*RPPS, "PractitionerRole/r1"]), max_size=2), period=spans
    )
    teams = draw(
        st.lists(
            st.builds(
                Team,
                link=st.sampled_from(["CareTeam/t1", "CareTeam/t2"]),
                period=spans,
                members=st.lists(members, max_size=2).map(tuple),
            ),
            max_size=2,
        )
    )
    often = st.sampled_from([True, True, True, True, True, False])
    return RecordPolicy(
        patient=patient,
        version=1,
        exists=draw(often) if closing else True,
        open=draw(often) if closing else True,
        readable=draw(often) if closing else True,
        directives=tuple(replace(each, patient=patient) for each in directives),
        lineages={"DocumentReference/d2": "DocumentReference/d1"} if draw(st.booleans()) else {},
        teams=tuple(teams),
        practitioners=draw(st.frozensets(st.sampled_from([RPPS[0], "PractitionerRole/r1"]), max_size=1)),
        representatives={"RelatedPerson/r1": draw(spans)} if draw(st.booleans()) else {},
    )


professionals = st.builds(
    Actor,
    role=st.just("ps"),
    reference=st.just("Practitioner/x"),
    name=st.just("X"),
    jti=st.just("j"),
    keys=st.builds(
        lambda person, org, role: frozenset(
            {person, org, "Practitioner/x"} | ({"PractitionerRole/r1"} if role else set())
        ),
        persons,
        st.sampled_from(ORGS),
        st.booleans(),
    ),
    profession=st.sampled_from(PROFESSIONS),
    mode=st.sampled_from(MODES),
    patients=st.sampled_from([(), (), ("p1",), ("p2",)]),
)
holders = st.one_of(
    st.builds(
        Actor,
        role=st.just("patient"),
        reference=st.sampled_from(["Patient/p1", "Patient/p2"]),
        name=st.just("P"),
        jti=st.just("j"),
        patients=st.sampled_from([("p1",), ("p2",), ()]),
    ),
    st.builds(
        Actor,
        role=st.just("rep"),
        reference=st.sampled_from(["RelatedPerson/r1", "RelatedPerson/r2"]),
        name=st.just("R"),
        jti=st.just("j"),
        patients=st.sampled_from([("p1",), ("p1", "p2"), ()]),
    ),
)
applications = st.builds(
    Actor,
    role=st.just("app"),
    reference=st.just("Device/app"),
    name=st.just("A"),
    jti=st.just("j"),
    keys=st.just(frozenset({"client:app"})),
    patients=st.sampled_from([("p1",), ("p2",)]),
    authoriser=st.sampled_from(["patient", "rep", ""]),
    authoriser_key=st.sampled_from(["Patient/p1", "RelatedPerson/r1"]),
)
gateways = st.builds(
    Actor,
    role=st.just("ncp"),
    reference=st.just("Device/ncp"),
    name=st.just("N"),
    jti=st.just("j"),
    country=st.sampled_from(["DE", "IT", ""]),
    purpose=st.sampled_from(["TREAT", "TREAT", "ETREAT"]),
    mode=st.sampled_from(["normal", "normal", "bris_de_glace"]),
)
others = st.builds(
    Actor,
    role=st.sampled_from(["lgc", "admin", "anonymous", "", "PS"]),
    reference=st.just("Device/x"),
    name=st.just("O"),
    jti=st.just("j"),
    keys=st.just(frozenset({*RPPS, "client:app"})),
    patients=st.just(("p1",)),
)
actors = st.one_of(professionals, professionals, holders, applications, gateways, others)


@st.composite
def rows(draw: st.DrawFn) -> Facts:
    """One row of a record, or of nobody's."""
    rtype = draw(st.sampled_from([*RECORD_TYPES, *RECORD_TYPES, "Binary", "Practitioner"]))
    record = rtype not in ("Binary", "Practitioner")
    id = draw(st.sampled_from(["1", "2", "3", "c1", "c2"]))
    links = st.frozensets(
        st.sampled_from([f"{each}/{n}" for each in (*RECORD_TYPES, "Binary") for n in "123"]), max_size=2
    )
    participants = ["PractitionerRole/r1", RPPS[0], "Patient/p1"]
    return Facts(
        rtype=rtype,
        id=id,
        kind="public" if rtype == "Practitioner" else "record",
        patient=draw(st.sampled_from(["p1", "p1", "p2"])) if record else None,
        type_code=draw(st.sampled_from(TYPES)),
        class_code=draw(st.sampled_from(CLASSES)),
        vis=draw(st.sampled_from([0, 0, 0, 1, 2, 4, 8, 16, 5])),
        labels=draw(st.frozensets(st.sampled_from(LABELS), max_size=1)),
        authors=draw(
            st.frozensets(
                st.sampled_from([*RPPS, *ORGS, "Patient/p1", "RelatedPerson/r1", "client:app", "Device/x"]), max_size=2
            )
        ),
        participants=draw(st.frozensets(st.sampled_from(participants), max_size=2))
        if rtype in ("Communication", "Appointment", "Task")
        else frozenset(),
        data_time=draw(st.sampled_from([None, NOW - 5, NOW, NOW + 5])),
        deposited_at=draw(st.sampled_from([NOW, NOW - HOUR, NOW - HOUR + 1])),
        release_at=draw(st.sampled_from([None, NOW - 1, NOW, NOW + 1])),
        lineage=draw(st.sampled_from(LINEAGES)),
        links=draw(links),
    )


@st.composite
def worlds(draw: st.DrawFn, who: st.SearchStrategy[Actor] = actors, closing: bool = True) -> World:
    """A caller, the policies that would be loaded for them, and some rows."""
    drawn = {link(each): each for each in draw(st.lists(rows(), min_size=1, max_size=8))}
    actor = draw(who)
    known = {"p1": draw(policies("p1", closing))}
    if draw(st.booleans()):
        known["p2"] = draw(policies("p2", closing))
    dead = draw(st.frozensets(st.sampled_from(sorted(drawn)), max_size=1))
    return World(actor, known, tuple(drawn.values()), dead)
