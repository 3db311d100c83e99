"""Chains, reverse chains and lists: what they mean, who may follow them, and how far."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds_of_links import BASE, World

from fhir_server.errors import Malformed
from fhir_server.search.hops import cleared, hops, uncleared
from fhir_server.search.limits import Limits
from fhir_server.search.match import holds
from fhir_server.search.parse import parse
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    Chained,
    DateIs,
    Eq,
    Predicate,
    Present,
    Referred,
    RefersTo,
    StringIs,
    TokenIs,
    conj,
    disj,
    negate,
    one_of,
)
from fhir_server.search.query import Query
from fhir_server.search.registry import SearchRegistry


@pytest.fixture(scope="session")
def ask(registry: SearchRegistry) -> Any:
    """Parse one criterion strictly."""

    def asked(types: str, name: str, value: str, **more: Any) -> Query:
        return parse(registry, tuple(types.split(",")), [(name, value)], strict=True, base_url=BASE, **more)

    return asked


MALE = TokenIs("gender", None, "male")
MEANINGS: list[tuple[str, str, str, Predicate]] = [
    ("Observation", "subject:Patient.gender", "male", Chained("subject", ("Patient",), MALE)),
    ("Observation", "patient.gender", "male", Chained("patient", ("Patient",), MALE)),
    ("Observation", "patient.gender:not", "male", Chained("patient", ("Patient",), negate(MALE))),
    ("Observation", "patient.birthdate:missing", "false", Chained("patient", ("Patient",), Present("birthdate"))),
    ("Observation", "patient._id", "a,b", Chained("patient", ("Patient",), disj(Eq("id", "a"), Eq("id", "b")))),
    ("Observation", "patient._tag", "s|t", Chained("patient", ("Patient",), TokenIs("_tag", "s", "t"))),
    # without a type, what each target means by the name
    ("Observation", "subject.name", "ann b",
     disj(Chained("subject", ("Location",), StringIs("name", "starts", "ann b")),
          Chained("subject", ("Patient",), conj(StringIs("name", "starts", "ann"), StringIs("name", "starts", "b"))))),
    ("Observation", "subject:Patient.general-practitioner:Practitioner.family", "x",
     Chained("subject", ("Patient",),
             Chained("general-practitioner", ("Practitioner",), StringIs("family", "starts", "x")))),
    ("Patient", "_has:Observation:patient:code", "a,b",
     Referred("Observation", "patient", disj(TokenIs("code", None, "a"), TokenIs("code", None, "b")))),
    ("Patient", "_has:Observation:patient:code:not", "a",
     Referred("Observation", "patient", negate(TokenIs("code", None, "a")))),
    ("Patient", "_has:Observation:patient:_has:Provenance:target:_id", "p",
     Referred("Observation", "patient", Referred("Provenance", "target", Eq("id", "p")))),
    ("Patient", "_has:Observation:patient:performer:Practitioner.family", "x",
     Referred("Observation", "patient",
              Chained("performer", ("Practitioner",), StringIs("family", "starts", "x")))),
    ("Encounter", "patient._has:Group:member:_id", "g",
     Chained("patient", ("Patient",), Referred("Group", "member", Eq("id", "g")))),
    ("Observation", "_list", "l,List/m", Referred("List", "item", disj(Eq("id", "l"), Eq("id", "m")))),
    ("Observation", "patient._list", "l", Chained("patient", ("Patient",), Referred("List", "item", Eq("id", "l")))),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "name", "value", "meaning"), MEANINGS)
def test_a_chain_means_a_hop_for_each_reference(
    ask: Any, type_: str, name: str, value: str, meaning: Predicate
) -> None:
    """Whose other end satisfies the rest; it is in the self link as it was sent."""
    query = ask(type_, name, value)
    assert query.plan.where == meaning
    assert query.used == ((name, value),)


def test_over_several_types_the_chain_is_known_to_all(ask: Any) -> None:
    """And means for each what its own reference leads to."""
    query = ask("Condition,Observation", "patient.gender", "male")
    assert query.plan.where == Chained("patient", ("Patient",), MALE)
    query = ask("Condition,Observation", "subject.characteristic", "a")
    group = Chained("subject", ("Group",), TokenIs("characteristic", None, "a"))
    assert query.plan.where == group
    with pytest.raises(Malformed):
        ask("Patient,Observation", "subject.name", "a")


def test_a_chain_without_a_type_that_leads_nearly_everywhere_is_refused(ask: Any) -> None:
    """It names its parameter; with the type it is answered."""
    with pytest.raises(Malformed) as raised:
        ask("Provenance", "target._id", "a")
    assert [(each.code, each.expression) for each in raised.value.issues] == [("value", "target._id")]
    assert ask("Provenance", "target:Patient._id", "a").plan.where == Chained("target", ("Patient",), Eq("id", "a"))


def test_a_chain_is_as_long_as_the_limit(ask: Any) -> None:
    """Each reference is a hop, forwards or backwards; in all of their ways together there are not many."""
    name = "partof." * 5 + "_id"
    assert len(list(hops(ask("Organization", name, "a").plan.where))) == 5
    reverse = "_has:Organization:partof:" * 5 + "_id"
    assert len(list(hops(ask("Organization", reverse, "a").plan.where))) == 5
    for longer in ("partof." + name, "_has:Organization:partof:" + reverse, "partof." * 3 + reverse):
        with pytest.raises(Malformed) as raised:
            ask("Organization", longer, "a")
        assert [each.code for each in raised.value.issues] == ["too-costly"]
    with pytest.raises(Malformed):
        ask("Organization", "partof.partof._id", "a", limits=Limits(hops=1))
    with pytest.raises(Malformed) as raised:
        ask("Observation", "subject.name", "a b", limits=Limits(turns=1))
    assert [each.code for each in raised.value.issues] == ["too-costly"]
    filter = " or ".join(f"subject:Patient.name co {number}" for number in range(3))
    assert len(list(hops(ask("Observation", "_filter", filter, limits=Limits(turns=3)).plan.where))) == 3
    with pytest.raises(Malformed) as raised:
        ask("Observation", "_filter", filter, limits=Limits(turns=2))
    assert [each.code for each in raised.value.issues] == ["too-costly"]


# Clearing


def test_a_hop_that_nobody_has_cleared_is_never_followed(registry: SearchRegistry) -> None:
    """Neither true nor false is an answer: it is an error, at any depth."""
    world = World(registry, [OBSERVATION, {"resourceType": "Patient", "id": "p", "gender": "male"}])
    row = world.rows["Observation/o"]
    for hop in (Chained("patient", ("Patient",), TRUE), Referred("Provenance", "target", TRUE)):
        for asked in (hop, negate(hop), Chained("patient", ("Patient",), hop, TRUE)):
            with pytest.raises(ValueError, match="hop"):
                holds(asked, row, world)
        with pytest.raises(ValueError, match="links"):
            holds(cleared(hop, lambda types: TRUE), row)


OBSERVATION = {"resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/p"}}

HOPS = st.recursive(
    st.sampled_from([TRUE, FALSE, MALE, Eq("id", "a"), AllRefs(Eq("id", "a"))]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: conj(*parts))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: disj(*parts))
        | inner.map(negate)
        | st.builds(Chained, st.just("p"), st.sampled_from([("A",), ("A", "B")]), inner, st.none() | st.just(MALE))
        | st.builds(Referred, st.sampled_from(["A", "B"]), st.just("p"), inner, st.none() | st.just(MALE))
    ),
    max_leaves=10,
)


@given(HOPS)
def test_clearing_reaches_every_hop_once(predicate: Predicate) -> None:
    """With what may be seen of its own types; what was cleared before stays, and a second time changes nothing."""
    asked: set[tuple[str, ...]] = set()

    def visible(types: tuple[str, ...]) -> Predicate:
        asked.add(types)
        return one_of("rtype", types)

    found = cleared(predicate, visible)
    assert uncleared(found) == frozenset()
    assert uncleared(predicate) <= asked or asked == uncleared(predicate)
    assert cleared(found, lambda types: FALSE) == found
    for hop in hops(found):
        types = hop.types if isinstance(hop, Chained) else (hop.type,)
        assert hop.visible in (MALE, one_of("rtype", types))


# Against an oracle

IDS = ["a", "b", "c"]
ID = st.sampled_from(IDS)


@st.composite
def resources(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Patients with a practitioner, practitioners, observations of patients, lists of observations."""
    patients = [
        {
            "resourceType": "Patient",
            "id": id,
            "gender": draw(st.sampled_from(["male", "female"])),
            "generalPractitioner": [{"reference": f"Practitioner/{draw(ID)}"}],
        }
        for id in draw(st.sets(ID))
    ]
    practitioners = [
        {"resourceType": "Practitioner", "id": id, "gender": draw(st.sampled_from(["male", "female"]))}
        for id in draw(st.sets(ID))
    ]
    observations = [
        {
            "resourceType": "Observation",
            "id": id,
            "status": draw(st.sampled_from(["final", "amended"])),
            "subject": {"reference": f"{draw(st.sampled_from(['Patient', 'Group']))}/{draw(ID)}"},
        }
        for id in draw(st.sets(ID))
    ]
    lists = [
        {"resourceType": "List", "id": id, "entry": [{"item": {"reference": f"Observation/{draw(ID)}"}}]}
        for id in draw(st.sets(ID))
    ]
    return [*patients, *practitioners, *observations, *lists]


