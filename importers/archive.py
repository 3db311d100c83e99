"""A zip from outside, read in memory without trusting it: no member name ever reaches a file system.

Refused whole: names that are absolute, climb, or have a drive, a backslash or a NUL; names that are equal but for case;
symbolic links, encryption, methods other than stored and DEFLATE, archives inside. What a member inflates to is counted
while it is read, whatever its header says. Source: PKWARE APPNOTE 6.3, importers page §3.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from io import BytesIO
from typing import Final

from fhir_server.errors import Malformed
from importers.issues import refusal
from importers.limits import Limits

_CHUNK: Final = 64 * 1024
_ENCRYPTED: Final = 0x1
_CENTRAL_HEADER: Final = b"PK\x01\x02"
_METHODS: Final = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
# A few bytes of text compress a hundredfold and harm nobody.
_HARMLESS: Final = 64 * 1024
_DRIVE = re.compile(r"[A-Za-z]:").match
_ARCHIVES: Final = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!")
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError)


class Archive:
    """The members of a zip by their exact names."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        """Raises TooLarge for `zip_bytes` and `zip_members`, Malformed for a broken or a hostile archive."""
        limits.hold("zip_bytes", len(data))
        # Before any of them is read: a million empty members fit into fifty megabytes.
        limits.hold("zip_members", data.count(_CENTRAL_HEADER))
        self._limits, self._inflated = limits, 0
        try:
            self._zip = zipfile.ZipFile(BytesIO(data))
        except (*_BROKEN, ValueError):
            raise refusal(Malformed, "not-well-formed", detail="zip") from None
        members = self._zip.infolist()
        for each in members:
            _judge(each)
        if len({each.orig_filename.casefold() for each in members}) < len(members):
            raise refusal(Malformed, "hostile-archive", detail="duplicate names")
        self._members = {each.orig_filename: each for each in members if not each.is_dir()}

    @property
    def names(self) -> list[str]:
        """The names of its files, in their order."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises KeyError for no such name, TooLarge for a cap, Malformed if it is hostile."""
        member = self._members[name]
        chunks, size = [], 0
        try:
            with self._zip.open(member) as stream:
                while chunk := stream.read(_CHUNK):
                    chunks.append(chunk)
                    size += len(chunk)
                    self._count(len(chunk), size, member.compress_size)
        except _BROKEN:
            raise refusal(Malformed, "not-well-formed", detail="zip member") from None
        data = b"".join(chunks)
        if data.startswith(_ARCHIVES):
            raise refusal(Malformed, "hostile-archive", detail="archive inside")
        return data

    def _count(self, more: int, size: int, packed: int) -> None:
        self._inflated += more
        self._limits.hold("zip_inflated_bytes", self._inflated)
        if size > _HARMLESS:
            self._limits.hold("zip_ratio", size / max(packed, 1))


def _judge(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or name.startswith("/") or _DRIVE(name) or ".." in parts:
        raise refusal(Malformed, "hostile-archive", detail="name")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise refusal(Malformed, "hostile-archive", detail="symbolic link")
    if member.flag_bits & _ENCRYPTED:
        raise refusal(Malformed, "hostile-archive", detail="encrypted")
    if member.compress_type not in _METHODS:
        raise refusal(Malformed, "hostile-archive", detail="compression method")
