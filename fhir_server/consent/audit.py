"""The access log: one line for each interaction (spec access §6).

A line says who, for whom, what, on whose record, with what right and what came of it. It holds no content, no token,
and of a query no identity. Its bytes are canonical (RFC 8785), because the store chains them by hash as they stand.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import unquote_plus, urlencode

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.openings import mode_of
from fhir_server.search.facts import Facts
from fhir_server.storage.interface import AuditRow

ACTIONS: Final[Mapping[str, str]] = {
    "create": "C",
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "update": "U",
    "patch": "U",
    "delete": "D",
}
DECISIONS: Final = frozenset({"$attest-consent", "$declare-emergency", "grant", "deny"})
"""Interactions that are about the right to come; `grant` and `deny`: what was answered on the consent screen."""

# Parameters, and hops of chains, whose values say who somebody is, or may; or which resource is meant: it may be a
# hidden one.
_IDENTITY: Final = frozenset(
    {"_id", "identifier", "name", "family", "given", "phonetic", "birthdate", "telecom", "email", "phone"}
    | {"death-date", "group-identifier", "requisition", "accession", "related-id", "container-id", "sourceid"}
    | {"_filter", "_text", "_content"}
)
_HOPS: Final = re.compile(r"[.:]")


class Traced(Protocol):
    """What is known of a request when its line is written. `query`: urlencoded; `version` 0 when none is meant; `vis`
    and `release_at`: of the resource it is about, or of the documents whose content that is, `facts`: theirs.
    `returned`: the places (Version.position) of the resources that left. `reason`: what was declared. `event`: the
    AuditEvent that another system wrote, as JSON."""

    interaction: str
    type: str
    id: str
    patient: str | None
    query: str
    version: int
    vis: int
    release_at: int | None
    request_id: str
    returned: list[int]
    facts: list[Facts]
    reason: str
    event: str


def row(actor: Actor, trace: Traced, *, outcome: str, now: int, id: str = "") -> AuditRow:
    """The line of one interaction. `outcome`: "" when done, else the code of the failure; `now`: microseconds; `id`:
    of the AuditEvent, one that nobody can guess if none is given."""
    id_ = id or _uuid7(now)
    mode = mode_of(actor, trace.patient or "", now)
    said = {
        "id": id_,
        "time": now,
        "interaction": trace.interaction,
        "action": ACTIONS.get(trace.interaction, "E"),
        "outcome": outcome,
        "patient": trace.patient or "",
        "type": trace.type,
        "resource": trace.id,
        "version": trace.version,
        "vis": trace.vis,
        "release_at": trace.release_at,
        "query": trace.query and b64encode(redacted(trace.query).encode()).decode(),
        "request": trace.request_id,
        "returned": trace.returned,
        "reason": trace.reason,
        "event": trace.event,
        "authorization": _decides(actor, trace, outcome, mode),
    }
    if actor.role == "ncp":
        said |= _exchanged(trace.facts)
    kept = {name: value for name, value in said.items() if value}
    body = orjson.dumps({**kept, **_who(actor), "mode": mode}, option=orjson.OPT_SORT_KEYS)
    return AuditRow(id_, trace.patient or None, now, body)


def redacted(query: str) -> str:
    """The query with `*` for every value that says who somebody is, or which resource is meant."""
    return "&".join(map(_redacted, query.split("&")))


def told(used: Iterable[tuple[str, str]], custom: frozenset[str]) -> str:
    """The parameters of a search as a query that a trace may hold: `*` too for every value of a search parameter of
    one's own, which may be made of anything. `custom`: the codes of those."""
    pairs = [(name, value if custom.isdisjoint(_HOPS.split(name)) else "*") for name, value in used]
    return urlencode(pairs, safe="*")


def _redacted(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}{equals}*" if _identifies(name) else parameter


def _uuid7(now: int) -> str:
    """A UUID 7 (RFC 9562 §5.7) of that time: 74 random bits. That they grow keeps the index of a large log in few
    pages; the time they tell stands in the line."""
    drawn = os.urandom(10).hex()
    text = f"{now // 1000:012x}"
    return f"{text[:8]}-{text[8:]}-7{drawn[:3]}-{'89ab'[int(drawn[3], 16) & 3]}{drawn[4:7]}-{drawn[7:19]}"


@lru_cache(maxsize=1024)
def _who(actor: Actor) -> Mapping[str, Any]:
    """What every line of a caller says; what is empty is left out."""
    said = {
        "role": actor.role,
        "who": actor.reference,
        "name": actor.name,
        "keys": sorted(key for key in actor.keys if key.startswith(("rpps:", "country:"))),
        "profession": actor.profession,
        "structure": actor.structure,
        "structure_name": actor.structure_name,
        "client": actor.client,
        "software": actor.software,
        "authoriser": actor.authoriser_key,
        "country": actor.country,
        "asserted": actor.asserted,
        "purpose": actor.purpose,
        "secret": actor.secret,
        "jti": actor.jti,
    }
    return {name: value for name, value in said.items() if value}


def _exchanged(found: Iterable[Facts]) -> dict[str, list[str]]:
    """What leaves for another country: kinds of documents, and the structures they come from."""
    kinds = {facts.type_code for facts in found if facts.type_code}
    origins = {key.removeprefix("org:") for facts in found for key in facts.authors if key.startswith("org:")}
    return {"category": sorted(kinds), "origin": sorted(origins)}


def _decides(actor: Actor, trace: Traced, outcome: str, mode: str) -> bool:
    """Whether the line is about the right itself: a refusal, an emergency, what was attested, granted or consented."""
    about_consent = trace.type == "Consent" and trace.interaction in ACTIONS
    return outcome == "forbidden" or mode != "normal" or about_consent or trace.interaction in DECISIONS


@lru_cache(maxsize=1024)
def _identifies(name: str) -> bool:
    """`name`: of a parameter, as it stands in a url."""
    hops = {hop.lower() for hop in _HOPS.split(unquote_plus(name))}
    return not _IDENTITY.isdisjoint(hops) or any(hop.startswith("address") for hop in hops)
