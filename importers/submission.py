"""What was pushed, opened: every document in it, with what its envelope says of it.

A CDA document or a PDF is one document without metadata; an XDM archive and an ebRIM request hold any number with
theirs. What is wrong with one document refuses that document; what is wrong with the whole raises.
Source: IHE ITI XDM (TF-2 §3.32), XDS.b (ITI-41); importers page §2, §3 and §10.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from lxml import etree

from fhir_server.errors import Invalid, Issue, Malformed, UnsupportedMediaType
from importers.archive import Archive
from importers.cda.elements import attribute
from importers.detect import Kind, detect
from importers.ebrim import registry
from importers.issues import issue, refusal
from importers.limits import Limits
from importers.metadata import DocumentEntry, Metadata, Registry, of_entry
from importers.multipart import Part, parts
from importers.xml import parse

_SUBSET = re.compile(r"(IHE_XDM/[^/]+/)METADATA\.XML", re.IGNORECASE).fullmatch
_BLANKS: Final = b" \t\r\n"
_MARKUP: Final = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Submission:
    """One document: its bytes and its metadata, each where there are some; `refused` says why it cannot be taken."""

    document: bytes | None = field(repr=False)
    metadata: Metadata | None = None
    refused: Issue | None = None


def open_submission(pushed: bytes, limits: Limits | None = None) -> list[Submission]:
    """The documents of what was pushed, in the order of the metadata, each with a hash and a size that hold.

    Raises UnsupportedMediaType for what is no kind of document, Invalid for a zip that is no XDM archive and a request
    without one list of objects, Malformed for broken or hostile XML, zip and multipart, TooLarge for a cap.
    """
    limits = limits or Limits()
    kind = detect(pushed)
    if kind is Kind.ZIP:
        return _of_archive(Archive(pushed, limits), limits)
    if kind is Kind.EBRIM:
        return _of_request(pushed, limits)
    if kind in (Kind.CDA, Kind.WRAPPED_CDA, Kind.XML, Kind.PDF):
        # Other XML is told from a document, and what is wrong with it, when it is read.
        return [Submission(pushed)]
    raise refusal(UnsupportedMediaType, "not-a-document")


def _of_archive(archive: Archive, limits: Limits) -> list[Submission]:
    subsets = sorted((found[1], name) for name in archive.names if (found := _SUBSET(name)))
    if not subsets:
        raise refusal(Invalid, "not-a-document", detail="no IHE_XDM/*/METADATA.XML")
    return [each for folder, name in subsets for each in _of_subset(archive, folder, name, limits)]


def _of_subset(archive: Archive, folder: str, name: str, limits: Limits) -> Iterator[Submission]:
    objects = registry(parse(archive.read(name), limits))
    names = {each.casefold(): each for each in archive.names}
    left = {each for each in archive.names if each.startswith(folder) and each != name}
    for entry in objects.entries:
        member = names.get(f"{folder}{entry.uri}".casefold()) if entry.uri else None
        left.discard(member or "")
        yield _submission(entry, objects, archive.read(member) if member else None)
    for _ in sorted(left):
        yield Submission(None, refused=issue("no-metadata"))


def _of_request(pushed: bytes, limits: Limits) -> list[Submission]:
    """The documents of an ITI-41 request: inline, or in the parts of the message."""
    if pushed.lstrip(_BLANKS).startswith(_MARKUP):
        root, attached = parse(pushed, limits), {}
    else:
        message = parts(pushed, limits)
        root = parse(message[0].data.strip(_BLANKS), limits)
        attached = {each.id: each for each in message[1:] if each.id}
    objects = registry(root)
    documents = list(root.iter("{*}Document"))
    by_id: dict[str | None, etree._Element] = {attribute(each, "id"): each for each in reversed(documents)}
    found = [_inline(each, by_id.pop(each.id, None), objects, attached, limits) for each in objects.entries]
    return [*found, *(Submission(None, refused=issue("no-metadata", each)) for each in by_id.values())]


def _inline(
    entry: DocumentEntry,
    document: etree._Element | None,
    objects: Registry,
    attached: Mapping[str, Part],
    limits: Limits,
) -> Submission:
    try:
        data = None if document is None else _bytes_of(document, attached, limits)
    except Malformed as error:
        return Submission(None, of_entry(entry, objects), error.issues[0])
    return _submission(entry, objects, data)


def _bytes_of(document: etree._Element, attached: Mapping[str, Part], limits: Limits) -> bytes | None:
    """The bytes of a Document: the part its XOP Include names, else its own base64."""
    include = next(document.iterchildren("{*}Include"), None)
    if include is not None:
        part = attached.get(unquote((include.get("href") or "").removeprefix("cid:")))
        return part.data if part else None
    try:
        packed = (document.text or "").encode("ascii").translate(None, _BLANKS)
        limits.hold("xml_bytes", len(packed) // 4 * 3)
        return binascii.a2b_base64(packed, strict_mode=True) or None
    except (UnicodeEncodeError, binascii.Error):
        raise refusal(Malformed, "bad-base64", document) from None


def _submission(entry: DocumentEntry, objects: Registry, data: bytes | None) -> Submission:
    metadata = of_entry(entry, objects)
    if not data:
        return Submission(None, metadata, issue("no-content"))
    if entry.size is not None and entry.size != len(data):
        return Submission(data, metadata, issue("size-mismatch"))
    if entry.hash is not None and entry.hash != hashlib.sha1(data, usedforsecurity=False).hexdigest():
        return Submission(data, metadata, issue("hash-mismatch"))
    return Submission(data, metadata)