@given(resources(), st.sampled_from(["male", "female"]), ID, st.frozensets(ID))
def test_chains_find_what_their_words_say(
    registry: SearchRegistry, world: list[dict[str, Any]], gender: str, id: str, hidden: frozenset[str]
) -> None:
    """Live resources alone count at the other end, and of them those that the caller sees."""
    by_link = {f"{each['resourceType']}/{each['id']}": each for each in world}
    rows = World(registry, world)
    visible = negate(one_of("id", hidden))

    def seen(link: str) -> dict[str, Any]:
        found = by_link.get(link, {})
        return found if found.get("id") not in hidden else {}

    def all_of(type_: str) -> list[dict[str, Any]]:
        return [each for each in world if each["resourceType"] == type_]

    def practitioner(patient: dict[str, Any]) -> dict[str, Any]:
        return seen(patient["generalPractitioner"][0]["reference"]) if patient else {}

    def patient(observation: dict[str, Any]) -> dict[str, Any]:
        reference = observation["subject"]["reference"]
        return seen(reference) if reference.startswith("Patient/") else {}

    observations, patients = all_of("Observation"), all_of("Patient")
    assert rows.found("Observation", "subject:Patient.gender", gender, visible) == {
        each["id"] for each in observations if patient(each).get("gender") == gender
    }
    assert rows.found("Observation", "patient.gender:not", gender, visible) == {
        each["id"] for each in observations if patient(each).get("gender", gender) != gender
    }
    chain = "patient.general-practitioner:Practitioner.gender"
    assert rows.found("Observation", chain, gender, visible) == {
        each["id"] for each in observations if practitioner(patient(each)).get("gender") == gender
    }
    assert rows.found("Patient", "_has:Observation:patient:status", "final", visible) == {
        each["id"]
        for each in patients
        if any(
            other["status"] == "final" and other["subject"]["reference"] == f"Patient/{each['id']}"
            for other in observations
            if other["id"] not in hidden
        )
    }
    assert rows.found("Observation", "_list", id, visible) == {
        each["entry"][0]["item"]["reference"].partition("/")[2]
        for each in all_of("List")
        if each["id"] == id and id not in hidden
    } & {each["id"] for each in observations}


