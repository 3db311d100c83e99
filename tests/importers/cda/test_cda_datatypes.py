"""HL7 v3 data types as FHIR, each from a fragment (importers §6, rules 2 to 6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fhir_server.fhir import dates
from importers.cda import datatypes
from importers.cda.datatypes import Key
from importers.issues import Notes
from importers.tables import table


def element(attributes: str = "", content: str = "") -> etree._Element:
    """A fragment in the namespace of CDA."""
    return etree.fromstring(f'<x xmlns="urn:hl7-org:v3" {attributes}>{content}</x>'.encode())


def noted(notes: Notes) -> list[str]:
    """The codes of what was noted."""
    return [each.coding[1] for each in notes.issues if each.coding]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('root="1.2.250.1"', Key("urn:ietf:rfc:3986", "urn:oid:1.2.250.1")),
        ('root="1.2.250.1" extension=" A 1 "', Key("urn:oid:1.2.250.1", "A 1")),
        (
            'root="0F8FAD5B-D9CB-469F-A165-70867728950E"',
            Key("urn:ietf:rfc:3986", "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e"),
        ),
        (
            'root="0f8fad5b-d9cb-469f-a165-70867728950e" extension="7"',
            Key("urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", "7"),
        ),
        ('nullFlavor="NA"', None),
        ('nullFlavor="NA" root="1.2.3" extension="7"', None),
        ('extension="7"', None),
    ],
)
def test_an_instance_identifier(attributes: str, expected: Key | None) -> None:
    """A root alone is a URN, a root with extension a system and a value."""
    notes = Notes()
    assert datatypes.key(element(attributes), notes) == expected
    assert notes.issues == ()
    assert datatypes.key(None, notes) is None


@pytest.mark.parametrize(
    "root", ["YY", "1", "1.02.3", "3.1.2", "1.2.", "0F8FAD5B-D9CB-469F-A165-7086772895ZZ", "1.2.٣"]
)
def test_what_is_no_oid_nor_uuid_is_left_out_and_noted(root: str) -> None:
    """Nothing false becomes a URN."""
    notes = Notes()
    assert datatypes.key(element(f'root="{root}" extension="7"'), notes) is None
    assert noted(notes) == ["bad-oid"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1975", "1975"),
        ("202305", "2023-05"),
        ("20230531", "2023-05-31"),
        ("20090928094914+0100", "2009-09-28T09:49:14+01:00"),
        ("200909280949+0100", "2009-09-28T09:49:00+01:00"),
        ("20090928094914.25-0330", "2009-09-28T09:49:14.25-03:30"),
        ("20090928094914+02", "2009-09-28T09:49:14+02:00"),
        ("20090928094914Z", "2009-09-28T09:49:14Z"),
        ("2009092809+0100", "2009-09-28"),
        ("20090928+0100", "2009-09-28"),
    ],
)
def test_a_time_keeps_its_precision_and_offset(value: str, expected: str) -> None:
    """Rule 4; R4 has minutes only with seconds, and no hours alone."""
    notes = Notes()
    assert datatypes.date_time(element(f'value="{value}"'), notes) == expected
    assert notes.issues == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20230115120000", "2023-01-15T12:00:00+01:00"),
        ("20230715120000", "2023-07-15T12:00:00+02:00"),
        ("194207151200", "1942-07-15T12:00:00+02:00"),
    ],
)
def test_a_time_without_offset_is_one_of_paris_on_that_day(value: str, expected: str) -> None:
    """Rule 4: winter, summer, and the time of an older law; it is noted."""
    notes = Notes()
    assert datatypes.date_time(element(f'value="{value}"'), notes) == expected
    assert noted(notes) == ["no-timezone"]


@pytest.mark.parametrize(
    "value",
    ["2023-05-31", "20230230", "20231301", "202305311260+0100", "202305312500", "0000", "x", "202305311200+9900"],
)
def test_an_unreadable_time_is_left_out_and_noted(value: str) -> None:
    """No date is invented."""
    notes = Notes()
    assert datatypes.date_time(element(f'value="{value}"'), notes) is None
    assert noted(notes) == ["bad-date"]


@pytest.mark.parametrize("attributes", ['nullFlavor="UNK"', 'nullFlavor="UNK" value="2023"', ""])
def test_a_null_time_is_no_time(attributes: str) -> None:
    """Never a date where the source has a nullFlavor."""
    notes = Notes()
    assert datatypes.date_time(element(attributes), notes) is None
    assert datatypes.date_time(None, notes) is None
    assert notes.issues == ()


def test_a_birth_date_has_no_time_of_day() -> None:
    """The FHIR date of a TS is its day, month or year."""
    assert datatypes.date(element('value="197903280930+0100"'), Notes()) == "1979-03-28"
    assert datatypes.date(element('value="1979"'), Notes()) == "1979"


@given(st.datetimes(), st.integers(-14 * 4, 14 * 4), st.sampled_from([4, 6, 8, 12, 14]))
def test_any_time_is_left_out_or_a_fhir_date_time(moment: Any, quarters: int, precision: int) -> None:
    """Whatever day, precision and quarter of an hour of offset."""
    sign, minutes = ("-" if quarters < 0 else "+"), abs(quarters) * 15
    written = f"{moment:%Y%m%d%H%M%S}".zfill(14)[:precision]
    value = written + (f"{sign}{minutes // 60:02d}{minutes % 60:02d}" if precision > 8 else "")
    found = datatypes.date_time(element(f'value="{value}"'), Notes())
    assert found is not None
    assert dates.is_date_time(found)
    assert found.startswith(f"{written[:4]}")


@given(st.text(st.sampled_from("0123456789+-.:TZ "), max_size=24))
def test_any_text_is_left_out_or_a_fhir_date_time(value: str) -> None:
    """What is no TS never becomes something else."""
    found = datatypes.date_time(element(f'value="{value}"'), Notes())
    assert found is None or dates.is_date_time(found)


@pytest.mark.parametrize(
    ("content", "expected", "codes"),
    [
        ('<low value="2020"/><high value="2021"/>', {"start": "2020", "end": "2021"}, []),
        ('<low value="2020"/>', {"start": "2020"}, []),
        ('<low nullFlavor="UNK"/><high value="2021"/>', {"end": "2021"}, []),
        ('<low value="20210102"/><high value="20210101"/>', {"start": "2021-01-02"}, ["bad-period"]),
        ('<low value="20210102"/><high value="2021"/>', {"start": "2021-01-02", "end": "2021"}, []),
        ("", {}, []),
    ],
)
def test_an_interval_of_time(content: str, expected: dict[str, str], codes: list[str]) -> None:
    """One end or both; an end before the start is left out (per-1)."""
    notes = Notes()
    assert datatypes.period(element(content=content), notes) == expected
    assert noted(notes) == codes


def test_a_point_in_time_is_an_interval() -> None:
    """Its start and its end."""
    assert datatypes.period(element('value="2021"'), Notes()) == {"start": "2021", "end": "2021"}


def test_a_code_has_its_translations_behind_it_and_a_text() -> None:
    """Rule 6: code, translations, then the display name as text."""
    translated = '<translation code="C" codeSystem="1.2.250.1.213.2.5"/>'
    attributes = 'code="A" codeSystem="2.16.840.1.113883.6.1" displayName="Nom"'
    assert datatypes.concept(element(attributes, translated), Notes()) == {
        "coding": [
            {"system": "http://loinc.org", "code": "A", "display": "Nom"},
            {"system": "urn:oid:1.2.250.1.213.2.5", "code": "C"},
        ],
        "text": "Nom",
    }


def test_an_original_text_is_the_text_of_a_code() -> None:
    """It says more than a display name."""
    found = datatypes.concept(
        element('code="A" displayName="Nom"', "<originalText>Mot\n à mot</originalText>"), Notes()
    )
    assert found == {"coding": [{"code": "A", "display": "Nom"}], "text": "Mot à mot"}


def test_translations_stand_for_a_code_that_is_not_there() -> None:
    """Rule 6: a code without code, as most French vaccines have it."""
    translated = '<translation code="J07AN" codeSystem="2.16.840.1.113883.6.73" displayName="BCG"/>'
    assert datatypes.concept(element('nullFlavor="OTH"', translated), Notes()) == {
        "coding": [{"system": "http://www.whocc.no/atc", "code": "J07AN", "display": "BCG"}],
        "text": "BCG",
    }


def test_a_code_of_no_known_system_is_kept_and_noted() -> None:
    """As `urn:oid:`; a system known to have no URI is not worth a note."""
    notes = Notes()
    found = datatypes.concept(element('code="A" codeSystem="1.2.3.4"'), notes)
    assert found == {"coding": [{"system": "urn:oid:1.2.3.4", "code": "A"}]}
    assert noted(notes) == ["unknown-system"]
    quiet = Notes()
    datatypes.concept(element('code="A" codeSystem="1.2.250.1.213.2.7"'), quiet)
    assert quiet.issues == ()


def test_a_code_system_that_is_no_oid_leaves_only_the_text() -> None:
    """Rule 6: `YY`."""
    notes = Notes()
    assert datatypes.concept(element('code="A" codeSystem="YY" displayName="Nom"'), notes) == {"text": "Nom"}
    assert noted(notes) == ["bad-oid"]


@pytest.mark.parametrize(
    ("attributes", "system", "codes"),
    [
        (
            'codeSystem="2.16.840.1.113883.6" codeSystemName="CIM-10"',
            "http://hl7.org/fhir/sid/icd-10",
            ["misprinted-oid"],
        ),
        ('codeSystem="2.16.840.1.113883.6" codeSystemName="X"', "urn:oid:2.16.840.1.113883.6", ["unknown-system"]),
        (
            'codeSystem="1.3.5.1.4.1.19376.1.5.3.2"',
            "urn:oid:1.3.6.1.4.1.19376.1.5.3.2",
            ["misprinted-oid", "unknown-system"],
        ),
    ],
)
def test_two_known_misprints_are_corrected(attributes: str, system: str, codes: list[str]) -> None:
    """Tables §5: no other wrong OID is repaired."""
    notes = Notes()
    found = datatypes.concept(element(f'code="A" {attributes}'), notes)
    assert found == {"coding": [{"system": system, "code": "A"}]}
    assert noted(notes) == codes


@pytest.mark.parametrize("oid", table("code_systems")["uris"])
def test_every_code_system_of_the_table_has_its_uri(oid: str) -> None:
    """Each row, read from a fragment, without a note."""
    notes = Notes()
    found = datatypes.concept(element(f'code="A" codeSystem="{oid}"'), notes)
    assert found == {"coding": [{"system": table("code_systems")["uris"][oid], "code": "A"}]}
    assert notes.issues == ()


def test_an_empty_code_is_nothing() -> None:
    """Neither coding nor text."""
    assert datatypes.concept(element('nullFlavor="NA"'), Notes()) is None
    assert datatypes.concept(None, Notes()) is None


@pytest.mark.parametrize(
    ("attributes", "content", "expected"),
    [
        (
            'use="L"',
            "<prefix>M</prefix><given>Jean</given><given>Luc</given><family>LE GALL</family><suffix>DR</suffix>",
            {"use": "official", "family": "LE GALL", "given": ["Jean", "Luc"], "prefix": ["M"], "suffix": ["DR"]},
        ),
        ("", "<family>A</family><family>B</family>", {"family": "A B"}),
        ("", "Jean\n LE GALL", {"text": "Jean LE GALL"}),
        ("", '<given nullFlavor="UNK"/><family>A</family>', {"family": "A"}),
        ("", "<given> </given><family>\u00a0</family>", None),
        ("", "<family>\u00a0L.\n\u00a0B. </family>", {"family": "\u00a0L. \u00a0B."}),
        ('nullFlavor="UNK"', "<family>A</family>", None),
        ("", "", None),
    ],
)
def test_a_name(attributes: str, content: str, expected: dict[str, Any] | None) -> None:
    """Parts, or the text where there are none."""
    assert datatypes.human_name(element(attributes, content)) == expected
    assert datatypes.human_name(None) is None


@pytest.mark.parametrize(
    ("attributes", "content", "expected"),
    [
        (
            'use="HP"',
            "<houseNumber>2</houseNumber><streetName>rue A</streetName><unitID>B</unitID><county>D</county>",
            {"use": "home", "line": ["2 rue A", "B"], "district": "D"},
        ),
        (
            "",
            "<streetAddressLine>1</streetAddressLine><streetAddressLine>2</streetAddressLine><postalCode>3</postalCode>",
            {"line": ["1", "2"], "postalCode": "3"},
        ),
        ("", "<state>S</state><country>FRANCE</country>", {"state": "S", "country": "FRANCE"}),
        ('use="WP"', "2 rue A, C", {"use": "work", "text": "2 rue A, C"}),
        ('nullFlavor="MSK"', "<city>C</city>", None),
        ('use="H"', '<city nullFlavor="UNK"/>', None),
    ],
)
def test_an_address(attributes: str, content: str, expected: dict[str, Any] | None) -> None:
    """Number and street are one line."""
    assert datatypes.address(element(attributes, content)) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('value="tel:+33-1" use="WP"', {"system": "phone", "value": "+33-1", "use": "work"}),
        ('value="tel:06" use="H MC"', {"system": "phone", "value": "06", "use": "mobile"}),
        ('value="mailto:a@example.org"', {"system": "email", "value": "a@example.org"}),
        ('value="fax:01"', {"system": "fax", "value": "01"}),
        ('value="https://example.org/a"', {"system": "url", "value": "https://example.org/a"}),
        ('value="xmpp:a"', {"system": "other", "value": "xmpp:a"}),
        ('value="0147"', {"system": "phone", "value": "0147"}),
        ('value="a@example.org"', {"system": "email", "value": "a@example.org"}),
        ('value="tel:"', None),
        ('nullFlavor="NI"', None),
        ("", None),
    ],
)
def test_a_telecom(attributes: str, expected: dict[str, Any] | None) -> None:
    """The scheme is the system; of several uses, mobile says most."""
    assert datatypes.contact_point(element(attributes)) == expected
