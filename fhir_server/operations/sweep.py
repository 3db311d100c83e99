"""Content that no document came for is removed when its hour is over (DOC-11).

For the upkeep of a server and for the command line: it walks the Binaries of the whole store and answers no request. To
remove is an ordinary deletion, with its line in the access log.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fhir_server.auth.actor import Actor
from fhir_server.consent.audit import row
from fhir_server.consent.rules import HOUR
from fhir_server.context import Services, Trace
from fhir_server.storage.interface import Commit, Stale, System, Version, Write

SERVER: Final = Actor(role="admin", reference="Device/fhir-server", name="fhir-server", jti="")

_PAGE: Final = 200
_UNDER_WAY: Final = 60_000_000
"""A document that was being written when the hour ended, and saw the content, is given the time to arrive."""


async def sweep(services: Services, system: System, by: Actor = SERVER) -> int:
    """Remove the Binaries older than an hour that nothing has ever pointed to; how many they were. `by`: who it is, as
    the access log names them. The event loop is free between two pages and while anything is written."""
    removed, after, going = 0, 0, True
    until = services.clock() - HOUR - _UNDER_WAY
    while going:
        found, after = await system.orphans(until, after=after, limit=_PAGE)
        for each in found:
            removed += await _removed(services, each, by)
        going = after > 0
        await asyncio.sleep(0)
    return removed


async def _removed(services: Services, orphan: Version, by: Actor) -> bool:
    """Whether it is removed; not if somebody, another process too, was here first."""
    gone = Write(orphan.type, orphan.id, orphan.version + 1, b"", orphan.facts, deleted=True)
    trace = Trace(interaction="delete")
    trace.shows(orphan.facts, orphan.version)
    line = row(by, trace, outcome="", now=services.clock())
    try:
        await services.store.commit(Commit(writes=(gone,), audits=(line,)))
    except Stale:
        return False
    return True
