"""A file is what its content says."""

from __future__ import annotations

import pytest

from fhir_server.errors import UnsupportedMediaType
from importers.detect import Kind, detect

CDA = '<ClinicalDocument xmlns="urn:hl7-org:v3"/>'
SUBMIT = '<SubmitObjectsRequest xmlns="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"/>'
SOAP = '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{}</s:Body></s:Envelope>'
PROVIDE = '<x:ProvideAndRegisterDocumentSetRequest xmlns:x="urn:ihe:iti:xds-b:2007"/>'


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (CDA, Kind.CDA),
        (f'<?xml version="1.0"?>\n<!-- <other/> --><?a b?>\n{CDA}', Kind.CDA),
        ('<c:ClinicalDocument xmlns:c="urn:hl7-org:v3">', Kind.CDA),
        (SOAP.format(CDA), Kind.WRAPPED_CDA),
        (SOAP.format(PROVIDE), Kind.EBRIM),
        (SUBMIT, Kind.EBRIM),
        (f"--part\r\nContent-Type: application/xop+xml\r\n\r\n{SOAP.format(PROVIDE)}", Kind.EBRIM),
        (f"POST /xds HTTP/1.1\r\nHost: x\r\n\r\n--part\r\n\r\n{PROVIDE}", Kind.EBRIM),
        (f"a line of a log\r\nPOST /xds HTTP/1.1\r\n\r\n{PROVIDE}", Kind.EBRIM),
        ("<Bundle xmlns='http://hl7.org/fhir'/>", Kind.XML),
        ("<!-- only a comment -->", Kind.XML),
        ("PK\x03\x04rest", Kind.ZIP),
        ("PK\x05\x06", Kind.ZIP),
        ("%PDF-1.7", Kind.PDF),
        ("\n\njunk %PDF-1.7", Kind.PDF),
        (" " * 1024 + "%PDF-1.7", Kind.UNKNOWN),
        ('{"resourceType": "Bundle"}', Kind.UNKNOWN),
        ("--part\r\n\r\nnothing", Kind.UNKNOWN),
        ("MSH|^~\\&|", Kind.UNKNOWN),
        ("", Kind.UNKNOWN),
    ],
)
def test_the_kind_is_judged_by_content(text: str, kind: Kind) -> None:
    """CDA, wrapped CDA, ebRIM however it travels, zip, PDF near its start, other XML, anything else."""
    assert detect(text.encode()) is kind


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_encoding_of_xml_does_not_matter(encoding: str) -> None:
    """UTF-8 and UTF-16, with and without byte order mark."""
    assert detect(CDA.encode(encoding)) is Kind.CDA
    assert detect(SOAP.format(CDA).encode(encoding)) is Kind.WRAPPED_CDA


def test_xml_in_an_encoding_that_is_not_read_is_refused() -> None:
    """UTF-32 could hide markup from the caps."""
    with pytest.raises(UnsupportedMediaType) as refused:
        detect(CDA.encode("utf-32"))
    assert refused.value.issues[0].coding == ("https://example.org/fhir-server/CodeSystem/import-issue", "encoding")


def test_the_fixtures_are_what_they_say(level1: bytes, level3: bytes, wrapped: bytes) -> None:
    """Two documents, one of them inside a stylesheet."""
    assert [detect(each) for each in (level1, level3, wrapped)] == [Kind.CDA, Kind.CDA, Kind.WRAPPED_CDA]
