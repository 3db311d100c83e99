"""An issue of the importers names its place, has a code, and is noted once."""

from __future__ import annotations

import pytest
from lxml import etree

from fhir_server.errors import Invalid
from importers.issues import ISSUES, MESSAGES, REJECTIONS, Notes, issue, over_limit, place, refusal, rejection
from importers.limits import Limits

DOCUMENT = etree.fromstring(
    b'<x>\n<ClinicalDocument xmlns="urn:hl7-org:v3">\n<id/>\n<author><id/><id/></author></ClinicalDocument></x>'
)

# https://hl7.org/fhir/R4/valueset-issue-type.html, those used.
ISSUE_TYPES = {
    "code-invalid", "conflict", "exception", "forbidden", "incomplete", "invalid", "not-found", "not-supported",
    "required", "security", "structure", "value",
}  # fmt: skip


def test_a_place_is_told_from_the_clinical_document_with_the_rank_among_equals() -> None:
    """No namespace, no wrapping element."""
    document = DOCUMENT[0]
    assert place(document) == "/ClinicalDocument"
    assert place(document[0]) == "/ClinicalDocument/id"
    assert place(document[1][1]) == "/ClinicalDocument/author/id[2]"
    assert place(None) == ""


def test_an_issue_has_path_line_code_and_two_languages() -> None:
    """French text for the reader, English diagnostics with the line."""
    found = issue("bad-date", DOCUMENT[0][0], "detail")
    assert (found.expression, found.severity, found.code) == ("/ClinicalDocument/id", "warning", "value")
    assert found.coding == (ISSUES, "bad-date")
    assert found.text == "Date illisible, ignorée."
    assert found.diagnostics == "line 3: unreadable date, left out (detail)"


def test_a_rejection_has_the_code_of_the_french_record() -> None:
    """900 to 906 are of their own system, ours of another."""
    error = rejection("904", "birth_date")
    assert isinstance(error, Invalid)
    assert error.issues[0].coding == (REJECTIONS, "904")
    assert refusal(Invalid, "bad-base64").issues[0].coding == (ISSUES, "bad-base64")


def test_a_cap_is_named_with_its_maximum() -> None:
    """`limit:` and the name of the cap."""
    (found,) = over_limit("xml_bytes", 5).issues
    assert found.coding == (ISSUES, "limit:xml-bytes")
    assert "5" in found.diagnostics
    Limits(depth=3).hold("depth", 3)
    with pytest.raises(type(over_limit("depth", 3))):
        Limits(depth=3).hold("depth", 4)


def test_the_same_remark_at_the_same_place_is_made_once() -> None:
    """Order is kept."""
    notes = Notes()
    notes.add("bad-date", DOCUMENT[0][0])
    notes.add("no-timezone", DOCUMENT[0][0])
    notes.add("bad-date", DOCUMENT[0][0])
    notes.extend(notes.issues)
    assert [each.coding[1] for each in notes.issues if each.coding] == ["bad-date", "no-timezone"]


@pytest.mark.parametrize("code", MESSAGES)
def test_every_message_is_of_a_fhir_issue_type(code: str) -> None:
    """And of a severity that exists."""
    message = MESSAGES[code]
    assert message.type in ISSUE_TYPES
    assert message.severity in ("error", "warning", "information")
