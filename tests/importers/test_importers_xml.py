"""Hostile XML is refused before it costs, with an issue that names why (importers §3)."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from fhir_server.errors import FhirServerError, Malformed, TooLarge, UnsupportedMediaType
from importers.limits import MB, Limits, Stopwatch
from importers.xml import parse, refuse_doctype

ISSUES = "https://example.org/fhir-server/CodeSystem/import-issue"
LIMITS = Limits()
HEAD, TAIL = b'<ClinicalDocument xmlns="urn:hl7-org:v3">', b"</ClinicalDocument>"


def refused(document: bytes, kind: type[FhirServerError], code: str, limits: Limits = LIMITS) -> None:
    """The document is refused with that kind of error and one coded issue."""
    with pytest.raises(kind) as error:
        parse(document, limits)
    assert [issue.coding for issue in error.value.issues] == [(ISSUES, code)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE a>",
        '<!DOCTYPE a [<!ENTITY x "y">]>',
        '<!DOCTYPE a SYSTEM "http://example.org/a.dtd">',
        "<!-- before --><?pi?>\n<!DOCTYPE a>",
    ],
)
def test_any_doctype_is_refused_in_any_encoding(doctype: str, encoding: str) -> None:
    """No CDA document needs one."""
    refused(f"{doctype}<a/>".encode(encoding), Malformed, "doctype")


def test_a_doctype_is_judged_on_the_parsed_document_too() -> None:
    """With `resolve_entities=False` a parse is silent about an external entity: its docinfo is not."""
    lax = etree.XMLParser(resolve_entities=False, no_network=True)
    root = etree.fromstring(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///nowhere">]><a>&x;</a>', lax)
    with pytest.raises(Malformed):
        refuse_doctype(root)
    refuse_doctype(etree.fromstring(b"<a/>", lax))


def test_the_word_doctype_in_a_text_is_no_doctype() -> None:
    """Inside CDATA or a comment it is only text."""
    assert parse(b"<a><!-- <!DOCTYPE b> --><![CDATA[<!DOCTYPE a>]]></a>", LIMITS).text == "<!DOCTYPE a>"


def test_an_external_entity_is_neither_read_nor_kept(tmp_path: Path) -> None:
    """XXE: the file stays unread, whatever the encoding."""
    secret = tmp_path / "secret"
    secret.write_text("confidential")
    document = f'<!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]><a>&x;</a>'
    refused(document.encode(), Malformed, "doctype")
    refused(document.encode("utf-16"), Malformed, "doctype")


def test_a_billion_laughs_are_refused() -> None:
    """Entities that multiply never get to."""
    entities = '<!ENTITY l0 "ha">' + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    refused(f"<!DOCTYPE a [{entities}]><a>&l9;</a>".encode(), Malformed, "doctype")
    refused(f'<!DOCTYPE a [{entities}]><a b="&l9;"/>'.encode("utf-16"), Malformed, "doctype")


def test_an_undeclared_entity_is_not_well_formed() -> None:
    """Without DOCTYPE only the five predefined entities exist."""
    refused(b"<a>&nbsp;</a>", Malformed, "not-well-formed")
    assert parse(b"<a>&lt;&#233;</a>", LIMITS).text == "<é"


def test_schema_locations_and_stylesheets_are_left_alone() -> None:
    """Processing instructions and comments do not reach the tree; a schemaLocation is an attribute like others."""
    document = (
        b'<?xml-stylesheet href="http://example.org/a.xsl"?><a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        b'xsi:schemaLocation="urn:hl7-org:v3 http://example.org/a.xsd"><?x?><!-- y --><b/></a>'
    )
    root = parse(document, LIMITS)
    assert [child.tag for child in root] == ["b"]
    assert root.getprevious() is None


def test_nesting_beyond_the_cap_is_refused() -> None:
    """64 levels pass, 65 do not, and neither does a bomb that libxml2 itself stops."""
    assert parse(b"<a>" * 64 + b"</a>" * 64, LIMITS).tag == "a"
    refused(b"<a>" * 65 + b"</a>" * 65, TooLarge, "limit:depth")
    refused(b"<a>" * 400_000, TooLarge, "limit:depth")


def test_too_many_elements_are_refused_before_the_parse() -> None:
    """5 million elements in 20 MB would take 600 MB."""
    refused(HEAD + b"<a/>" * 4_900_000 + TAIL, TooLarge, "limit:elements")
    assert len(parse(HEAD + b"<a/>" * 499_999 + TAIL, LIMITS)) == 499_999


def test_closing_tags_and_comments_are_not_elements() -> None:
    """The count is that of opening tags."""
    limits = Limits(elements=3)
    assert len(parse(b"<a><b></b><b></b><!-- x --><!-- y --></a>", limits)) == 2
    refused(b"<a><b></b><b></b><b></b></a>", TooLarge, "limit:elements", limits)


def test_too_many_attributes_on_one_element_are_refused() -> None:
    """65, 200,000, or as many as all caps before the parse let through; 64 pass."""
    for count in (65, 200_000, 499_999):
        attributes = " ".join(f'a{n}="1"' for n in range(count))
        refused(f"<ClinicalDocument {attributes}/>".encode(), TooLarge, "limit:attributes")
    nested = " ".join(f"a{n}='1'" for n in range(65))
    refused(f"<a><b/><b {nested}/></a>".encode("utf-16"), TooLarge, "limit:attributes")
    passing = " ".join(f'a{n} = "="' for n in range(64))
    assert len(parse(f"<a {passing} xmlns:b='c'><d {passing}/></a>".encode(), LIMITS).attrib) == 64


def test_equal_signs_in_a_text_are_no_attributes() -> None:
    """A narrative may draw lines."""
    assert parse(b"<a>" + b"= " * 500 + b"</a>", LIMITS).text == "= " * 500


def test_too_many_attributes_in_all_are_refused_before_the_parse() -> None:
    """Two on each of 480,000 elements would take 280 MB."""
    refused(HEAD + b'<a b="" c=""/>' * 480_000 + TAIL, TooLarge, "limit:all-attributes")


def test_a_document_beyond_its_size_is_refused_unread() -> None:
    """20 MB."""
    refused(b"<a>" + b" " * 20 * MB + b"</a>", TooLarge, "limit:xml-bytes")


def test_a_text_beyond_ten_million_characters_is_read() -> None:
    """The own caps stand in for the one of libxml2, which refuses an attachment of 7.5 MB."""
    assert len(parse(b"<a>" + b"QUJD" * 3_000_000 + b"</a>", LIMITS).text or "") == 12_000_000


@pytest.mark.parametrize(
    "prolog", [b"<!---->" * 200_000, b"<?a?>" * 200_000, b"<!--" * 200_000, b" " * 1_000_000 + b"<"]
)
def test_a_long_prolog_is_scanned_once(prolog: bytes) -> None:
    """No prolog is tried in every way: that would take minutes, not the milliseconds that one pass takes."""
    started = time.perf_counter()
    with contextlib.suppress(Malformed):
        parse(prolog + HEAD + TAIL, LIMITS)
    assert time.perf_counter() - started < 30


def test_refusing_a_bomb_takes_little_memory() -> None:
    """Far below 200 MB of Python's own, for 20 MB of elements."""
    document = HEAD + b"<a/>" * 4_900_000 + TAIL
    tracemalloc.start()
    refused(document, TooLarge, "limit:elements")
    assert tracemalloc.get_traced_memory()[1] < 10 * MB
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("<a/>".encode("utf-32"), "encoding"),
        (b'<?xml version="1.0" encoding="UTF-7"?><a/>', "encoding"),
        (b'<?xml version="1.0" encoding="UTF-16"?><a/>', "encoding"),
        (b'<?xml version="1.0" encoding="IBM037"?><a/>', "encoding"),
    ],
)
def test_other_encodings_are_refused(document: bytes, code: str) -> None:
    """An encoding in which the scan could miss markup is not read."""
    refused(document, UnsupportedMediaType, code)


