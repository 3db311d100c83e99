"""What a document says is told as it says it: words apart, pictures found, findings of acts and of pathology kept."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from lxml import etree

from importers.cda.document import Conversion, convert, read
from importers.cda.elements import text
from importers.cda.texts import Texts

IMPORTED_AT = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)
BodyOf = Callable[..., Conversion]
EntryOf = Callable[..., Any]
LOINC = 'codeSystem="2.16.840.1.113883.6.1"'
SNOMED = 'codeSystem="2.16.840.1.113883.6.96"'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Préparation :<br/>- 30 g<br/>- 70 g", "Préparation : - 30 g - 70 g"),
        ("<td>L03AA02</td><td>FILGRASTIM</td>", "L03AA02 FILGRASTIM"),
        ("<list><item>a</item><item>b</item></list>c", "a b c"),
        ("H<sub>2</sub>O et <content>10<sup>9</sup></content>/L", "H2O et 109/L"),
        ("<paragraph>a <content>b</content></paragraph><paragraph>c</paragraph>", "a b c"),
        ("<br/>", None),
    ],
)
def test_lines_and_cells_of_a_referenced_text_are_words_apart(content: str, expected: str | None) -> None:
    """A line break, a cell, a paragraph ends a word; a mere style does not."""
    root = etree.fromstring(f'<text xmlns="urn:hl7-org:v3"><content ID="a">{content}</content></text>')
    assert Texts(root).resolve("#a") == text(root) == expected


MEDIUM = """<entry><observationMedia classCode="OBS" moodCode="EVN" ID="image">
  <templateId root="2.16.840.1.113883.10.12.304"/><id root="1.2.3" extension="m"/>
  <value mediaType="text/plain" representation="B64">Ym9uam91cg==</value></observationMedia></entry>"""
SHOWN = '<text><paragraph>Voir</paragraph><renderMultiMedia referencedObject="image"/></text>'


@pytest.mark.parametrize("order", ["before", "after", "under"])
def test_a_narrative_shows_a_medium_wherever_it_stands(body_of: BodyOf, order: str) -> None:
    """In an earlier section, a later one or one of its own parts: the link is the same."""
    telling = f"<title>T</title>{SHOWN}"
    holding = f"<component><section><title>M</title>{MEDIUM}</section></component>"
    bodies = {
        "before": f"{holding}<component><section>{telling}</section></component>",
        "after": f"<component><section>{telling}</section></component>{holding}",
        "under": f"<component><section>{telling}{holding}</section></component>",
    }
    found = body_of(bodies[order])
    assert found.composition is not None
    (section,) = (each for each in found.composition["section"] if each["title"] == "T")
    assert f'<a href="{found.attachments[1].full_url}">' in section["text"]["div"]


def test_the_findings_of_a_pathology_organizer_are_observations(entry_of: EntryOf) -> None:
    """CI-SIS .74 groups, its observations (.102) and results (.80) stand for themselves, nested ones as members."""
    nested = (
        f'<observation classCode="OBS" moodCode="EVN"><templateId root="1.2.250.1.213.1.1.3.102"/>'
        f'<code code="48012-9" {LOINC}/><statusCode code="completed"/><value xsi:type="ST">EGFR</value></observation>'
    )
    found = entry_of(
        f"""<organizer classCode="BATTERY" moodCode="EVN"><templateId root="1.3.6.1.4.1.19376.1.8.1.3.6"/>
        <templateId root="1.2.250.1.213.1.1.3.74"/><statusCode code="completed"/>
        <effectiveTime value="20210730"/>
        <component><observation classCode="OBS" moodCode="EVN"><templateId root="1.3.6.1.4.1.19376.1.8.1.4.9"/>
          <templateId root="1.2.250.1.213.1.1.3.102"/><code code="48018-6" {LOINC}/><statusCode code="completed"/>
          <value xsi:type="CD" code="EGFR" codeSystem="1.2.250.1.213.1.1.4.322"/>
          <entryRelationship typeCode="COMP">{nested}</entryRelationship></observation></component></organizer>"""
    )
    member, whole = found.resources
    assert [each["code"]["coding"][0]["code"] for each in (whole, member)] == ["48018-6", "48012-9"]
    assert whole["hasMember"] == [{"reference": f"urn:uuid:{member['id']}"}]
    assert whole["effectiveDateTime"] == member["effectiveDateTime"] == "2021-07-30"


def test_an_act_told_as_an_observation_is_a_procedure_and_its_finding(entry_of: EntryOf) -> None:
    """C-CDA Procedure Activity Observation: the Observation is part of the Procedure; without a value there is none."""
    act = """<observation classCode="OBS" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.13"/>
      <id root="1.2.3" extension="o"/><code code="268400002" {}/><statusCode code="completed"/>
      <effectiveTime value="20120512"/>{}</observation>"""
    found = entry_of(act.format(SNOMED, f'<value xsi:type="CD" code="251135002" {SNOMED}/>'))
    procedure, observed = found.resources
    assert [procedure["resourceType"], observed["resourceType"]] == ["Procedure", "Observation"]
    assert observed["partOf"] == [{"reference": f"urn:uuid:{procedure['id']}"}]
    assert observed["valueCodeableConcept"]["coding"][0]["code"] == "251135002"
    alone = entry_of(act.format(SNOMED, '<value xsi:type="CD"/>'))
    assert [each["resourceType"] for each in alone.resources] == ["Procedure"]


def test_results_without_a_name_are_no_report(entry_of: EntryOf) -> None:
    """An organizer of results that has no code only groups: nobody says what it would be a report of."""
    found = entry_of(
        f"""<organizer classCode="BATTERY" moodCode="EVN"><templateId root="2.16.840.1.113883.2.9.10.1.4.3.14.1"/>
        <statusCode code="completed"/><component><observation classCode="OBS" moodCode="EVN">
        <templateId root="2.16.840.1.113883.2.9.10.1.4.3.14.2"/><code code="75246-9" {LOINC}/>
        <statusCode code="completed"/><value xsi:type="CD" code="LA4270-0" {LOINC}/></observation></component>
        </organizer>""",
        section="47420-5",
    )
    assert [each["resourceType"] for each in found.resources] == ["Observation"]
    assert "category" not in found.resources[0]


def test_a_conversion_leaves_no_circles_behind(synthesis: bytes) -> None:
    """All it builds goes as soon as its result does: the collector of circles finds nothing to collect."""
    convert(read(synthesis), subject="Patient/p1", imported_at=IMPORTED_AT)
    gc.collect()
    gc.disable()
    try:
        convert(read(synthesis), subject="Patient/p1", imported_at=IMPORTED_AT)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_narrative_is_the_same_in_every_process() -> None:
    """The order of attributes does not hang on the seed of hashes."""
    program = """
from lxml import etree
from importers.cda.narrative import xhtml
cell = '<table><tbody><tr><td rowspan="1" colspan="2">a</td></tr></tbody></table>'
print(xhtml(etree.fromstring('<text xmlns="urn:hl7-org:v3">%s</text>' % cell), "s-", {}))
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(told) == 1
    assert b'<td colspan="2" rowspan="1">' in told.pop()
