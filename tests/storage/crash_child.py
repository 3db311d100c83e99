"""Writes to a store as fast as it can and says on its output what was acknowledged, until it is killed.

Each of eight callers rewrites its own pair of resources, both in one commit with an audit row and a policy step, and
takes a ledger mark. A line `pair n version` is printed when commit `version` of pair `n` has returned.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

from fhir_server.search.entries import Entries, Ref, Span, Token
from fhir_server.search.predicate import TRUE
from fhir_server.storage import open_store
from fhir_server.storage.interface import AuditRow, Commit, PolicyGuard, Store, Write
from tests.storage.making import write

CALLERS = 8


def pair(n: int, version: int) -> tuple[Write, Write]:
    """Version `version` of both resources of pair `n`; what they say everywhere is the version."""
    entries = Entries(
        tokens=(Token("code", "urn:pair", f"{n}v{version}"), Token("code", None, "always")),
        dates=(Span("date", version, version + 1),),
        references=(Ref("subject", f"Patient/p{n}"), Ref("encounter", f"Encounter/{n}-{version}")),
    )
    facts = {"links": frozenset({f"Encounter/{n}-{version}"}), "authors": frozenset({f"rpps:{version}"})}
    text = str(version) * 200
    return (
        write(f"Observation/a{n}", version=version, patient=f"p{n}", entries=entries, text=text, **facts),
        write(f"Condition/b{n}", version=version, patient=f"p{n}", entries=entries, text=text, **facts),
    )


def commit(n: int, version: int) -> Commit:
    """The commit that makes it, on the policy that the one before left."""
    audit = AuditRow(f"{n}-{version}", f"p{n}", version, b'{"pair":%d,"version":%d}' % (n, version))
    return Commit(pair(n, version), (PolicyGuard(f"p{n}", version - 1),), frozenset({f"p{n}"}), (audit,))


async def caller(store: Store, n: int) -> None:
    """Go on from the version that is there."""
    async with store.snapshot() as snapshot:
        found = await snapshot.read("Observation", f"a{n}", visible=TRUE)
    for version in count(found.version + 1 if found else 1):
        await store.commit(commit(n, version))
        os.write(1, b"pair %d %d\n" % (n, version))
        await store.ledger.put("mark", f"{n}-{version}", b"x", expires=None, only_new=True)
        os.write(1, b"mark %d %d\n" % (n, version))


async def main() -> None:
    """All callers at once."""
    store = open_store(sys.argv[1])
    os.write(1, b"open\n")
    await asyncio.gather(*(caller(store, n) for n in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main())
