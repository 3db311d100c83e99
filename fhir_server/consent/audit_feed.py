"""AuditEvents that other systems write into the log of a record: kept as sent, marked as theirs (access §6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from fhir_server.consent.keys import CLIENT, link_of
from fhir_server.fhir.dates import format_instant
from fhir_server.settings import CANONICAL_BASE

ORIGIN: Final = f"{CANONICAL_BASE}/CodeSystem/audit-origin"
EXTERNAL: Final = {"system": ORIGIN, "code": "external", "display": "written by another system"}
# What is left of an event about a document that its reader is not to know of yet.
_BARE: Final = ("type", "subtype", "action", "period", "recorded", "outcome", "source")
_BARE_AGENT: Final = ("type", "role", "who", "name", "requestor")


def patients_of(event: Mapping[str, Any], base: str) -> set[str]:
    """The ids of the patients whose records the event is about: those it names as entity or agent."""
    places = [each.get("what") for each in event.get("entity", ())] + [each.get("who") for each in event["agent"]]
    links = (link_of(each.get("reference"), base) or "" for each in places if isinstance(each, dict))
    return {link.removeprefix("Patient/") for link in links if link.startswith("Patient/")}


def named_in(event: str, base: str) -> set[tuple[str, str]]:
    """Every resource of this server that an event points to, as (type, id). `event`: its JSON."""
    links = (link_of(each, base) for each in _references(orjson.loads(event)))
    return {(type_, id_) for type_, _, id_ in (link.partition("/") for link in links if link)}


def to_external_event(said: Mapping[str, Any], *, withheld: bool) -> dict[str, Any]:
    """The AuditEvent as it was sent, under the id it has here, marked with who sent it; `withheld`: without what it
    says of a document, which shows as "document"."""
    sent = orjson.loads(said["event"])
    meta = {
        **({} if withheld else sent.get("meta", {})),
        "lastUpdated": format_instant(said["time"]),
        "source": f"{CLIENT}/{said.get('client') or said['who']}",
    }
    meta["tag"] = [*meta.get("tag", ()), EXTERNAL]
    named = {"resourceType": "AuditEvent", "id": said["id"], "meta": meta}
    return {**named, **_bare(sent)} if withheld else {**sent, **named}


def _bare(sent: Mapping[str, Any]) -> dict[str, Any]:
    agents = [{name: each[name] for name in _BARE_AGENT if name in each} for each in sent["agent"]]
    kept = {name: sent[name] for name in _BARE if name in sent}
    return {**kept, "agent": agents, "entity": [{"what": {"display": "document"}}]}


def _references(value: Any) -> Iterator[str]:
    """Every `reference` in a resource."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
