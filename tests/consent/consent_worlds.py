"""Small random records, callers and policies, in a domain narrow enough for everything to meet everything.

A world is made from one seed: hypothesis chooses the seed, so a failure names it, and a thousand worlds take a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

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
REGIMES = ("consult", "bris_de_glace", "centre_15", "made-up")
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
    "List",
)
AUTHORS = (*RPPS, *ORGS, "Patient/p1", "RelatedPerson/r1", "client:app", "Device/x")
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


SPANS = (
    *(ALWAYS,) * 4,
    Span(None, NOW),
    Span(NOW, None),
    Span(NOW - 5, NOW + 5),
    Span(NOW + 1, None),
    Span(None, NOW + 1),
)
DIRECTIVE_LABELS = (
    Label("class_code", "11"),
    Label("class_code", "10"),
    Label("labels", "PSY"),
    Label("labels", "HIV"),
)
NAMED = (*RPPS, *ORGS, "country:DE")
DENIES = ("D02", "D03", "D07", "D08")
PERMITS = ("D04", "D05", "D06", "D09", "D10")


def random_directive(random: Random, id: str) -> Directive:
    """A directive of that kind, mostly with effect."""
    pick = random.choice
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "D02": lambda: {"purpose": pick(REGIMES[1:3])},
        "D03": lambda: {"actor": pick(NAMED)},
        "D04": lambda: {"team": pick(("CareTeam/t1", "CareTeam/t2"))},
        "D05": lambda: {"actor": pick((*RPPS, *ORGS)), "except_label": pick((None, *DIRECTIVE_LABELS))},
        "D06": lambda: {"actor": pick(RPPS)},
        "D07": lambda: {"actor": pick((None, *NAMED)), "instance": pick(LINEAGES)},
        "D08": lambda: {
            "actor": pick((None, *NAMED)),
            "label": pick(DIRECTIVE_LABELS),
            "data_period": pick(SPANS),
        },
        "D09": lambda: {"actor": "client:app", "label": pick((None, None, *DIRECTIVE_LABELS))},
        "D10": lambda: {"actor": "country:DE", "purpose": "TREAT"},
    }
    period = ALWAYS if id == "D01" else pick(SPANS)
    active = random.random() < 0.8
    said = parts[id]() if id in parts else {}
    return Directive(id, active, "p1", "Patient/p1", pick(("c1", "c2")), period=period, **said)


def random_policy(random: Random, patient: str = "p1", closing: bool = True) -> RecordPolicy:
    """A record's policy; open and readable in most, always unless `closing`."""
    pick = random.choice
    kinds = [pick((*DENIES, *PERMITS, *PERMITS)) for _ in range(random.randrange(7))]
    if closing and random.random() < 0.1:
        kinds.append("D01")
    return RecordPolicy(
        patient=patient,
        version=1,
        exists=not closing or random.random() < 0.9,
        open=not closing or random.random() < 0.9,
        readable=not closing or random.random() < 0.9,
        directives=tuple(replace(random_directive(random, each), patient=patient) for each in kinds),
        lineages=pick(({}, {"DocumentReference/d2": "DocumentReference/d1"})),
        teams=tuple(_team(random) for _ in range(random.randrange(3))),
        practitioners=frozenset(pick(((), (), (RPPS[0],), ("PractitionerRole/r1",)))),
        representatives=pick(({}, {"RelatedPerson/r1": pick(SPANS)})),
    )


def _team(random: Random) -> Team:
    pick = random.choice
    members = tuple(
        Member(frozenset(pick(((RPPS[0],), (RPPS[1],), ("PractitionerRole/r1",)))), pick(SPANS))
        for _ in range(random.randrange(3))
    )
    return Team(pick(("CareTeam/t1", "CareTeam/t2")), pick(SPANS), members)


def opening(regime: str, patient: str = "p1", until: int = NOW + HOUR) -> str:
    """What a session has declared, as its token keeps it."""
    return f"{regime}|{patient}|{until}"


def _opening(random: Random) -> str:
    pick = random.choice
    return opening(pick(REGIMES), pick(("p1", "p1", "p2", "")), pick((NOW - 1, NOW, NOW + 1, NOW + HOUR)))


def professional(random: Random) -> Actor:
    """A professional with a person key, a structure, perhaps a role, and what they declared in this session."""
    pick = random.choice
    keys = {pick(RPPS), pick(ORGS), "Practitioner/x", *pick(((), ("PractitionerRole/r1",)))}
    return Actor(
        role="ps",
        reference="Practitioner/x",
        name="X",
        jti="j",
        keys=frozenset(keys),
        profession=pick(PROFESSIONS),
        mode=pick(("normal", "normal", *REGIMES[1:])),
        openings=tuple(_opening(random) for _ in range(pick((0, 0, 1, 2)))),
    )


