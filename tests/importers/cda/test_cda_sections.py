"""The body of a document: Composition, entries in their buckets, what comes with each resource (importers §4, §8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from lxml import etree

from fhir_server.errors import TooLarge
from importers.cda.document import Conversion, Envelope, convert, read
from importers.cda.entries.dispatch import Bucket, kind_of
from importers.cda.entries.handlers import HANDLERS
from importers.issues import place
from importers.limits import Limits
from importers.tables import table

IMPORTED_AT = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)
BodyOf = Callable[..., Conversion]
EntryOf = Callable[..., Any]

# Kinds without handler: parts that another statement reads, and what is kept as narrative.
PARTS = {
    "adverse-effect", "certainty", "clinical-status", "comment", "criticality", "dispenser-instruction", "dosage-line",
    "dose-rank", "patient-instruction", "problem-status", "quantity", "reaction", "reason", "severity",
    "specimen-received", "substitution",
}  # fmt: skip


def converted(document: bytes, **more: Any) -> Conversion:
    """The conversion for one subject."""
    return convert(read(document), subject="Patient/p1", imported_at=IMPORTED_AT, **more)


def of_type(found: Conversion, name: str) -> list[dict[str, Any]]:
    """The resources of a type."""
    return [each for each in found.resources if each["resourceType"] == name]


def test_every_kind_of_entry_makes_its_resources(synthesis: bytes, is_r4: Callable[[dict[str, Any]], None]) -> None:
    """One document with all of them, each resource valid R4."""
    found = converted(synthesis)
    for resource in found.resources:
        is_r4(resource)
    kinds = {each["resourceType"] for each in found.discrete}
    assert kinds >= {
        "AllergyIntolerance", "Condition", "Encounter", "FamilyMemberHistory", "ImmunizationRecommendation",
        "MedicationStatement", "Observation", "Procedure",
    }  # fmt: skip
    counts = found.report.entries
    assert (counts.total, counts.mapped, counts.narrative_only, counts.failed) == (11, 10, 1, 0)
    assert found.report.covered == found.report.sections == 5


def test_the_composition_is_the_section_tree(synthesis: bytes) -> None:
    """Titles, codes, narratives and references to exactly what the entries of each section became."""
    found = converted(synthesis)
    composition = found.composition
    assert composition is not None
    assert [each["title"] for each in composition["section"]] == [
        "Allergies", "Problèmes actifs", "Antécédents familiaux", "Actes", "Mesures et traitements",
    ]  # fmt: skip
    assert composition["type"]["coding"][0]["code"] == "87273-9"
    assert (composition["status"], composition["date"]) == ("final", "2025-06-18")
    assert composition["subject"] == {"reference": "Patient/p1"}
    assert composition["author"][0]["display"] == "Yann CORDIER"
    assert composition["custodian"]["display"] == "Centre de vaccination"
    allergies = composition["section"][0]
    assert allergies["code"]["coding"][0] == {"system": "http://loinc.org", "code": "48765-2", "display": "Allergies"}
    assert '<li id="s1-al1">' in allergies["text"]["div"]
    assert allergies["text"]["status"] == "generated"
    referred = [each["reference"] for section in composition["section"] for each in section["entry"]]
    attached = [each.full_url for each in found.attachments[1:]]
    assert sorted(referred) == sorted([f"urn:uuid:{each['id']}" for each in found.discrete] + attached)
    (binary,) = attached
    assert f'<a href="{binary}">' in composition["section"][3]["text"]["div"]


def test_a_section_in_a_section_stays_there(level3: bytes) -> None:
    """The tree, not a list."""
    composition = converted(level3).composition
    assert composition is not None
    (outer,) = composition["section"]
    assert [each["title"] for each in outer["section"]] == ["Remarques"]


def test_every_entry_is_told_by_its_path_and_line(synthesis: bytes, level3: bytes) -> None:
    """The path is the one issues use, and leads to the element; the template is the one that decided."""
    for document in (synthesis, level3):
        root = etree.fromstring(document)
        outcomes = converted(document).report.outcomes
        entries = list(root.iter("{urn:hl7-org:v3}entry"))
        assert [each.path for each in outcomes] == [place(each) for each in entries]
        assert [each.line for each in outcomes] == [each.sourceline for each in entries]
    assert converted(synthesis).report.outcomes[0].template == "1.2.250.1.213.1.1.3.40"
    assert converted(level3).report.outcomes[0].template == "1.2.250.1.213.1.1.3.45"


def test_an_entry_that_fails_loses_itself_only(body_of: BodyOf) -> None:
    """Broken base64 beside a vaccination: one failed, one mapped, the narrative kept, the place told."""
    broken = (
        '<entry><observationMedia classCode="OBS" moodCode="EVN" ID="m"><templateId root="1.2.250.1.213.1.1.3.103"/>'
        '<value mediaType="image/png" representation="B64">iVBORw0KGgo=?</value></observationMedia></entry>'
    )
    fine = (
        '<entry><substanceAdministration classCode="SBADM" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.45"/>'
        '<effectiveTime value="2020"/></substanceAdministration></entry>'
    )
    found = body_of(f"<component><section><text>BCG</text>{broken}{fine}</section></component>")
    counts = found.report.entries
    assert (counts.total, counts.mapped, counts.narrative_only, counts.failed) == (2, 1, 0, 1)
    assert [each["resourceType"] for each in found.discrete] == ["Immunization"]
    assert len(found.attachments) == 1
    (issue,) = [each for each in found.report.issues if each.coding and each.coding[1] == "entry-failed"]
    assert issue.expression.endswith("/section/entry[1]")
    assert found.composition is not None
    assert "BCG" in found.composition["section"][0]["text"]["div"]


def test_an_entry_of_no_known_template_is_tried_by_class_where_it_is_coded(entry_of: EntryOf) -> None:
    """Observation, procedure and substance administration; nothing without a code, nothing that is only asked for."""
    coded = '<code code="1234-5" codeSystem="2.16.840.1.113883.6.1"/><statusCode code="completed"/>'

    def kinds(name: str, mood: str, content: str, section: str = "46239-0") -> list[str]:
        statement = f'<{name} classCode="X" moodCode="{mood}"><templateId root="1.2.3.4"/>{content}</{name}>'
        return [each["resourceType"] for each in entry_of(statement, section=section).resources]

    value = '<value xsi:type="ST">oui</value>'
    assert kinds("observation", "EVN", coded + value) == ["Observation"]
    assert kinds("observation", "GOL", coded + value) == []
    assert kinds("observation", "EVN", value) == []
    assert kinds("procedure", "EVN", coded) == ["Procedure"]
    assert kinds("procedure", "RQO", coded) == []
    product = "<consumable><manufacturedProduct><manufacturedMaterial><name>X</name></manufacturedMaterial>"
    product += "</manufacturedProduct></consumable>"
    assert kinds("substanceAdministration", "EVN", coded + product) == ["MedicationStatement"]
    assert kinds("substanceAdministration", "EVN", coded + product, section="11369-6") == ["Immunization"]
    assert kinds("act", "EVN", coded) == []
    assert kinds("supply", "EVN", coded) == []


def test_an_entry_in_an_odd_place_is_counted_as_narrative_only(body_of: BodyOf) -> None:
    """Total is the number of `entry` elements under the body, wherever they stand."""
    inner = "<entry><observation/></entry>"
    found = body_of(f"<component><section><text>a</text><entry><act>{inner}</act></entry></section></component>{inner}")
    counts = found.report.entries
    assert (counts.total, counts.narrative_only) == (3, 3)
    assert {each.bucket for each in found.report.outcomes} == {Bucket.NARRATIVE_ONLY}


def test_nothing_known_empties_its_section_with_a_reason(body_of: BodyOf) -> None:
    """`no-allergy-info`: no resource, emptyReason unavailable, and the entry is mapped by it."""
    observation = (
        '<entry><observation classCode="OBS" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.41"/>'
        '<value xsi:type="CD" code="no-allergy-info" codeSystem="2.16.840.1.113883.5.1150.1"/></observation></entry>'
    )
    found = body_of(f"<component><section><title>Allergies</title>{observation}</section></component>")
    assert found.discrete == ()
    assert found.composition is not None
    (section,) = found.composition["section"]
    assert section["emptyReason"]["coding"][0]["code"] == "unavailable"
    assert found.report.entries.mapped == 1
    assert section["text"]["status"] == "empty"


def test_what_is_said_of_somebody_else_is_narrative_only(body_of: BodyOf) -> None:
    """A subject on the statement, or on a section around it; a subject who is the patient changes nothing."""
    problem = '<templateId root="1.2.250.1.213.1.1.3.37"/><value xsi:type="CD" code="I10" codeSystem="1.2.3"/>'
    child = '<subject><relatedSubject classCode="PRS"><code code="CHILD"/></relatedSubject></subject>'
    patient = '<subject><relatedSubject classCode="PAT"/></subject>'

    def count(on_section: str, on_statement: str) -> int:
        entry = f'<entry><observation classCode="OBS" moodCode="EVN">{problem}{on_statement}</observation></entry>'
        inner = f"<component><section><text>b</text>{entry}</section></component>"
        found = body_of(f"<component><section>{on_section}<text>a</text>{inner}</section></component>")
        assert found.report.entries.total == 1
        return len(found.discrete)

    assert count("", "") == 1
    assert count(patient, patient) == 1
    assert count("", child) == 0
    assert count(child, "") == 0


def test_a_null_statement_makes_nothing(entry_of: EntryOf) -> None:
    """nullFlavor on the statement itself."""
    statement = '<procedure classCode="PROC" moodCode="EVN" nullFlavor="NA"><templateId root="1.2.250.1.213.1.1.3.62"/>'
    found = entry_of(statement + '<code code="X" codeSystem="1.2.3"/></procedure>')
    assert (found.resources, found.outcome.bucket) == ([], Bucket.NARRATIVE_ONLY)


def test_every_discrete_resource_says_where_it_comes_from_and_who_may_see_it(synthesis: bytes) -> None:
    """meta.source the uniqueId, meta.security the labels of the document, the subject asked for, the entry's id."""
    found = converted(synthesis, envelope=Envelope(("INVISIBLE_PATIENT",)))
    labels = [code for each in found.document_reference["securityLabel"] for code in each["coding"]]
    assert [each["code"] for each in labels] == ["N", "INVISIBLE_PATIENT"]
    unique = "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e"
    for resource in (*found.discrete, *found.provenances, found.composition):
        assert resource is not None
        assert resource["meta"] == {"source": unique, "security": labels}
    (problem,) = of_type(found, "Condition")
    assert problem["identifier"] == [
        {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:6e0b7e6a-7a3c-4e63-8a1f-1d6d55b5b003"}
    ]
    assert problem["recorder"]["identifier"]["value"] == "810000000021"
    assert problem["recordedDate"] == "2015-02-03"
    assert problem["note"] == [{"text": "Suivie en ville"}]


def test_provenance_tells_document_and_entries_apart(synthesis: bytes, level1: bytes) -> None:
    """P1: DocumentReference, Binary, Composition; P2: the discrete resources; author, assembler, source."""
    found = converted(synthesis)
    document, entries = found.provenances
    described = {each.full_url for each in found.attachments}
    described |= {f"urn:uuid:{each['id']}" for each in (found.document_reference, found.composition) if each}
    assert {each["reference"] for each in document["target"]} == described
    assert [each["reference"] for each in entries["target"]] == [f"urn:uuid:{each['id']}" for each in found.discrete]
    for each in found.provenances:
        source = {"reference": f"urn:uuid:{found.document_reference['id']}"}
        assert each["entity"] == [{"role": "source", "what": source}]
        assert [agent["type"]["coding"][0]["code"] for agent in each["agent"]] == ["author", "assembler"]
        assert each["agent"][1]["who"]["display"].startswith("fhir-server importer ")
    assert [each["resourceType"] for each in converted(level1).discrete] == ["Encounter"]


def test_ids_are_the_same_for_the_same_document_and_subject(synthesis: bytes) -> None:
    """Same in, same out; another subject has other discrete resources and the same document."""
    one, same = converted(synthesis), converted(synthesis)
    assert [each["id"] for each in one.resources] == [each["id"] for each in same.resources]
    ids = [each["id"] for each in one.resources]
    assert len(ids) == len(set(ids))
    other = convert(read(synthesis), subject="Patient/p2", imported_at=IMPORTED_AT)
    assert not {each["id"] for each in one.discrete} & {each["id"] for each in other.discrete}
    assert one.composition is not None
    assert other.composition is not None
    assert one.composition["id"] == other.composition["id"]
    assert [each.id for each in one.attachments] == [each.id for each in other.attachments]


def test_versions_of_one_set_share_the_ids_of_what_they_still_say(synthesis: bytes) -> None:
    """The lineage is in the key, the uniqueId and the version are not."""
    identified = b'<id root="0F8FAD5B-D9CB-469F-A165-70867728950E"/>'
    set_id = b'<setId root="1.2.250.1.999.7.9"/><versionNumber value="%d"/>'

    def version(number: int, document: bytes) -> Conversion:
        own = identified.replace(b"950E", b"95%02d" % number)
        head = document.replace(identified, own, 1)
        return converted(head.replace(b"<recordTarget>", set_id % number + b"<recordTarget>", 1))

    first = version(1, synthesis)
    second = version(2, synthesis.replace(b"HHFA016", b"HHFA011", 1))
    before, after = ({each["id"] for each in found.discrete} for found in (first, second))
    assert len(before & after) == len(before) - 1
    assert first.document_reference["id"] != second.document_reference["id"]
    assert first.provenances[0]["id"] != second.provenances[0]["id"]
    assert first.provenances[1]["id"] == second.provenances[1]["id"]


def test_equal_entries_stay_apart(body_of: BodyOf) -> None:
    """One id given to three vaccinations, alike in all that is in the key: three resources, three ids."""
    entry = (
        '<entry><substanceAdministration classCode="SBADM" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.45"/>'
        '<id root="41DAC707-7C96-47B7-B600-AC63D8002199"/><effectiveTime value="2020"/>'
        "</substanceAdministration></entry>"
    )
    found = body_of(f"<component><section><text>a</text>{entry * 3}</section></component>")
    assert len({each["id"] for each in found.discrete}) == 3


def test_an_older_version_keeps_its_document_and_nothing_discrete(synthesis: bytes, level1: bytes) -> None:
    """What a late version adds: no reference is left to what it does not bring."""
    for document in (synthesis, level1):
        whole = converted(document)
        alone = whole.without_discrete()
        gone = {f"urn:uuid:{each['id']}" for each in whole.discrete}
        assert gone
        assert (alone.discrete, len(alone.provenances)) == ((), 1)
        assert not any(each in str(alone.resources) for each in gone)
        assert alone.attachments == whole.attachments
        assert whole.discrete


def test_references_into_the_narrative_that_lead_nowhere_are_counted(body_of: BodyOf) -> None:
    """`#id`, bare `id` and `#`; the entry falls back to what it says itself."""
    codes = "".join(
        f'<entry><observation classCode="OBS" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.37"/>'
        f'<value xsi:type="CD" code="I10" codeSystem="2.16.840.1.113883.6.3" displayName="HTA">'
        f'<originalText><reference value="{each}"/>'
        f"</originalText></value></observation></entry>"
        for each in ("#here", "here", "#", "#nowhere")
    )
    found = body_of(f'<component><section><text><content ID="here">ici</content></text>{codes}</section></component>')
    assert [each["code"]["text"] for each in found.discrete] == ["ici", "ici", "HTA", "HTA"]
    assert found.report.dangling == 2
    assert "dangling-reference" in {each.coding[1] for each in found.report.issues if each.coding}


def test_a_code_system_without_uri_is_kept_and_counted(body_of: BodyOf) -> None:
    """Noted once, where it is met first."""
    entry = (
        '<entry><observation classCode="OBS" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.37"/>'
        '<value xsi:type="CD" code="X" codeSystem="1.2.3.4.5"/></observation></entry>'
    )
    found = body_of(f"<component><section><text>a</text>{entry * 2}</section></component>")
    assert [each["code"]["coding"][0]["system"] for each in found.discrete] == ["urn:oid:1.2.3.4.5"] * 2
    assert found.report.unknown_systems == {"1.2.3.4.5": 2}
    assert len([each for each in found.report.issues if each.coding and each.coding[1] == "unknown-system"]) == 1


def test_attachments_and_time_are_capped(synthesis: bytes) -> None:
    """A cap is one of the document, not of an entry: 413."""
    for limits, name in (
        (Limits(attachment_bytes=10), "attachment-bytes"),
        (Limits(all_attachment_bytes=10), "all-attachment-bytes"),
        (Limits(seconds=0.0), "seconds"),
    ):
        with pytest.raises(TooLarge) as error:
            convert(read(synthesis, limits), subject="Patient/p1", imported_at=IMPORTED_AT)
        assert error.value.issues[0].coding is not None
        assert error.value.issues[0].coding[1] == f"limit:{name}"


@pytest.mark.parametrize(("template", "kind"), table("entry_templates")["rows"])
def test_every_template_of_the_table_has_a_kind_that_is_read(template: str, kind: str) -> None:
    """Alone it decides, and the kind has a handler or is a part of another."""
    assert kind_of((template,)) == kind
    assert kind in HANDLERS or kind in PARTS


def test_the_most_specific_template_decides() -> None:
    """An allergy also bears the problem template, a French statement that of its IHE parent."""
    problem, allergy = "1.3.6.1.4.1.19376.1.5.3.1.4.5", "1.3.6.1.4.1.19376.1.5.3.1.4.6"
    assert kind_of((problem, allergy)) == kind_of((allergy, problem)) == "allergy"
    assert kind_of(("1.2.250.1.213.1.1.3.37", problem)) == "problem"
    assert kind_of(("1.2.3", "")) is None
