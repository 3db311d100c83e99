"""The access log: one line for each interaction, and the proof that none was changed (spec access §6).

A line says who, for whom, what, on whose record, with what right and what came of it. It holds no content, no token,
and of a query no identity. Its bytes are canonical (RFC 8785), because the store chains them by hash as they stand.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import unquote_plus, urlencode

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.storage.chain import GENESIS, link
from fhir_server.storage.interface import AuditEntry, AuditRow, System

ACTIONS: Final[Mapping[str, str]] = {
    "create": "C",
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "update": "U",
    "patch": "U",
    "delete": "D",
}
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
    and `release_at`: of the resource it is about, or of the documents whose content that is."""

    interaction: str
    type: str
    id: str
    patient: str | None
    query: str
    version: int
    vis: int
    release_at: int | None
    request_id: str


def row(actor: Actor, trace: Traced, *, outcome: str, now: int, id: str = "") -> AuditRow:
    """The line of one interaction. `outcome`: "" when done, else the code of the failure; `now`: microseconds; `id`:
    of the AuditEvent, one that nobody can guess if none is given."""
    id_ = id or _uuid7(now)
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
        "authorization": _decides(actor, trace, outcome),
    }
    kept = {name: value for name, value in said.items() if value}
    body = orjson.dumps({**kept, **_who(actor)}, option=orjson.OPT_SORT_KEYS)
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chain is whole; otherwise the first bad `seq` and what is wrong there: altered, missing, reordered or
    truncated. `rows`: how many were walked."""

    rows: int = 0
    seq: int = 0
    fault: str = ""

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return not self.fault

    def __str__(self) -> str:
        """One line for the one who asked."""
        return f"intact: {self.rows} rows" if self.intact else f"{self.fault}: row {self.seq}"


async def verify(system: System, *, genesis: bytes = GENESIS) -> Verdict:
    """Walk the whole chain. Without a seal kept elsewhere, a chain rewritten from some row to its end is not seen."""
    before, expected, walked = genesis, 1, 0
    chain = system.audit_chain()
    async for entry in chain:
        if entry.seq != expected:
            return Verdict(walked, expected, "missing" if entry.seq > expected else "reordered")
        if not _fits(before, entry):
            return Verdict(walked, expected, await _displaced(before, chain))
        before, expected, walked = entry.hash, expected + 1, walked + 1
    seq, head = await system.audit_head()
    if seq > walked:
        return Verdict(walked, walked + 1, "truncated")
    if walked and (seq, head) != (walked, before):
        return Verdict(walked, walked, "altered")
    return Verdict(walked)


def _fits(before: bytes, entry: AuditEntry) -> bool:
    """Whether the row follows the one before it, and its columns say what its body says."""
    # A value changed behind the store's back may not even be bytes any more.
    if not isinstance(entry.row.body, bytes) or link(before, entry.row.body) != entry.hash:
        return False
    said = orjson.loads(entry.row.body)
    found = (said.get("id"), said.get("patient"), said.get("time"))
    return found == (entry.row.id, entry.row.patient, entry.row.time)


async def _displaced(before: bytes, rest: AsyncIterator[AuditEntry]) -> str:
    """What befell a row that does not follow: moved, if the right one comes later."""
    async for entry in rest:
        if isinstance(entry.row.body, bytes) and link(before, entry.row.body) == entry.hash:
            return "reordered"
    return "altered"


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
        "mode": actor.mode,
        "purpose": actor.purpose,
        "secret": actor.secret,
        "jti": actor.jti,
    }
    return {name: value for name, value in said.items() if value}


def _decides(actor: Actor, trace: Traced, outcome: str) -> bool:
    """Whether the line is about the right itself: a refusal, an emergency, a change of consent."""
    return (
        outcome == "forbidden" or actor.mode != "normal" or (trace.type == "Consent" and trace.interaction in ACTIONS)
    )


@lru_cache(maxsize=1024)
def _identifies(name: str) -> bool:
    """`name`: of a parameter, as it stands in a url."""
    hops = {hop.lower() for hop in _HOPS.split(unquote_plus(name))}
    return not _IDENTITY.isdisjoint(hops) or any(hop.startswith("address") for hop in hops)
