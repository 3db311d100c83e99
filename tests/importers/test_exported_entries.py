"""A stored document as registry metadata and back: names, codes, times and people stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers import coded
from importers.cda.document import Conversion, convert, read
from importers.cda.header import Part
from importers.export.entries import document_entry, entry_id, relations, submission
from importers.export.xdm import archive
from importers.issues import Notes
from importers.metadata import Association, Code, Identifier, SubmissionSet
from importers.reference import document_reference
from importers.submission import open_submission

INS = Identifier("279035121518989", "1.2.250.1.213.1.4.10", "NH")
SET = SubmissionSet("set", "1.2.3.4", "1.2.3", INS, submission_time="20260106083000", content_type=Code("04"))
NOW = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)

Judge = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def converted(level1: bytes) -> Conversion:
    """The consultation report of the fixtures."""
    return convert(read(level1), subject="Patient/p1", imported_at=NOW)


def test_a_stored_document_goes_out_and_comes_in_with_the_same_metadata(converted: Conversion, level1: bytes) -> None:
    """DocumentReference → DocumentEntry → ebRIM → XDM → DocumentEntry, and the document to the byte."""
    entry = document_entry(converted.document_reference, INS)
    registry = submission([entry], SET)
    (found,) = open_submission(archive(registry, {entry.id: level1}))
    assert found.refused is None
    assert found.document == level1
    assert found.metadata
    assert found.metadata.entry.hash == entry.hash
    assert found.metadata.entry.size == entry.size == len(level1)
    assert found.metadata.submission_set == SET
    assert found.metadata.entry.authors == entry.authors
    assert [each.set_status for each in found.metadata.associations] == ["Original"]


def test_an_entry_says_of_a_document_what_its_reference_says(converted: Conversion) -> None:
    """OIDs for URIs, UTC for offsets, the French identifiers of its people."""
    reference = converted.document_reference
    entry = document_entry(reference, INS)
    coding = reference["type"]["coding"][0]
    assert entry.type_code == Code(coding["code"], "2.16.840.1.113883.6.1", coding.get("display"))
    assert coded.master_identifier(entry.unique_id or "") == reference["masterIdentifier"]
    assert entry.creation_time == coded.timestamp(reference["content"][0]["attachment"]["creation"])
    (author, *_) = entry.authors
    assert author.person
    assert author.person.identifier
    assert author.person.identifier.kind == "IDNPS"
    assert author.institutions[0].identifier
    assert author.institutions[0].identifier.kind == "IDNST"
    assert entry_id(reference) == entry.id


def test_the_state_of_a_document_is_the_status_of_its_entry(converted: Conversion) -> None:
    """Superseded is Deprecated, archived is Archived."""
    reference = converted.document_reference
    archived = {
        "url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived",
        "valueBoolean": True,
    }
    forms = [reference, {**reference, "status": "superseded"}, {**reference, "extension": [archived]}]
    assert [document_entry(each, INS).status for each in forms] == ["Approved", "Deprecated", "Archived"]


def test_what_a_document_replaces_is_an_association(converted: Conversion) -> None:
    """To the entry of the one replaced, where it is known."""
    target = {"reference": "DocumentReference/old"}
    reference = {**converted.document_reference, "relatesTo": [{"code": "replaces", "target": target}]}
    expected = Association("RPLC", entry_id(reference), "urn:uuid:old")
    assert relations(reference, {"DocumentReference/old": "urn:uuid:old"}) == [expected]
    assert relations(reference, {}) == []


def test_a_document_that_is_no_cda_is_described_by_its_metadata(converted: Conversion, is_r4: Judge) -> None:
    """Valid R4, and the same entry comes of it again."""
    entry = document_entry(converted.document_reference, INS)
    part = Part("application/pdf", "Binary/b", 7, "2jmj7l5rSw0yVb/vlWAYkK/YBwk=")
    made = document_reference(entry, part, Notes(), subject="Patient/p1", imported_at=NOW)
    is_r4(made)
    again = document_entry(made, INS)
    for name in ("id", "unique_id", "status", "type_code", "class_code", "facility_type", "practice_setting", "title"):
        assert getattr(again, name) == getattr(entry, name), name
    assert again.creation_time == entry.creation_time
    assert [each.person for each in again.authors] == [each.person for each in entry.authors]


@pytest.mark.parametrize(
    ("unique_id", "identifier"),
    [
        ("1.2.3.4", {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3.4"}),
        ("1.2.3.4^doc7", {"system": "urn:oid:1.2.3.4", "value": "doc7"}),
        ("urn:oid:1.2.3.4", {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3.4"}),
        ("$placeholder", {"value": "$placeholder"}),
    ],
)
def test_a_unique_id_is_a_master_identifier(unique_id: str, identifier: dict[str, str]) -> None:
    """With and without extension; what is neither stays what it is."""
    assert coded.master_identifier(unique_id) == identifier
    assert coded.unique_id(identifier) == unique_id.removeprefix("urn:oid:")


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)), st.sampled_from([4, 6, 8, 12, 14]))
def test_a_time_of_the_metadata_is_utc_and_keeps_its_precision(moment: datetime, digits: int) -> None:
    """Back and forth; minutes get their seconds."""
    written = moment.strftime("%Y%m%d%H%M%S")[:digits]
    assert coded.timestamp(coded.moment(written)) == written.ljust(14 if digits == 12 else 0, "0")


@pytest.mark.parametrize("written", [None, "", "20231", "99999999", "2023-01-01", "x"])
def test_a_time_that_is_none_is_left_out(written: str | None) -> None:
    """Never a date that is not there."""
    assert coded.moment(written) is None


def test_a_time_with_an_offset_is_that_moment() -> None:
    """XDS has none, some senders do; an hour alone is no precision of R4."""
    assert coded.moment("20090928094914+0100") == "2009-09-28T09:49:14+01:00"
    assert coded.timestamp("2009-09-28T09:49:14+01:00") == "20090928084914"
    assert coded.moment("2009092809") == "2009-09-28"


def test_the_coding_scheme_is_an_oid_both_ways() -> None:
    """Known systems by their URI, unknown OIDs as URNs, mere names not at all."""
    assert coded.system_of("2.16.840.1.113883.6.1") == "http://loinc.org"
    assert coded.scheme_of("http://loinc.org") == "2.16.840.1.113883.6.1"
    assert coded.system_of("1.2.3") == "urn:oid:1.2.3"
    assert coded.scheme_of("urn:oid:1.2.3") == "1.2.3"
    assert coded.system_of("Connect-a-thon classCodes") is None


@pytest.mark.shared_data
def test_every_published_french_document_can_be_exported_and_opened(shared_data: Path) -> None:
    """One archive for each; uniqueId, hash and title as they were."""
    for each in sorted((shared_data / "cda" / "fr").glob("*/*.xml")):
        data = each.read_bytes()
        entry = document_entry(convert(read(data), subject="Patient/p1", imported_at=NOW).document_reference, INS)
        (found,) = open_submission(archive(submission([entry], SET), {entry.id: data}))
        assert (found.refused, found.document) == (None, data), each.name
        assert found.metadata
        assert (found.metadata.entry.unique_id, found.metadata.entry.hash) == (entry.unique_id, entry.hash), each.name
