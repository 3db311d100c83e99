"""A multipart/related message with XOP attachments, as it travels or as a log keeps it, apart into its parts.

HTTP request lines may stand before it and anything after its last boundary; the boundary that stands in the body wins
over the one a header declares. Source: RFC 2046 §5.1, RFC 2387, W3C XOP.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final

from fhir_server.errors import Malformed
from importers.issues import over_limit, refusal
from importers.limits import Limits

_HEAD: Final = 64 * 1024
_DECLARED = re.compile(rb'(?i)boundary\s*=\s*"?([^"\s;]{1,70})').search
_FIRST = re.compile(rb"(?m)^--([^\s-][^\s]{0,69})[ \t]*\r?$").search
_START = re.compile(rb'(?i)\bstart\s*=\s*"?<?([^">;\s]{1,998})').search
_BLANK = re.compile(rb"\r?\n\r?\n").search
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LINE = re.compile(rb"\r?\n")
_BLANKS: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its Content-ID without brackets, its Content-Type, its bytes."""

    id: str | None
    media_type: str
    data: bytes


def parts(message: bytes, limits: Limits) -> list[Part]:
    """The parts of a message, the root part first.

    Raises Malformed (`not-well-formed`) without boundary or parts, or for a transfer encoding that is not read;
    TooLarge for `zip_members` parts or `attachment_bytes` of one.
    """
    boundary = _boundary(message)
    if boundary is None:
        raise refusal(Malformed, "not-well-formed", detail="no boundary")
    pieces = _pieces(message, boundary, limits)
    found = [_part(each, limits) for each in pieces]
    if not found:
        raise refusal(Malformed, "not-well-formed", detail="no part")
    start = _START(message[: message.find(b"--" + boundary)])
    named = start[1].decode("latin-1") if start else None
    root = next((each for each in found if each.id == named), found[0])
    return [root, *(each for each in found if each is not root)]


def _boundary(message: bytes) -> bytes | None:
    """The boundary the body begins with; the declared one if it is used."""
    declared = _DECLARED(message, 0, _HEAD)
    if declared and re.search(rb"(?m)^--" + re.escape(declared[1]), message):
        return declared[1]
    first = _FIRST(message, 0, _HEAD)
    return first[1] if first else None


def _pieces(message: bytes, boundary: bytes, limits: Limits) -> list[bytes]:
    """What stands between the delimiters, without the line break that belongs to each."""
    delimiter = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--|[ \t]*(?=\r?\n))")
    pieces: list[bytes] = []
    start = None
    for found in delimiter.finditer(message):
        if start is not None:
            pieces.append(message[start : found.start()])
        if len(pieces) > limits.zip_members:
            raise over_limit("zip_members", limits.zip_members)
        if found[1] == b"--":
            return pieces
        start = found.end()
    if start is not None:
        pieces.append(message[start:])
    return pieces


def _part(piece: bytes, limits: Limits) -> Part:
    blank = _BLANK(piece)
    if blank is None:
        raise refusal(Malformed, "not-well-formed", detail="a part without headers")
    headers = _headers(piece[: blank.start()])
    data = _decoded(piece[blank.end() :], headers.get("content-transfer-encoding", "binary").lower(), limits)
    identifier = headers.get("content-id", "").strip().removeprefix("<").removesuffix(">")
    media_type = headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    return Part(identifier or None, media_type, data)


def _headers(head: bytes) -> dict[str, str]:
    lines = _LINE.split(_FOLD.sub(b" ", head))
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def _decoded(data: bytes, encoding: str, limits: Limits) -> bytes:
    try:
        if encoding == "base64":
            data = binascii.a2b_base64(data.translate(None, _BLANKS), strict_mode=True)
        elif encoding not in ("binary", "8bit", "7bit"):
            raise refusal(Malformed, "encoding", detail="transfer encoding")
    except binascii.Error:
        raise refusal(Malformed, "bad-base64") from None
    if len(data) > limits.xml_bytes:
        raise over_limit("xml_bytes", limits.xml_bytes)
    return data
