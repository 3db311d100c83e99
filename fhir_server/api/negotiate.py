"""Headers and query of an HTTP request, read into an interaction's Request."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from fhir_server.context import Request
from fhir_server.errors import Malformed, NotAcceptable, UnsupportedMediaType

JSON_TYPES: Final = frozenset({"application/fhir+json", "application/json", "text/json"})
_XML_TYPES: Final = frozenset({"application/fhir+xml", "application/xml", "text/xml"})
_FORMATS: Final = JSON_TYPES | {"json"}
_FORM: Final = "application/x-www-form-urlencoded"


class Headers:
    """Request headers by lower-case name; a header that comes twice is joined as RFC 9110 §5.3 says."""

    __slots__ = ("_all",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._all: dict[bytes, bytes] = {}
        for name, value in raw:
            self._all[name] = self._all[name] + b", " + value if name in self._all else value

    def get(self, name: str) -> str:
        """The value, "" when absent."""
        return self._all.get(name.encode(), b"").decode("latin-1")


def negotiated(scope: MutableMapping[str, Any], headers: Headers, body: bytes) -> Request:
    """The Request; raises NotAcceptable or UnsupportedMediaType when it is not JSON that is spoken."""
    path = tuple(unquote(part) for part in scope["raw_path"].decode("latin-1").split("/")[2:] if part)
    query = _pairs(scope["query_string"], "query")
    media = _media_type(headers.get("content-type"))
    method = scope["method"]
    if method == "POST" and path and path[-1] == "_search":
        if body and media != _FORM:
            raise UnsupportedMediaType(f"A search is posted as {_FORM}.", expression="Content-Type")
        query, body = query + _pairs(body, "body"), b""
    elif body and method != "PATCH":
        _check_content(path, media)
    accept = _accept(headers.get("accept"), query, raw=path[:1] == ("Binary",) and method in ("GET", "HEAD"))
    prefer = _prefer(headers.get("prefer"))
    return Request(
        method=method,
        path=path,
        query=query,
        body=body,
        content_type=media,
        accept=accept,
        if_match=headers.get("if-match").strip().removeprefix("W/").strip('"'),
        if_none_match=headers.get("if-none-match"),
        if_modified_since=headers.get("if-modified-since"),
        if_none_exist=headers.get("if-none-exist"),
        prefer=prefer.get("return", ""),
        strict=prefer.get("handling") == "strict",
    )


def _pairs(text: bytes, place: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=500))
    except ValueError as error:
        raise Malformed("The parameters cannot be decoded.", expression=place) from error


def _media_type(header: str) -> str:
    media, _, parameters = header.partition(";")
    version = _parameters(parameters).get("fhirversion", "4.0")
    if version not in ("4.0", "4.0.1"):
        raise UnsupportedMediaType("This server speaks FHIR 4.0.", expression="Content-Type")
    return media.strip().lower()


def _check_content(path: tuple[str, ...], media: str) -> None:
    """Operations and Binary take other content than FHIR; they judge it themselves."""
    if media in JSON_TYPES or (path[-1:] and path[-1].startswith("$")):
        return
    if path[:1] == ("Binary",) and media and media != "application/fhir+xml":
        return
    if media in _XML_TYPES:
        raise UnsupportedMediaType("FHIR in XML is not offered yet; send JSON.", expression="Content-Type")
    raise UnsupportedMediaType("Send application/fhir+json.", expression="Content-Type")


def _accept(header: str, query: tuple[tuple[str, str], ...], *, raw: bool) -> str:
    """What the client takes; `_format` wins over the header. A Binary may be asked for in any type."""
    formats = [value for name, value in query if name == "_format" and value.strip()]
    if formats:
        # A plus sign that the client forgot to escape has become a blank.
        if formats[-1].partition(";")[0].strip().lower().replace(" ", "+") not in _FORMATS:
            raise NotAcceptable("This server answers in JSON.", expression="_format")
        return "application/fhir+json"
    if raw or not header:
        return header
    for part in header.split(","):
        media, _, parameters = part.partition(";")
        given = _parameters(parameters)
        fits = media.strip().lower() in (*JSON_TYPES, "*/*", "application/*")
        if fits and given.get("q", "1") not in ("0", "0.0") and given.get("fhirversion", "4.0") in ("4.0", "4.0.1"):
            return header
    raise NotAcceptable("This server answers in application/fhir+json.", expression="Accept")


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _prefer(header: str) -> dict[str, str]:
    return _parameters(header.replace(",", ";"))
