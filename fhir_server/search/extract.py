"""From a resource to its index entries, when it is written."""

from __future__ import annotations

from typing import Any

from fhir_server.search.entries import Entries
from fhir_server.search.kinds.sink import Sink
from fhir_server.search.registry import SearchRegistry


def extract(registry: SearchRegistry, resource_type: str, resource: dict[str, Any], base_url: str) -> Entries:
    """Everything that a search can find the resource by, without duplicates, within the bounds of `kinds/bounds.py`:
    the first 1,000 entries of a parameter, each text by its first 1,000 characters.

    `base_url`: this server's FHIR base without a trailing slash; absolute references below it are local. Never raises
    for a resource of any shape: what R4 does not allow is passed over. KeyError for an unknown resource type.
    """
    sink = Sink(base_url, registry.zone)
    registry.indexes(resource_type).run(resource, sink)
    return sink.entries()
