"""Headers and query of an HTTP request, read into an interaction's Request, and how its answer is to be written.

Only JSON lives inside: XML is read here, and written in `responses`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from fhir_server.context import Request
from fhir_server.errors import Malformed, NotAcceptable, UnsupportedMediaType
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.xml_read import to_json

FHIR_JSON: Final = "application/fhir+json"
FHIR_XML: Final = "application/fhir+xml"
PATCH_TYPES: Final = ("application/json-patch+json", "application/xml-patch+xml", FHIR_JSON, FHIR_XML)
"""What a PATCH may bring; in a FHIR format, the Parameters of a FHIRPath Patch."""

_JSON: Final = (FHIR_JSON, "application/json", "text/json")
_XML: Final = (FHIR_XML, "application/xml", "text/xml")
_FORMATS: Final = {**dict.fromkeys((*_JSON, "json"), False), **dict.fromkeys((*_XML, "xml"), True)}
_FORM: Final = "application/x-www-form-urlencoded"
# Nearly every client sends one of these, and means JSON.
_PLAINLY: Final = frozenset({"", "*/*", FHIR_JSON, "application/json"})
_VERSIONS: Final = ("4.0", "4.0.1")
_ABOUT_FORM: Final = ("_format", "_pretty")
_quality = re.compile(r"(0(\.\d{0,3})?|1(\.0{0,3})?)").fullmatch


class Form(NamedTuple):
    """How an answer is written. `raw`: the content of a Binary is given out as it is; only refusals are in FHIR."""

    xml: bool = False
    pretty: bool = False
    raw: bool = False


PLAIN: Final = Form()


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


def answer_form(scope: MutableMapping[str, Any], headers: Headers) -> Form | None:
    """How to answer: `_format` wins over Accept (https://hl7.org/fhir/R4/http.html#mime-type). Never raises.

    None when the client takes neither JSON nor XML.
    """
    accept = headers.get("accept")
    query: bytes = scope["query_string"]
    content = _is_content(scope)
    asked: dict[str, str] = {}
    if b"_format" in query or b"_pretty" in query:
        asked = dict(parse_qsl(query.decode("latin-1")))
    elif accept in _PLAINLY and not content:
        return PLAIN
    pretty = asked.get("_pretty") == "true"
    format_ = asked.get("_format", "").partition(";")[0].strip().lower()
    if format_:
        # A plus sign that the client forgot to escape has become a blank.
        xml = _FORMATS.get(format_.replace(" ", "+"))
        return None if xml is None else Form(xml, pretty)
    xml, by_name = _liked(accept)
    if content and not by_name:
        return Form(xml or False, raw=True)
    return None if xml is None else Form(xml, pretty)


def negotiated(scope: MutableMapping[str, Any], headers: Headers, body: bytes, definitions: Definitions) -> Request:
    """The Request, in JSON. Raises NotAcceptable or UnsupportedMediaType when neither JSON nor XML is spoken, Malformed
    for XML that is no FHIR."""
    path = tuple(unquote(part) for part in scope["raw_path"].decode("latin-1").split("/")[2:] if part)
    query = _pairs(scope["query_string"], "query")
    media = _media_type(headers.get("content-type"))
    method = scope["method"]
    if method == "POST" and path and path[-1] == "_search":
        if body and media != _FORM:
            raise UnsupportedMediaType(f"A search is posted as {_FORM}.", expression="Content-Type")
        posted = _pairs(body, "body")
        # The answer is written when this body is long gone; what it says of the form goes where it will be looked for.
        asked = urlencode([pair for pair in posted if pair[0] in _ABOUT_FORM]).encode()
        scope["query_string"] = b"&".join(filter(None, (scope["query_string"], asked)))
        query, body = query + posted, b""
    elif body:
        media, body = _content(method, path, media, body, definitions)
    form = answer_form(scope, headers)
    if form is None:
        by = "_format" if any(name == "_format" for name, _ in query) else "Accept"
        raise NotAcceptable(f"This server answers in {FHIR_JSON} and {FHIR_XML}.", expression=by)
    prefer = _parameters(headers.get("prefer").replace(",", ";"))
    return Request(
        method=method,
        path=path,
        query=query,
        body=body,
        content_type=media,
        accept=headers.get("accept") if form.raw else FHIR_JSON,
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
    media, _, rest = header.partition(";")
    media, parameters = media.strip().lower(), _parameters(rest)
    if parameters.get("fhirversion", "4.0") not in _VERSIONS:
        raise UnsupportedMediaType("This server speaks FHIR 4.0.", expression="Content-Type")
    if media in (FHIR_JSON, FHIR_XML) and parameters.get("charset", "utf-8").lower() not in ("utf-8", "us-ascii"):
        raise UnsupportedMediaType("FHIR is in UTF-8.", expression="Content-Type")
    return media


def _content(
    method: str, path: tuple[str, ...], media: str, body: bytes, definitions: Definitions
) -> tuple[str, bytes]:
    """Media type and bytes of a body as the interactions take it, with FHIR in JSON.

    Operations, Binary and patches take other content too: they judge it, and XML that is not called FHIR is theirs.
    """
    binary = path[:1] == ("Binary",) and method != "PATCH"
    if media == FHIR_XML:
        converted = to_json(body, definitions)
        # Any content is taken as it is, FHIR too, but for a Binary itself (https://hl7.org/fhir/R4/binary.html#rest).
        keep = binary and not converted.startswith(b'{"resourceType":"Binary"')
        return (media, body) if keep else (FHIR_JSON, converted)
    if media in _JSON or method == "PATCH" or (binary and media) or (path and path[-1].startswith("$")):
        return media, body
    if media in _XML:
        return FHIR_JSON, to_json(body, definitions)
    raise UnsupportedMediaType(f"Send {FHIR_JSON} or {FHIR_XML}.", expression="Content-Type")


def _is_content(scope: MutableMapping[str, Any]) -> bool:
    """Whether the content of a Binary is asked for, in its current or in an earlier version."""
    path: str = scope["path"]
    return path.startswith("/fhir/Binary/") and scope["method"] in ("GET", "HEAD") and not path.endswith("/_history")


@lru_cache(maxsize=64)
def _liked(accept: str) -> tuple[bool | None, bool]:
    """Whether an Accept header likes XML better than JSON, None if it takes neither (RFC 9110 §12.5.1), and whether
    what it likes best is a format of FHIR by name: `text/xml` is not, being the content of many a Binary."""
    ranges = dict(_ranges(accept)) if accept else {"*/*": 1.0}
    otherwise = ranges.get("application/*", ranges.get("*/*", 0.0))
    json, xml = (max((ranges[name] for name in names if name in ranges), default=otherwise) for names in (_JSON, _XML))
    best = max(ranges, key=lambda name: ranges[name], default="")
    by_name = best in (*_JSON, FHIR_XML) and ranges[best] > 0
    return (None if json == xml == 0 else xml > json), by_name


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """The media ranges of an Accept header and how much each is liked, 0 to 1; those of another FHIR left out."""
    for part in accept.split(","):
        media, _, rest = part.partition(";")
        parameters = _parameters(rest)
        if parameters.get("fhirversion", "4.0") in _VERSIONS:
            quality = parameters.get("q", "1")
            yield media.strip().lower(), float(quality) if _quality(quality) else 1.0


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
