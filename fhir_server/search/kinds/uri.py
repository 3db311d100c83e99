"""URIs (https://hl7.org/fhir/R4/search.html#uri)."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.search.entries import Uri
from fhir_server.search.kinds.asked import Asked, unescape
from fhir_server.search.kinds.bounds import cut
from fhir_server.search.kinds.sink import Add, Sink
from fhir_server.search.predicate import Predicate, TokenIs, UriIs, conj

MODIFIERS: Final = frozenset({"", "below", "above"})


def where(asked: Asked, text: str) -> Predicate:
    """The whole uri; with :below its beginning; with :above what it begins with. `url=canonical|version` asks both."""
    value = unescape(text)
    if asked.modifier:
        if value.startswith("urn:"):
            raise asked.malformed(f"The modifier {asked.modifier} is for URLs, not for URNs.")
        return UriIs(asked.param, asked.modifier, value)
    url, bar, version = value.partition("|")
    if bar and asked.param == "url":
        return conj(UriIs("url", "exact", url), TokenIs("version", None, version))
    return UriIs(asked.param, "exact", value)


def _uri(param: str, value: Any, sink: Sink) -> None:
    if type(value) is str:
        sink.uris.append(Uri(param, cut(value)))


def _canonical(param: str, value: Any, sink: Sink) -> None:
    """A canonical as sent, and without its business version: a search that names none means any."""
    _uri(param, value, sink)
    if type(value) is str and "|" in value:
        sink.uris.append(Uri(param, cut(value.partition("|")[0])))


ADD: Final[dict[str, Add]] = {"uri": _uri, "url": _uri, "oid": _uri, "uuid": _uri, "canonical": _canonical}
