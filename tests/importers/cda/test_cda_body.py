"""A body is counted, and the content of a level-1 body is decoded only if it is what it says (importers §3)."""

from __future__ import annotations

from base64 import b64encode

import pytest
from lxml import etree

from fhir_server.errors import FhirServerError, Invalid, TooLarge
from importers.cda.body import OCTETS, Body, Content, read_body
from importers.issues import Notes
from importers.limits import MB, Limits
from importers.xml import parse

PDF = b"%PDF-1.4 x"


def document(body: str) -> etree._Element:
    """A document that is all body."""
    return parse(f'<ClinicalDocument xmlns="urn:hl7-org:v3">{body}</ClinicalDocument>'.encode(), Limits())


def opaque(attributes: str, content: str, notes: Notes | None = None, limits: Limits | None = None) -> Content | None:
    """The content of a level-1 body with one text."""
    whole = f"<component><nonXMLBody><text {attributes}>{content}</text></nonXMLBody></component>"
    return read_body(document(whole), limits or Limits(), notes or Notes()).content


def base64(data: bytes) -> str:
    """In base64."""
    return b64encode(data).decode()


def test_a_structured_body_is_counted() -> None:
    """Level 3 with entries, level 2 without."""
    section = "<component><section><title>A</title>{}</section></component>"
    body = "<component><structuredBody>{}</structuredBody></component>"
    nested = section.format("<entry/><entry/>" + section.format("<entry/>"))
    assert read_body(document(body.format(nested)), Limits(), Notes()) == Body(3, sections=2, entries=3)
    assert read_body(document(body.format(section.format(""))), Limits(), Notes()) == Body(2, sections=1)


@pytest.mark.parametrize("body", ["", "<component/>", "<component><other/></component>"])
def test_a_document_without_body_is_refused(body: str) -> None:
    """906."""
    with pytest.raises(Invalid) as error:
        read_body(document(body), Limits(), Notes())
    assert error.value.issues[0].coding
    assert error.value.issues[0].coding[1] == "906"


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("application/pdf", PDF),
        ("image/jpeg", b"\xff\xd8\xff\xe0rest"),
        ("image/png", b"\x89PNG\r\n\x1a\nrest"),
        ("image/tiff", b"II*\x00rest"),
        ("image/tiff", b"MM\x00*rest"),
        ("application/rtf", rb"{\rtf1 x}"),
        ("text/rtf", rb"{\rtf1 x}"),
        ("text/plain", "Très bien,\n\tmerci".encode()),
        ("text/plain", "Très bien €".encode("cp1252")),
        ("text/xml", b"\xef\xbb\xbf <a/>"),
        ("text/xml", "<a/>".encode("utf-16")),
    ],
)
def test_a_content_that_agrees_with_its_type_is_kept(media_type: str, data: bytes) -> None:
    """Decoded to the byte, white space in the base64 removed."""
    packed = base64(data)
    spaced = f"\n  {packed[:4]}\r\n\t{packed[4:]}  "
    assert opaque(f'mediaType="{media_type}" representation="B64"', spaced) == Content(media_type, data)


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("application/pdf", b"MZ\x90"),
        ("application/pdf", b" %PDF-1.4"),
        ("image/jpeg", b"\x89PNG\r\n\x1a\n"),
        ("image/png", b"\xff\xd8\xff"),
        ("image/tiff", b"II+\x00"),
        ("application/rtf", b"rtf"),
        ("text/plain", b"a\x00b"),
        ("text/plain", b"a\x81b"),
        ("text/xml", b"{}"),
    ],
)
def test_a_content_that_disagrees_with_its_type_is_refused(media_type: str, data: bytes) -> None:
    """Judged by its first bytes; a text must be decodable and hold no control character."""
    with pytest.raises(Invalid) as error:
        opaque(f'mediaType="{media_type}" representation="B64"', base64(data))
    (issue,) = error.value.issues
    assert issue.coding
    assert issue.coding[1] == "media-mismatch"
    assert issue.expression == "/ClinicalDocument/component/nonXMLBody/text"


@pytest.mark.parametrize("packed", ["QUJ", "QUJD=", "Q!JD", "QUJD\u00e9", "QQ==QQ==", "=QUJ", "QUJ_", "ＱＵＪＤ"])
def test_what_is_not_strict_base64_is_refused(packed: str) -> None:
    """Length, alphabet and padding."""
    with pytest.raises(Invalid) as error:
        opaque('mediaType="text/plain" representation="B64"', packed)
    assert error.value.issues[0].coding
    assert error.value.issues[0].coding[1] == "bad-base64"


@pytest.mark.parametrize("media_type", ["text/html", "application/zip", "image/svg+xml", "application/x-msdownload"])
def test_a_type_outside_the_list_is_kept_as_octets(media_type: str) -> None:
    """Nothing a browser would run keeps its name."""
    notes = Notes()
    found = opaque(f'mediaType="{media_type}" representation="B64"', base64(b"<script>"), notes)
    assert found == Content(OCTETS, b"<script>")
    assert [each.coding[1] for each in notes.issues if each.coding] == ["unknown-media"]


def test_a_compressed_content_is_kept_as_octets() -> None:
    """Nothing is inflated."""
    found = opaque('mediaType="text/plain" representation="B64" compression="GZ"', base64(b"\x1f\x8b\x08"))
    assert found == Content(OCTETS, b"\x1f\x8b\x08")


def test_a_text_written_as_such_is_its_own_content() -> None:
    """Without `representation` the content is the text, of type text/plain unless said otherwise."""
    assert opaque("", " Très bien ") == Content("text/plain", "Très bien".encode())
    assert opaque('mediaType="TEXT/PLAIN; charset=utf-8"', "a") == Content("text/plain", b"a")


@pytest.mark.parametrize("content", ["", "  \n "])
def test_an_empty_content_is_refused(content: str) -> None:
    """DOC-5: zero bytes."""
    for representation in ("B64", "TXT"):
        with pytest.raises(Invalid) as error:
            opaque(f'mediaType="application/pdf" representation="{representation}"', content)
        assert error.value.issues[0].coding
        assert error.value.issues[0].coding[1] == "empty-body"
    with pytest.raises(Invalid):
        read_body(document("<component><nonXMLBody/></component>"), Limits(), Notes())


def test_a_content_elsewhere_is_not_fetched() -> None:
    """A reference leaves level 1 without content, and that is noted."""
    notes = Notes()
    assert opaque('mediaType="application/pdf"', '<reference value="http://example.org/a.pdf"/>', notes) is None
    assert [each.coding[1] for each in notes.issues if each.coding] == ["external-content"]


def test_an_attachment_beyond_its_cap_is_refused_undecoded() -> None:
    """Ten megabytes decoded pass, one byte more does not, in base64 or as text."""
    packed = base64(PDF + b"\x00" * (10 * MB - len(PDF)))
    found = opaque('mediaType="application/pdf" representation="B64"', packed)
    assert found is not None
    assert len(found.data) == 10 * MB
    refused: list[FhirServerError] = []
    for representation, content in (("B64", base64(PDF + b"\x00" * 10 * MB)), ("TXT", "a" * (10 * MB + 1))):
        with pytest.raises(TooLarge) as error:
            opaque(f'mediaType="text/plain" representation="{representation}"', content)
        refused.append(error.value)
    assert [each.issues[0].coding for each in refused] == [
        ("https://example.org/fhir-server/CodeSystem/import-issue", "limit:attachment-bytes")
    ] * 2
