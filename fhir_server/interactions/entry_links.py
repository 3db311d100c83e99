"""Links between the entries of a transaction: a fullUrl becomes the id of the resource that its entry makes.

https://hl7.org/fhir/R4/http.html#trules and https://hl7.org/fhir/R4/bundle.html#references.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from fhir_server.fhir.references import parse_reference
from fhir_server.fhir.splice import with_links, with_narrative_links


class Linked(NamedTuple):
    """A resource whose links to entries are ids, as bytes and parsed, and the conditional references it still has."""

    body: bytes
    resource: dict[str, Any]
    conditional: tuple[str, ...]


class EntryLinks:
    """The fullUrls of one transaction. `base`: the FHIR base url of this server."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._made: dict[str, tuple[str, int, str]] = {}
        self._restful = False

    def add(self, full_url: str, link: str, version: int, said: str) -> None:
        """The entry of that fullUrl becomes that version of `link`; `said`: the version that its resource claims."""
        if full_url:
            self._made[full_url] = (link, version, said)
            self._restful = self._restful or not full_url.startswith("urn:")

    def linked(self, full_url: str, body: bytes, resource: dict[str, Any]) -> Linked:
        """The resource of the entry `full_url` with every link to an entry turned into a link to what that becomes.

        Whatever the order of the entries, and if they point to each other or to themselves.
        """
        conditional: dict[str, None] = {}

        def resolve(key: str, uri: str) -> str | None:
            found = self._found(key, uri, full_url)
            if found is None and "?" in uri and key == "reference" and parse_reference(uri).kind == "conditional":
                conditional[uri] = None
            return found

        changed = with_links(body, resolve)
        if b"urn:" in changed:
            changed = with_narrative_links(changed, lambda uri: self._found("reference", uri, full_url))
        return Linked(changed, resource if changed == body else orjson.loads(changed), tuple(conditional))

    def _found(self, key: str, uri: str, own: str) -> str | None:
        root, versioned, version = uri.partition("/_history/")
        made = self._made.get(root)
        if made is None and self._restful and key in ("reference", "url"):
            made = self._made.get(self._absolute(root, own))
        if made is None or (key != "reference" and uri == own and not own.startswith("urn:")):
            # A resource that says its own canonical url does not mean where it is kept.
            return None
        link, number, said = made
        if not versioned:
            return link
        return f"{link}/_history/{number}" if said in ("", version) else None

    def _absolute(self, uri: str, own: str) -> str:
        """A relative link as seen from an entry: beside its fullUrl if that is a place, else on this server."""
        base = parse_reference(own).base if own else ""
        return f"{base or self._base}/{uri}"
