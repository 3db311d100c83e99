"""An XDM archive of some documents: reproducible bytes, names of ISO 9660, one subset.

Source: IHE ITI TF-2 §3.32 (Distribute Document Set on Media), importers-tables §6.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from html import escape
from io import BytesIO
from typing import Final

from importers.export.ebrim import submit_objects_request
from importers.metadata import DocumentEntry, Registry

SUBSET: Final = "IHE_XDM/SUBSET01/"

_EXTENSIONS: Final = {
    "text/xml": "XML",
    "application/xml": "XML",
    "application/pdf": "PDF",
    "image/jpeg": "JPG",
    "image/png": "PNG",
    "image/tiff": "TIF",
    "application/rtf": "RTF",
    "text/rtf": "RTF",
    "text/plain": "TXT",
    "application/fhir+json": "JSN",
    "application/fhir+xml": "XML",
}
# The beginning of the time of zip: the same documents give the same bytes on any day.
_MOMENT: Final = (1980, 1, 1, 0, 0, 0)
_READABLE: Final = 0o644 << 16


def archive(registry: Registry, documents: Mapping[str, bytes]) -> bytes:
    """The zip of an archive; `documents` by the id of their entry.

    Name, size and hash of each document are put into its entry. Raises KeyError for an entry without a document.
    """
    entries = tuple(placed(each, documents[each.id], rank) for rank, each in enumerate(registry.entries, 1))
    metadata = submit_objects_request(replace(registry, entries=entries))
    members = [
        ("README.TXT", _readme(len(entries))),
        ("INDEX.HTM", _index(entries)),
        (f"{SUBSET}METADATA.XML", metadata),
    ]
    members += [(f"{SUBSET}{each.uri}", documents[each.id]) for each in entries]
    return _zipped(members)


def placed(entry: DocumentEntry, document: bytes, rank: int) -> DocumentEntry:
    """An entry with the name, the size and the hash of its document in an archive."""
    extension = _EXTENSIONS.get((entry.mime_type or "").lower(), "BIN")
    digest = hashlib.sha1(document, usedforsecurity=False).hexdigest()
    return replace(entry, uri=f"DOC{rank:05d}.{extension}", size=len(document), hash=digest)


def _zipped(members: Iterable[tuple[str, bytes]]) -> bytes:
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members:
            member = zipfile.ZipInfo(name, _MOMENT)
            member.compress_type, member.external_attr, member.create_system = zipfile.ZIP_DEFLATED, _READABLE, 3
            packed.writestr(member, data)
    return written.getvalue()


def _readme(count: int) -> bytes:
    text = f"Documents de santé : {count}\r\nLes métadonnées sont dans {SUBSET}METADATA.XML (IHE XDM).\r\n"
    return text.encode()


def _index(entries: Iterable[DocumentEntry]) -> bytes:
    """A page that names the documents: no title, which may be health data, only files and types."""
    links = (f'<a href="{SUBSET}{each.uri}">{each.uri}</a> {escape(each.mime_type or "")}' for each in entries)
    rows = "".join(f"<li>{each}</li>" for each in links)
    head = '<!DOCTYPE html><html lang="fr"><head><meta charset="utf-8"><title>IHE XDM</title></head>'
    return f"{head}<body><ul>{rows}</ul></body></html>".encode()