def holder(random: Random) -> Actor:
    """A patient or a representative."""
    pick = random.choice
    role, references = pick(
        (("patient", ("Patient/p1", "Patient/p2")), ("rep", ("RelatedPerson/r1", "RelatedPerson/r2")))
    )
    return Actor(role, pick(references), "P", "j", patients=pick((("p1",), ("p1", "p2"), ("p2",), ())))


def application(random: Random) -> Actor:
    """An application, let in by somebody or by nobody."""
    pick = random.choice
    return Actor(
        role="app",
        reference="Device/app",
        name="A",
        jti="j",
        keys=frozenset({"client:app"}),
        patients=pick((("p1",), ("p2",))),
        authoriser=pick(("patient", "rep", "")),
        authoriser_key=pick(("Patient/p1", "RelatedPerson/r1")),
    )


def gateway(random: Random) -> Actor:
    """An EU gateway."""
    pick = random.choice
    return Actor(
        role="ncp",
        reference="Device/ncp",
        name="N",
        jti="j",
        country=pick(("DE", "DE", "IT", "")),
        purpose=pick(("TREAT", "TREAT", "ETREAT")),
        mode=pick(("normal", "normal", "bris_de_glace")),
    )


def other(random: Random) -> Actor:
    """Software alone, an administrator, or a role that is none."""
    role = random.choice(("lgc", "admin", "anonymous", "", "PS"))
    keys = frozenset({*RPPS, "client:app"})
    return Actor(role, "Device/x", "O", "j", keys=keys, patients=("p1",), openings=(opening("consult"),))


def anyone(random: Random) -> Actor:
    """Any caller, professionals more often."""
    return random.choice((professional, professional, holder, application, gateway, other))(random)


def random_row(random: Random) -> Facts:
    """One row of a record, or of nobody's."""
    pick = random.choice
    rtype = pick((*RECORD_TYPES, *RECORD_TYPES, "Binary", "Binary", "Practitioner"))
    linkable = [f"{each}/{n}" for each in (*RECORD_TYPES, "Binary", "Binary") for n in "123"]
    takes_part = rtype in ("Communication", "Appointment", "Task")
    return Facts(
        rtype=rtype,
        id=pick(("1", "2", "3", "c1", "c2")),
        kind="public" if rtype == "Practitioner" else "record",
        patient=pick(("p1", "p1", "p2")) if rtype not in ("Binary", "Practitioner") else None,
        type_code=pick((None, "submissionset", "folder")) if rtype == "List" else pick(TYPES),
        class_code=pick(CLASSES),
        vis=pick((0, 0, 0, 1, 2, 4, 8, 16, 5)),
        labels=frozenset(pick(((), (), *((each,) for each in LABELS)))),
        authors=frozenset(random.sample(AUTHORS, random.randrange(3))),
        participants=frozenset(random.sample(("PractitionerRole/r1", RPPS[0], "Patient/p1"), random.randrange(3)))
        if takes_part
        else frozenset(),
        data_time=pick((None, NOW - 5, NOW, NOW + 5)),
        deposited_at=pick((NOW, NOW - HOUR, NOW - HOUR + 1)),
        release_at=pick((None, NOW - 1, NOW, NOW + 1)),
        lineage=pick(LINEAGES),
        links=frozenset(random.sample(linkable, random.randrange(4))),
    )


def random_world(random: Random, who: Callable[[Random], Actor] = anyone, closing: bool = True) -> World:
    """A caller, the policies that would be loaded for them, and some rows."""
    rows = {link(each): each for each in (random_row(random) for _ in range(random.randrange(1, 10)))}
    known = {"p1": random_policy(random, "p1", closing)}
    if random.random() < 0.5:
        known["p2"] = random_policy(random, "p2", closing)
    dead = frozenset(random.sample(sorted(rows), 1)) if random.random() < 0.3 else frozenset()
    return World(who(random), known, tuple(rows.values()), dead)


def worlds(who: Callable[[Random], Actor] = anyone, closing: bool = True) -> st.SearchStrategy[World]:
    """Worlds by seed."""
    return st.integers(0, 2**32).map(lambda seed: random_world(Random(seed), who, closing))


def directives(*ids: str) -> st.SearchStrategy[Directive]:
    """Directives of those kinds, by seed."""
    seeds = st.integers(0, 2**32).map(Random)
    return st.builds(random_directive, seeds, st.sampled_from(ids))