# Whose record


@pytest.mark.parametrize(
    ("type_", "name", "value", "named"),
    [
        ("Observation", "patient.identifier", "s|1", TokenIs("identifier", "s", "1")),
        ("Observation", "subject:Patient.identifier", "s|1", TokenIs("identifier", "s", "1")),
        ("Observation", "patient.identifier", "1.2.3|1",
         disj(TokenIs("identifier", "1.2.3", "1"), TokenIs("identifier", "urn:oid:1.2.3", "1"))),
        ("Observation", "patient.identifier", "1", None),
        ("Observation", "patient.identifier", "s|", None),
        ("Observation", "patient.identifier", "|1", None),
        ("Observation", "patient.identifier", "s|1,s|2", None),
        ("Observation", "subject.identifier", "s|1", None),
        ("Observation", "patient.identifier:not", "s|1", None),
        ("Observation", "patient.name", "a", None),
        ("Observation", "performer:Patient.identifier", "s|1", None),
        ("Communication", "recipient:Patient.identifier", "s|1", None),
        ("Observation,Condition", "patient.identifier", "s|1", TokenIs("identifier", "s", "1")),
        ("Patient", "identifier", "s|1", TokenIs("identifier", "s", "1")),
        ("Patient", "identifier", "1", None),
        ("Patient", "identifier:of-type", "s|c|1", None),
        ("Observation", "identifier", "s|1", None),
    ],
)  # fmt: skip
def test_a_search_may_name_its_patient_by_an_identifier(
    ask: Any, type_: str, name: str, value: str, named: Predicate | None
) -> None:
    """One identifier with its system, of the patient whose record the answer is in."""
    query = ask(type_, name, value)
    assert query.named == named
    assert query.plan.patients is None


def test_values_within_a_chain_are_read_as_anywhere(ask: Any) -> None:
    """Dates with their precision, references by their ids."""
    (hop,) = hops(ask("Observation", "patient.birthdate", "ge2000").plan.where)
    assert isinstance(hop, Chained)
    assert isinstance(hop.to, DateIs)
    (hop,) = hops(ask("Observation", "encounter.patient", "1").plan.where)
    assert isinstance(hop, Chained)
    assert hop.to == RefersTo("patient", "Patient/1")
