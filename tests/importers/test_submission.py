"""Archives and requests opened: each document with what is said of it, nothing hostile, nothing mixed up."""

from __future__ import annotations

import stat
import zipfile
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from hashlib import sha1
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metadata_worlds import registries

from fhir_server.errors import FhirServerError, Invalid, Malformed, TooLarge, UnsupportedMediaType
from importers.export.ebrim import provide_and_register, submit_objects_request
from importers.export.xdm import archive
from importers.limits import Limits
from importers.metadata import Code, DocumentEntry, Registry, of_entry
from importers.submission import Submission, open_submission

PDF = b"%PDF-1.4 tiny"
ENTRY = DocumentEntry("urn:uuid:00000000-0000-4000-8000-000000000001", "application/pdf", title="Compte rendu")
OTHER = replace(ENTRY, id="urn:uuid:00000000-0000-4000-8000-000000000002")
FOLDER = "IHE_XDM/SUBSET01/"


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of those members."""
    written = BytesIO()
    with zipfile.ZipFile(written, "w", method) as packed:
        for name, data in members:
            packed.writestr(name, data)
    return written.getvalue()


def media(
    *members: tuple[str | zipfile.ZipInfo, bytes], entry: DocumentEntry = ENTRY, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """An archive whose metadata hold one entry."""
    metadata = submit_objects_request(Registry((entry,)))
    return zipped((f"{FOLDER}METADATA.XML", metadata), *members, method=method)


def code_of(found: Submission) -> str | None:
    """Why it is refused."""
    return found.refused.coding[1] if found.refused and found.refused.coding else None


def refused(pushed: bytes, limits: Limits | None = None) -> FhirServerError:
    """The error that refuses all of it."""
    with pytest.raises(FhirServerError) as caught:
        open_submission(pushed, limits)
    return caught.value


def detail(error: FhirServerError) -> str:
    """Code and diagnostics of the only issue."""
    (issue,) = error.issues
    return f"{issue.coding[1] if issue.coding else ''} {issue.diagnostics}"


def part(boundary: str, data: str, media_type: str, id: str, encoding: str) -> str:
    """One part of a message."""
    head = f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-ID: <{id}>\r\n"
    return f"{head}Content-Transfer-Encoding: {encoding}\r\n\r\n{data}\r\n"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    registries(),
    st.binary(min_size=1, max_size=200).filter(lambda each: not each.startswith((b"PK", b"\x1f", b"7z", b"Rar"))),
)
def test_an_archive_that_is_written_is_opened_as_it_was(written: Registry, document: bytes) -> None:
    """Equal metadata but for name, size and hash, which are those of the archive; the same bytes each time."""
    documents = {each.id: document for each in written.entries}
    data = archive(written, documents)
    assert archive(written, documents) == data
    found = open_submission(data)
    assert [each.document for each in found] == [document] * len(written.entries)
    for each, entry in zip(found, written.entries, strict=True):
        assert each.refused is None
        assert each.metadata
        placed = each.metadata.entry
        assert (placed.size, placed.hash) == (len(document), sha1(document).hexdigest())
        same = replace(placed, uri=entry.uri, size=entry.size, hash=entry.hash)
        assert replace(each.metadata, entry=same) == of_entry(entry, written)


def test_a_request_that_is_written_is_opened_with_its_documents() -> None:
    """Inline base64, by the id of the entry."""
    found = open_submission(provide_and_register(Registry((ENTRY, OTHER)), {OTHER.id: b"two", ENTRY.id: PDF}))
    assert [each.document for each in found] == [PDF, b"two"]


@pytest.mark.parametrize("boundary", ["uuid:1", "=_x"])
@pytest.mark.parametrize("head", ["", "POST /x HTTP/1.1\r\nHost: a\r\n", "log line\r\nPOST /x HTTP/1.1\r\n"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_the_parts_of_a_message_are_found(boundary: str, head: str, end: str) -> None:
    """XOP, the href percent-encoded, below request lines, a wrong boundary declared, a log behind."""
    request = provide_and_register(Registry((ENTRY,)), {ENTRY.id: b""}).decode()
    include = '<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:a%3Ab@c"/>'
    root = request.replace(
        f'<xds:Document id="{ENTRY.id}"></xds:Document>', f'<xds:Document id="{ENTRY.id}">{include}</xds:Document>'
    )
    assert include in root
    message = f'{head}Content-Type: multipart/related;\r\n boundary="other"; start="<root>"\r\n\r\n'
    message += part(boundary, "%PDF-", "application/pdf", "a:b@c", "binary")
    message += part(boundary, root, "application/xop+xml", "root", "8bit") + f"--{boundary}--and a log line"
    (found,) = open_submission(message.replace("\r\n", end).encode())
    assert (found.document, found.refused) == (b"%PDF-", None)


def test_a_part_in_base64_is_decoded_and_a_broken_one_refuses_the_message() -> None:
    """Strict alphabet."""
    for data, expected in ((b64encode(PDF).decode(), PDF), ("!!", None)):
        include = '<I xmlns="http://www.w3.org/2004/08/xop/include"/>'.replace("<I", '<Include href="cid:d"')
        root = (
            provide_and_register(Registry((ENTRY,)), {ENTRY.id: b""})
            .decode()
            .replace("></xds:Document>", f">{include}</xds:Document>")
        )
        message = part("b", root, "application/xop+xml", "r", "binary")
        message += part("b", data, "application/pdf", "d", "base64") + "--b--"
        if expected:
            assert open_submission(message.encode())[0].document == expected
        else:
            assert "bad-base64" in detail(refused(message.encode()))


def test_a_message_of_too_many_parts_is_refused() -> None:
    """The cap of an archive holds for the parts of a message."""
    parts = "--b\r\nContent-Type: application/xop+xml\r\n\r\n<SubmitObjectsRequest />\r\n" * 4 + "--b--"
    assert "limit:zip-members" in detail(refused(parts.encode(), Limits(zip_members=2)))


def test_each_document_that_does_not_hold_is_refused_alone() -> None:
    """Hash, size, no bytes, no metadata; the rest goes on."""
    right = replace(ENTRY, uri="A.PDF", size=len(PDF), hash=sha1(PDF).hexdigest().upper())
    entries = (
        right,
        replace(right, id="urn:uuid:b", hash="0" * 40),
        replace(right, id="urn:uuid:c", size=1),
        replace(right, id="urn:uuid:d", uri="NONE.PDF"),
        replace(right, id="urn:uuid:e", uri=None),
    )
    metadata = submit_objects_request(Registry(entries))
    found = open_submission(
        zipped((f"{FOLDER}METADATA.XML", metadata), (f"{FOLDER}A.PDF", PDF), (f"{FOLDER}LOST.PDF", PDF))
    )
    assert [code_of(each) for each in found] == [
        None,
        "hash-mismatch",
        "size-mismatch",
        "no-content",
        "no-content",
        "no-metadata",
    ]
    assert found[0].document == PDF
    lonely = provide_and_register(Registry((ENTRY,)), {ENTRY.id: PDF, "urn:uuid:x": PDF})
    assert [code_of(each) for each in open_submission(lonely)] == [None, "no-metadata"]
    broken = provide_and_register(Registry((ENTRY, OTHER)), {ENTRY.id: PDF, OTHER.id: PDF}).replace(
        b64encode(PDF), b"!!!!", 1
    )
    assert [code_of(each) for each in open_submission(broken)] == ["bad-base64", None]


def test_names_of_an_archive_are_read_in_any_case_and_every_subset() -> None:
    """ISO 9660 writes capitals, some software does not."""
    first, second = (submit_objects_request(Registry((replace(each, uri="Doc1.pdf"),))) for each in (ENTRY, OTHER))
    members = [("IHE_XDM/SUBSET02/METADATA.XML", second), ("IHE_XDM/SUBSET02/DOC1.PDF", b"2")]
    members += [("ihe_xdm/subset01/metadata.xml", first), ("ihe_xdm/subset01/doc1.pdf", b"1"), ("README.TXT", b"")]
    assert {each.document for each in open_submission(zipped(*members))} == {b"1", b"2"}


def test_a_zip_that_is_no_archive_of_documents_is_refused() -> None:
    """422: it is a zip, but not one of XDM; a broken one is 400."""
    assert isinstance(refused(zipped(("a.txt", b"x"))), Invalid)
    assert isinstance(refused(media((f"{FOLDER}A", b"x"))[:-30]), Malformed)
    assert isinstance(refused(b"PK\x03\x04nothing"), Malformed)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a\\b", "C:/x", "c:x", "..", "a/.."])
def test_a_name_that_leads_elsewhere_refuses_the_archive(name: str) -> None:
    """Absolute, climbing, backslash, drive."""
    error = refused(media((name, b"x")))
    assert isinstance(error, Malformed)
    assert "hostile-archive" in detail(error)


def test_a_name_with_a_nul_refuses_the_archive() -> None:
    """What one reader cuts off another one keeps."""
    pushed = media((f"{FOLDER}A_B", b"x")).replace(b"A_B", b"A\0B")
    assert "hostile-archive" in detail(refused(pushed))


def test_two_names_equal_but_for_case_refuse_the_archive() -> None:
    """Which of the two is meant, nobody can say."""
    assert "duplicate" in detail(refused(media((f"{FOLDER}A.PDF", b"x"), (f"{FOLDER}a.pdf", b"y"))))


def test_a_symbolic_link_refuses_the_archive() -> None:
    """By the mode of a Unix archiver."""
    link = zipfile.ZipInfo(f"{FOLDER}A.PDF")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "symbolic link" in detail(refused(media((link, b"/etc/passwd"))))


def test_encryption_refuses_the_archive() -> None:
    """The flag is enough."""
    pushed = bytearray(media((f"{FOLDER}A.PDF", PDF)))
    header = pushed.rfind(b"PK\x01\x02")
    pushed[header + 8] |= 1
    assert "encrypted" in detail(refused(bytes(pushed)))


def test_another_method_than_deflate_refuses_the_archive() -> None:
    """bzip2 and LZMA have other dangers."""
    assert "method" in detail(refused(media(method=zipfile.ZIP_BZIP2)))


def test_an_archive_inside_an_archive_is_refused() -> None:
    """Whatever it is called."""
    inside = media((f"{FOLDER}A.PDF", zipped(("x", b"y"))), entry=replace(ENTRY, uri="A.PDF"))
    assert "archive inside" in detail(refused(inside))


def test_what_a_member_inflates_to_is_counted_while_it_is_read() -> None:
    """Ratio, all bytes, members, the archive itself: 413 naming the cap."""
    bomb = media((f"{FOLDER}A.PDF", b"\0" * 5_000_000), entry=replace(ENTRY, uri="A.PDF"))
    assert len(bomb) < 20_000
    assert "limit:zip-ratio" in detail(refused(bomb))
    assert "limit:zip-inflated-bytes" in detail(refused(bomb, Limits(zip_ratio=10_000, zip_inflated_bytes=1_000_000)))
    assert "limit:zip-members" in detail(refused(zipped(*((f"{each}", b"") for each in range(101)))))
    assert "limit:zip-bytes" in detail(refused(bomb, Limits(zip_bytes=100)))
    assert all(isinstance(refused(bomb, each), TooLarge) for each in (None, Limits(zip_bytes=100)))


def test_a_size_that_lies_does_not_save_a_bomb() -> None:
    """The header says one byte; what comes out is counted."""
    pushed = bytearray(media((f"{FOLDER}A.PDF", b"\0" * 5_000_000), entry=replace(ENTRY, uri="A.PDF")))
    header = pushed.rfind(b"PK\x01\x02")
    pushed[header + 24 : header + 28] = (1).to_bytes(4, "little")
    assert isinstance(refused(bytes(pushed)), TooLarge | Malformed)


def test_hostile_metadata_are_refused_as_any_xml_is() -> None:
    """A DOCTYPE in METADATA.XML."""
    pushed = zipped((f"{FOLDER}METADATA.XML", b'<!DOCTYPE x [<!ENTITY e "e">]><SubmitObjectsRequest/>'))
    assert "doctype" in detail(refused(pushed))


@given(st.binary(max_size=300), st.integers(0, 2000), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_damaged_archive_is_refused_or_opened_and_never_crashes(noise: bytes, at: int, length: int) -> None:
    """Any bytes anywhere."""
    pushed = bytearray(archive(Registry((ENTRY,)), {ENTRY.id: PDF}))
    pushed[at : at + length] = noise
    with suppress(FhirServerError):
        open_submission(bytes(pushed))


def test_a_document_alone_has_no_metadata() -> None:
    """A PDF; what is no document at all is refused."""
    assert open_submission(PDF) == [Submission(PDF)]
    assert isinstance(refused(b"plain text"), UnsupportedMediaType)


def test_the_visibility_of_a_document_is_what_its_metadata_say() -> None:
    """For the labels of what is made of it."""
    hidden = replace(
        ENTRY, confidentiality=(Code("N", "2.16.840.1.113883.5.25"), Code("MASQUE_PS", "1.2.250.1.213.1.1.4.13"))
    )
    (found,) = open_submission(archive(Registry((hidden,)), {hidden.id: PDF}))
    assert found.metadata
    assert found.metadata.visibility == ("N", "MASQUE_PS")
