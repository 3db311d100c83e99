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
from fhir_server.fhir.xml.read import to_json

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
_READS: Final = ("GET", "HEAD")
_ASKING: Final = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-none-exist", b"prefer"})
_MAKING: Final = frozenset({b"if-none-exist"})
_ASKS_NOTHING: Final = ("", "", "", "", "", False)
_quality = re.compile(r"(0(\.\d{0,3})?|1(\.0{0,3})?)").fullmatch


class Form(NamedTuple):
    """How an answer is written. `raw`: the content of a Binary is given out as it is; only refusals are in FHIR."""

    xml: bool = False
    pretty: bool = False
    raw: bool = False


PLAIN: Final = Form()


class Head:
    """What an HTTP request says before its body. `form`: how to answer; None when the client takes neither JSON nor
    XML."""

    __slots__ = ("_headers", "form", "method", "path", "query", "raw_path")

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope["raw_path"]
        self.query: bytes = scope["query_string"]
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        self._headers = dict(raw)
        if len(self._headers) < len(raw):
            self._headers = _joined(raw)
        self.form = answer_form(self)

    def get(self, name: bytes) -> str:
        """The header of that name in lower case, "" when absent."""
        value = self._headers.get(name)
        return value.decode("latin-1") if value else ""

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether one of these headers is there."""
        return not names.isdisjoint(self._headers)


def answer_form(head: Head) -> Form | None:
    """How to answer: `_format` wins over Accept (https://hl7.org/fhir/R4/http.html#mime-type). Never raises."""
    accept, query = head.get(b"accept"), head.query
    content = _is_content(head)
    asked: dict[str, str] = {}
    if query and (b"_format" in query or b"_pretty" in query):
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


def negotiated(head: Head, body: bytes, definitions: Definitions) -> Request:
    """The Request, in JSON. Raises NotAcceptable or UnsupportedMediaType when neither JSON nor XML is spoken, Malformed
    for XML that is no FHIR."""
    path = _path(head.raw_path)
    query = _pairs(head.query, "query") if head.query else ()
    media = _media_type(head.get(b"content-type"))
    if head.method == "POST" and path and path[-1] == "_search":
        if body and media != _FORM:
            raise UnsupportedMediaType(f"A search is posted as {_FORM}.", expression="Content-Type")
        posted = _pairs(body, "body")
        # What the body says of the form counts as if the url said it.
        asked = urlencode([pair for pair in posted if pair[0] in _ABOUT_FORM]).encode()
        head.query = b"&".join(filter(None, (head.query, asked)))
        head.form = answer_form(head)
        query, body = query + posted, b""
    elif body:
        media, body = _content(head.method, path, media, body, definitions)
    if head.form is None:
        by = "_format" if any(name == "_format" for name, _ in query) else "Accept"
        raise NotAcceptable(f"This server answers in {FHIR_JSON} and {FHIR_XML}.", expression=by)
    accept = head.get(b"accept") if head.form.raw else FHIR_JSON
    asks = _asks(head) if head.has_any(_ASKING) else _ASKS_NOTHING
    return Request(head.method, path, query, body, media, accept, *asks, language=head.get(b"accept-language"))


def _path(raw: bytes) -> tuple[str, ...]:
    """The segments under the FHIR base."""
    segments = raw.decode("latin-1").split("/")[2:]
    if b"%" in raw:
        segments = [unquote(each) for each in segments]
    return tuple(filter(None, segments))


def _asks(head: Head) -> tuple[str, str, str, str, str, bool]:
    """The last fields of a Request: under which conditions, and what is preferred."""
    prefer = _parameters(head.get(b"prefer").replace(",", ";"))
    return (
        head.get(b"if-match").strip().removeprefix("W/").strip('"'),
        head.get(b"if-none-match"),
        head.get(b"if-modified-since"),
        _criteria(head),
        prefer.get("return", ""),
        prefer.get("handling") == "strict",
    )


def _criteria(head: Head) -> str:
    """If-None-Exist. Whoever sends it without criteria did not mean a create without a condition."""
    criteria = head.get(b"if-none-exist")
    if not criteria and head.has_any(_MAKING):
        raise Malformed("Search criteria are expected.", expression="If-None-Exist")
    return criteria


def _joined(raw: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """By name; a header that comes twice is joined as RFC 9110 §5.3 says."""
    headers: dict[bytes, bytes] = {}
    for name, value in raw:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _pairs(text: bytes, place: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=500))
    except ValueError as error:
        raise Malformed("The parameters cannot be decoded.", expression=place) from error


@lru_cache(maxsize=64)
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


def _is_content(head: Head) -> bool:
    """Whether the content of a Binary is asked for, in its current or in an earlier version, or an archive."""
    if head.path.endswith("/$xdm"):
        return True
    return head.path.startswith("/fhir/Binary/") and head.method in _READS and not head.path.endswith("/_history")


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
