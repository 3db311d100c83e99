"""Laboratory acts: a report, its samples, every result once, isolates apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ACT, BATTERY, ISOLATE, RESULT = (f"1.2.250.1.213.1.1.3.{each}" for each in (21, 78, 79, 80))
SAMPLE, RECEIVED, COMMENT = (f"1.2.250.1.213.1.1.3.{each}" for each in (77, 107, 32))
LOINC = "2.16.840.1.113883.6.1"

Convert = Callable[..., Any]


def coded(code: str, system: str = LOINC) -> str:
    """A code."""
    return f'<code code="{code}" codeSystem="{system}"/>'


def statement(name: str, template: str, content: str) -> str:
    """A clinical statement of that template."""
    return f'<{name} classCode="X" moodCode="EVN"><templateId root="{template}"/>{content}</{name}>'


def related(*nested: str) -> str:
    """Nested statements."""
    return "".join(f'<entryRelationship typeCode="COMP">{each}</entryRelationship>' for each in nested)


def components(*nested: str) -> str:
    """The components of an organizer."""
    return "".join(f"<component>{each}</component>" for each in nested)


def result(code: str, value: str = '<value xsi:type="PQ" value="1" unit="g/L"/>') -> str:
    """A result."""
    return statement("observation", RESULT, f'{coded(code)}<statusCode code="completed"/>{value}')


def battery(code: str | None, *nested: str) -> str:
    """A battery."""
    return statement("organizer", BATTERY, (coded(code) if code else "") + components(*nested))


def isolate(organism: str, *nested: str, identifier: str = "") -> str:
    """An isolate of that organism."""
    entity = f"<specimenPlayingEntity>{coded(organism, '2.16.840.1.113883.6.96')}</specimenPlayingEntity>"
    role = f"<specimen><specimenRole>{identifier}{entity}</specimenRole></specimen>"
    return statement("organizer", ISOLATE, role + components(*nested))


def sample(identifier: str = "s1", code: str = "BLD") -> str:
    """A sample taken at 07:35 and received at 07:52."""
    entity = f"<playingEntity>{coded(code, '2.16.840.1.113883.18.311')}</playingEntity>"
    role = f'<participantRole><id root="1.2.3" extension="{identifier}"/>{entity}</participantRole>'
    received = statement("act", RECEIVED, '<effectiveTime value="202401040752+0100"/>')
    time = '<effectiveTime><high value="202401040735+0100"/></effectiveTime>'
    return statement(
        "procedure", SAMPLE, f'{coded("9050")}{time}<participant typeCode="PRD">{role}</participant>{related(received)}'
    )


def act(*nested: str, more: str = "") -> str:
    """A laboratory act."""
    return statement("act", ACT, f'{coded("18725-2")}<statusCode code="completed"/>{more}{related(*nested)}')


def by_type(found: Any, kind: str) -> list[dict[str, Any]]:
    """The resources of that type."""
    return [each for each in found.resources if each["resourceType"] == kind]


def test_an_act_is_a_report_of_its_results_and_its_sample(entry_of: Convert) -> None:
    """Taken and received when, validated when and by whom; every result has the only sample."""
    validated = '<participant typeCode="AUTHEN"><time><high value="202401041120+0100"/></time><participantRole>'
    validated += (
        '<id root="1.2.250.1.71.4.2.1" extension="801234567898"/><playingEntity><name><family>S</family></name>'
    )
    validated += "</playingEntity></participantRole></participant>"
    found = entry_of(act(sample(), battery(None, result("2885-2")), result("2862-1"), more=validated))
    (report,), (blood,) = by_type(found, "DiagnosticReport"), by_type(found, "Specimen")
    observations = by_type(found, "Observation")
    assert [each["reference"][9:] for each in report["result"]] == [each["id"] for each in observations]
    assert report["specimen"] == [{"reference": f"urn:uuid:{blood['id']}"}]
    assert all(each["specimen"] == report["specimen"][0] for each in observations)
    assert blood["collection"]["collectedDateTime"] == report["effectiveDateTime"] == "2024-01-04T07:35:00+01:00"
    assert blood["receivedTime"] == "2024-01-04T07:52:00+01:00"
    assert blood["identifier"] == [{"system": "urn:oid:1.2.3", "value": "s1"}]
    assert report["issued"] == "2024-01-04T11:20:00+01:00"
    assert report["resultsInterpreter"][0]["identifier"]["value"] == "801234567898"


def test_the_template_of_an_act_may_stand_on_its_entry(body_of: Convert) -> None:
    """As XD-LAB has it: the act itself has none."""
    inner = f'<act classCode="ACT" moodCode="EVN">{coded("18719-5")}{related(result("2885-2"))}</act>'
    entry = f'<entry><templateId root="{ACT}"/>{inner}</entry>'
    found = body_of(f"<component><section><title>S</title>{entry}</section></component>")
    assert {each["resourceType"] for each in found.discrete} == {"DiagnosticReport", "Observation"}


def test_a_battery_with_a_code_groups_its_results(entry_of: Convert) -> None:
    """As a panel with members, the comments of the biologist its notes; without code it only groups."""
    comment = statement("act", COMMENT, "<text>à contrôler</text>")
    found = entry_of(act(battery("18769-0", result("20-8"), result("28-1"), comment)))
    *results, panel = by_type(found, "Observation")
    assert [each["reference"][9:] for each in panel["hasMember"]] == [each["id"] for each in results]
    assert panel["note"] == [{"text": "à contrôler"}]
    (report,) = by_type(found, "DiagnosticReport")
    assert report["result"] == [{"reference": f"urn:uuid:{panel['id']}"}]
    assert (
        by_type(entry_of(act(battery(None, result("20-8"), comment))), "DiagnosticReport")[0]["conclusion"]
        == "à contrôler"
    )


def test_two_isolates_with_equal_codes_stay_apart(entry_of: Convert) -> None:
    """Each grown from the sample, each the specimen of its results, and the identity of a result knows it."""
    susceptibility = battery("18769-0", result("20-8"))
    found = entry_of(act(sample(), isolate("112283007", susceptibility), isolate("58800005", susceptibility)))
    _, first, second = by_type(found, "Specimen")
    assert first["parent"] == second["parent"]
    results = [each for each in by_type(found, "Observation") if "hasMember" not in each]
    assert [each["specimen"]["reference"][9:] for each in results] == [first["id"], second["id"]]
    assert len({each["id"] for each in found.resources}) == len(found.resources)


def test_the_order_of_two_isolates_does_not_change_the_ids_of_their_results(entry_of: Convert) -> None:
    """What tells them apart is the isolate, and not their rank."""
    one, other = (isolate(each, battery("18769-0", result("20-8"))) for each in ("112283007", "58800005"))
    ids = [
        {each["id"] for each in entry_of(act(*isolates)).resources if each["resourceType"] == "Observation"}
        for isolates in ((one, other), (other, one))
    ]
    assert ids[0] == ids[1]


def test_a_result_may_name_one_of_several_samples(entry_of: Convert) -> None:
    """By its identifier; one that names none has none, since nobody says which."""
    naming = '<specimen><specimenRole><id root="1.2.3" extension="s2"/></specimenRole></specimen>'
    found = entry_of(act(sample("s1"), sample("s2", "UR"), result("1-1", naming), result("2-2")))
    urine = by_type(found, "Specimen")[1]
    named, unnamed = by_type(found, "Observation")
    assert named["specimen"] == {"reference": f"urn:uuid:{urine['id']}"}
    assert "specimen" not in unnamed


def test_earlier_results_beside_a_new_one_are_not_made_again(entry_of: Convert) -> None:
    """They are the results of earlier documents, and no list shows them twice."""
    earlier = f"""<entryRelationship typeCode="REFR"><observation classCode="OBS" moodCode="EVN">
          {coded("2885-2")}<value xsi:type="PQ" value="9" unit="g/L"/></observation></entryRelationship>"""
    assert len(by_type(entry_of(act(result("2885-2", earlier))), "Observation")) == 1


def test_an_act_without_results_is_narrative_only(entry_of: Convert) -> None:
    """A report of nothing is none."""
    found = entry_of(act())
    assert (found.resources, found.outcome.bucket) == ([], "narrative-only")


@pytest.mark.parametrize("organizer", ["1.2.250.1.213.1.1.3.208", "2.16.840.1.113883.10.20.22.4.1"])
def test_an_organizer_of_results_is_a_report(entry_of: Convert, organizer: str) -> None:
    """C-CDA and the French results organizer."""
    inner = statement(
        "observation",
        "2.16.840.1.113883.10.20.22.4.2",
        coded("718-7") + '<value xsi:type="PQ" value="13.2" unit="g/dL"/>',
    )
    found = entry_of(
        statement("organizer", organizer, f'{coded("57021-8")}<effectiveTime value="20240101"/>{components(inner)}')
    )
    (report,), (observation,) = by_type(found, "DiagnosticReport"), by_type(found, "Observation")
    assert report["result"] == [{"reference": f"urn:uuid:{observation['id']}"}]
    assert observation["effectiveDateTime"] == "2024-01-01"