def test_latin_encodings_are_read() -> None:
    """ISO 8859 and the Windows code pages write markup in ASCII."""
    assert parse('<?xml version="1.0" encoding="ISO-8859-15"?><a>é€</a>'.encode("iso-8859-15"), LIMITS).text == "é€"
    assert parse('<?xml version="1.0" encoding="windows-1252"?><a>é€</a>'.encode("cp1252"), LIMITS).text == "é€"


@pytest.mark.parametrize("document", [b"", b"<", b"<a>", b"<a></b>", b"<a/><b/>", b"<a>\x00</a>", b"<a>\xff</a>", b"x"])
def test_broken_xml_is_refused_with_its_place_and_without_its_text(document: bytes) -> None:
    """Line and column, nothing quoted."""
    refused(document, Malformed, "not-well-formed")
    with pytest.raises(Malformed) as error:
        parse(b"<a>\n<secret></other></a>", LIMITS)
    (issue,) = error.value.issues
    assert "line 2" in issue.diagnostics
    assert "secret" not in issue.diagnostics + issue.text


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 60))
def test_no_bytes_escape_the_vocabulary_of_errors(noise: bytes, position: int) -> None:
    """Whatever comes, an element or one of our errors: anything else fails the test by itself."""
    start = b'<?xml version="1.0" encoding="UTF-8"?><a b="c">text</a>'
    for document in (noise, start[:position] + noise + start[position:]):
        with contextlib.suppress(FhirServerError):
            assert isinstance(parse(document, LIMITS).tag, str)


def test_a_document_that_takes_too_long_is_refused() -> None:
    """The time spent before counts."""
    with pytest.raises(TooLarge) as error:
        Stopwatch(Limits(seconds=1), spent=2).check()
    assert error.value.issues[0].coding == (ISSUES, "limit:seconds")
    assert 0.5 <= Stopwatch(Limits(seconds=1), spent=0.5).check() < 1
