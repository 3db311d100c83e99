"""The other resources of one transaction, as a draft among them has to know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.consent.keys import link_of
from fhir_server.search.facts import Facts


@dataclass(slots=True)
class Siblings:
    """`facts`: "Type/id" of each draft made so far to its facts. `holders`: content to the lineage that holds it.

    `contents`: "Binary/id" of each that is drafted to the resource. `coming`: "Type/id" of all that will be drafted.
    `documents`: "Bundle/id" of a document in FHIR to the DocumentReference that points to it. `deposited`: whether they
    may have been deposited before. `provided`: they are a comprehensive provide document Bundle of PDSm, whose
    documents are judged by its profile.
    """

    facts: dict[str, Facts] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    coming: Mapping[str, Any] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    provided: bool = False
    deposited: bool = False

    def know(self, resource: dict[str, Any], facts: Facts, *, base: str) -> None:
        """A resource that is drafted, and what the server knows of it. `base`: the FHIR base url of this server."""
        link = f"{facts.rtype}/{facts.id}"
        self.facts[link] = facts
        if facts.rtype == "Binary":
            self.contents[link] = resource
        elif facts.rtype == "DocumentReference":
            named = content_links(resource, base)
            self.documents |= {each: link for each in named if each.startswith("Bundle/") and each in self.coming}


def content_links(document: Mapping[str, Any], base: str) -> list[str]:
    """Where the contents of a DocumentReference are kept here, as "Type/id", in order."""
    urls = (each.get("attachment", {}).get("url") for each in document.get("content", ()))
    return [link for url in urls if (link := link_of(url, base))]
