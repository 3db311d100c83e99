"""Acts, encounters, family histories and attachments of a body (importers §3, §4, §6)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

EntryOf = Callable[..., Any]
CODE = '<code code="HHFA016" codeSystem="1.2.250.1.213.2.5" displayName="Appendicectomie"/>'
PROBLEM = '<templateId root="1.2.250.1.213.1.1.3.37"/><value xsi:type="CD" code="K35" codeSystem="1.2.3"/>'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def act(content: str, attributes: str = "", mood: str = "EVN", template: str = "1.2.250.1.213.1.1.3.62") -> str:
    """A procedure."""
    start = f'<procedure classCode="PROC" moodCode="{mood}" {attributes}><templateId root="{template}"/>'
    return f"{start}{content}</procedure>"


def tied(kind: str, inner: str) -> str:
    """An entryRelationship."""
    return f'<entryRelationship typeCode="{kind}">{inner}</entryRelationship>'


def observation(content: str, attributes: str = "") -> str:
    """An observation."""
    return f'<observation classCode="OBS" moodCode="EVN" {attributes}>{content}</observation>'


def only(found: Any, kind: str) -> dict[str, Any]:
    """The one resource of that type."""
    (resource,) = [each for each in found.resources if each["resourceType"] == kind]
    made: dict[str, Any] = resource
    return made


def code_of(concept: dict[str, Any]) -> str:
    """The first code of a concept."""
    code: str = concept["coding"][0]["code"]
    return code


@pytest.mark.parametrize(
    "template", ["1.2.250.1.213.1.1.3.62", "1.3.6.1.4.1.19376.1.5.3.1.4.19", "2.16.840.1.113883.10.20.22.4.14"]
)
def test_an_act_of_any_family_is_a_procedure(entry_of: EntryOf, template: str) -> None:
    """Code, date, site, way in."""
    content = (
        f'{CODE}<statusCode code="completed"/><effectiveTime value="20190812"/>'
        '<approachSiteCode code="F" codeSystem="1.2.3" displayName="voie ouverte"/>'
        '<targetSiteCode code="66754008" codeSystem="2.16.840.1.113883.6.96"/>'
    )
    found = only(entry_of(act(content, template=template)), "Procedure")
    assert (found["status"], found["performedDateTime"]) == ("completed", "2019-08-12")
    assert code_of(found["code"]) == "HHFA016"
    assert code_of(found["bodySite"][0]) == "66754008"
    assert found["extension"][0]["valueReference"]["display"] == "voie ouverte"


@pytest.mark.parametrize(
    ("content", "attributes", "expected"),
    [("", 'negationInd="true"', "not-done"), ('<statusCode code="active"/>', "", "in-progress"), ("", "", "completed"),
     ('<statusCode code="aborted"/>', "", "stopped"), ('<statusCode code="cancelled"/>', "", "not-done"),
     ('<statusCode code="?"/>', "", "unknown")],
)  # fmt: skip
def test_the_status_of_an_act(entry_of: EntryOf, content: str, attributes: str, expected: str) -> None:
    """What did not happen is not done."""
    assert only(entry_of(act(CODE + content, attributes)), "Procedure")["status"] == expected


@pytest.mark.parametrize("mood", ["INT", "RQO", "PRMS", "ARQ"])
def test_an_act_that_is_planned_is_no_procedure(entry_of: EntryOf, mood: str) -> None:
    """It stays in the narrative."""
    found = entry_of(act(CODE, mood=mood))
    assert (found.resources, found.outcome.bucket) == ([], "narrative-only")


def test_why_and_with_what_complications(entry_of: EntryOf) -> None:
    """RSON is the reason, by value or by code; another problem a complication; a vital sign its own Observation."""
    reason = tied("RSON", observation(PROBLEM))
    internal = tied(
        "RSON", '<act><templateId root="1.2.250.1.213.1.1.3.36"/><code code="I21.1" codeSystem="1.2.3"/></act>'
    )
    complication = tied("COMP", observation(PROBLEM.replace("K35", "T81")))
    pulse = '<templateId root="1.2.250.1.213.1.1.3.50"/><code code="8867-4" codeSystem="2.16.840.1.113883.6.1"/>'
    vital = tied("COMP", observation(pulse + '<value xsi:type="PQ" value="80" unit="/min"/>'))
    period = '<effectiveTime><low value="201908121000+0200"/><high value="201908121130+0200"/></effectiveTime>'
    made = entry_of(act(CODE + period + reason + internal + complication + vital))
    found = only(made, "Procedure")
    assert [code_of(each) for each in found["reasonCode"]] == ["K35", "I21.1"]
    assert [code_of(each) for each in found["complication"]] == ["T81"]
    assert found["performedPeriod"]["end"] == "2019-08-12T11:30:00+02:00"
    assert {each["resourceType"] for each in made.resources} == {"Procedure", "Observation"}


def test_no_known_act_is_one_statement_and_no_information_none(entry_of: EntryOf) -> None:
    """The IPS codes stand in the code of an act."""
    code = '<code code="{}" codeSystem="2.16.840.1.113883.5.1150.1"/>'
    found = only(entry_of(act(code.format("no-known-procedures"), 'negationInd="true"')), "Procedure")
    assert (found["status"], code_of(found["code"])) == ("unknown", "no-known-procedures")
    nothing = entry_of(act(code.format("no-procedure-info")))
    assert (nothing.resources, nothing.outcome.bucket) == ([], "mapped")


def test_an_encounter_of_the_body(entry_of: EntryOf) -> None:
    """Class, period, place, doctor, reason; what is planned is planned."""
    person = (
        '<performer><assignedEntity><id nullFlavor="UNK"/><assignedPerson><name><given>Jacques</given><family>PETIT'
        "</family></name></assignedPerson><representedOrganization><name>CHU</name></representedOrganization>"
        "</assignedEntity></performer>"
    )
    place = (
        '<participant typeCode="LOC"><participantRole><playingEntity><name>Hématologie</name></playingEntity>'
        "</participantRole></participant>"
    )
    content = (
        '<templateId root="1.2.250.1.213.1.1.3.58"/><code code="AMB" codeSystem="2.16.840.1.113883.5.4"/>'
        f'<effectiveTime value="20230224"/>{person}{place}{tied("RSON", observation(PROBLEM))}'
    )
    found = only(entry_of(f'<encounter classCode="ENC" moodCode="EVN">{content}</encounter>'), "Encounter")
    assert (found["status"], found["class"]["code"]) == ("finished", "AMB")
    assert found["period"] == {"start": "2023-02-24", "end": "2023-02-24"}
    assert found["participant"] == [{"individual": {"type": "Practitioner", "display": "Jacques PETIT"}}]
    assert found["location"][0]["location"]["display"] == "Hématologie"
    assert found["serviceProvider"]["display"] == "CHU"
    assert code_of(found["reasonCode"][0]) == "K35"
    planned = only(entry_of(f'<encounter classCode="ENC" moodCode="ARQ">{content}</encounter>'), "Encounter")
    assert planned["status"] == "planned"


def family(content: str, subject: str = '<code code="MTH" codeSystem="2.16.840.1.113883.5.111"/>') -> str:
    """A family history organizer."""
    relative = f'<subject><relatedSubject classCode="PRS">{subject}</relatedSubject></subject>'
    template = '<templateId root="1.2.250.1.213.1.1.3.59"/>'
    return f'<organizer classCode="CLUSTER" moodCode="EVN">{template}{relative}{content}</organizer>'


def runs(code: str, more: str = "", attributes: str = "", system: str = "1.2.3") -> str:
    """A condition of a relative."""
    value = f'<value xsi:type="CD" code="{code}" codeSystem="{system}" displayName="{code}"/>'
    inner = observation(f'<templateId root="1.2.250.1.213.1.1.3.51"/>{value}{more}', attributes)
    return f"<component>{inner}</component>"


def test_a_family_history_is_that_of_the_relative(entry_of: EntryOf) -> None:
    """One resource a relative, the patient is never he; what does not run in the family is a note."""
    age = tied("SUBJ", observation('<code code="445518008"/><value xsi:type="PQ" value="57" unit="a"/>'))
    sex = '<code code="MTH" codeSystem="1.2.3"/><subject><administrativeGenderCode code="F"/></subject>'
    found = only(
        entry_of(family(runs("E11", age) + runs("C50", attributes='negationInd="true"'), sex)), "FamilyMemberHistory"
    )
    assert code_of(found["relationship"]) == "MTH"
    assert code_of(found["sex"]) == "female"
    assert [code_of(each["code"]) for each in found["condition"]] == ["E11"]
    assert str(found["condition"][0]["onsetAge"]["value"]) == "57"
    assert found["note"] == [{"text": "Absence de : C50"}]
    assert found["patient"] == {"reference": "Patient/p1"}


def test_a_family_history_of_nothing(entry_of: EntryOf) -> None:
    """Only denied: narrative. No information: a reason for the section. No known problem: one statement."""
    ips = "2.16.840.1.113883.5.1150.1"
    denied = entry_of(family(runs("C50", attributes='negationInd="true"')))
    assert (denied.resources, denied.outcome.bucket) == ([], "narrative-only")
    unknown = entry_of(family(runs("no-problem-info", system=ips)))
    assert (unknown.resources, unknown.outcome.bucket) == ([], "mapped")
    none = only(entry_of(family(runs("no-known-problems", system=ips))), "FamilyMemberHistory")
    assert code_of(none["condition"][0]["code"]) == "no-known-problems"


def media(data: bytes, media_type: str = "image/png", name: str = "m") -> str:
    """A medium."""
    value = f'<value mediaType="{media_type}" representation="B64">{b64encode(data).decode()}</value>'
    template = '<templateId root="1.2.250.1.213.1.1.3.103"/>'
    return f'<observationMedia classCode="OBS" moodCode="EVN" ID="{name}">{template}{value}</observationMedia>'


def test_a_medium_becomes_a_binary_the_narrative_links_to(entry_of: EntryOf) -> None:
    """Byte for byte, of its media type, behind the document."""
    found = entry_of(media(PNG), narrative='<renderMultiMedia referencedObject="m"/>')
    assert found.outcome.bucket == "mapped"
    original, image = found.whole.attachments
    assert (image.media_type, image.data) == ("image/png", PNG)
    assert image.security_context == original.security_context
    assert f'href="{image.full_url}"' in found.whole.composition["section"][0]["text"]["div"]


def test_a_mislabelled_medium_is_kept_as_mere_bytes(entry_of: EntryOf) -> None:
    """Magic and media type disagree, or the type is unknown: kept, never believed."""
    for label in ("image/jpeg", "text/html", "image/svg+xml"):
        found = entry_of(media(PNG, label))
        assert (found.whole.attachments[1].media_type, found.outcome.bucket) == ("application/octet-stream", "mapped")
        assert {"mislabelled-media", "unknown-media"} & {
            each.coding[1] for each in found.whole.report.issues if each.coding
        }


def test_an_attached_document_has_the_title_beside_it(entry_of: EntryOf) -> None:
    """FR-Document-attache: an organizer with the type of the document and the medium."""
    kind = observation('<code code="69764-9"/><value xsi:type="CD"><originalText>Courrier</originalText></value>')
    inner = (
        f"<component>{kind}</component><component>{media(PNG)}</component><component>{media(PNG, name='n')}</component>"
    )
    statement = (
        f'<organizer classCode="CLUSTER" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.18"/>{inner}</organizer>'
    )
    found = entry_of(statement, narrative='<renderMultiMedia referencedObject="m"/>')
    assert len(found.whole.attachments) == 3
    assert len({each.id for each in found.whole.attachments}) == 3
    assert ">Courrier</a>" in found.whole.composition["section"][0]["text"]["div"]
    assert found.resources == []
