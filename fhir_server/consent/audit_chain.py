"""The proof that no line of the access log was changed: a walk along the hash chain, held to seals (spec access §6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from fhir_server.storage.chain import GENESIS, link
from fhir_server.storage.interface import AuditEntry, System

BEGINNING: Final = (0, GENESIS)
"""What the first row of a chain that was never pruned is linked to."""

_FIRST: Final = -(1 << 63)
"""The chain is read from the smallest number there can be: a row before the first is one too many."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chain is whole; otherwise the first bad `seq` and what is wrong there: altered, missing, reordered,
    truncated or bad-seal. `rows`: how many were walked; `sealed`: how many of them a seal was held against."""

    rows: int = 0
    seq: int = 0
    fault: str = ""
    sealed: int = 0

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return not self.fault

    def __str__(self) -> str:
        """One line for the one who asked."""
        if self.fault:
            return f"{self.fault}: row {self.seq}"
        return f"intact: {self.rows} rows" + (f", {self.sealed} seals" if self.sealed else "")


async def verify(
    system: System,
    *,
    after: tuple[int, bytes] = BEGINNING,
    whole: bool = True,
    seals: Mapping[int, bytes] | None = None,
) -> Verdict:
    """Walk the chain. `after`: the row that the first one to be walked follows, and its hash; `whole`: there is none
    before it; `seals`: hashes that were sealed, by the row they are of.

    Without a seal, a chain rewritten from some row to its end is not seen.
    """
    walk = _Walk(*after, seals or {})
    first = _FIRST if whole else after[0] + 1
    while True:
        rows = system.audit_chain(first)
        async for entry in rows:
            fault = walk.fault(entry)
            if fault:
                return Verdict(walk.rows, walk.expected, await _named(fault, walk.before, rows))
            walk.step(entry)
        seq, head = await system.audit_head()
        if seq < walk.expected or first == walk.expected:
            return walk.end(seq, head)
        # Rows that were written while these were read; or that are gone, if they are not found now.
        first = walk.expected


class _Walk:
    """Where a walk has come."""

    def __init__(self, seq: int, before: bytes, seals: Mapping[int, bytes]) -> None:
        self.before = before
        self.expected = seq + 1
        self.rows = 0
        self._seals = {each: hash for each, hash in seals.items() if each > seq}
        self._sealed = 0

    def fault(self, entry: AuditEntry) -> str:
        """What is wrong with the next row, "" when it fits."""
        if entry.seq != self.expected:
            return "missing" if entry.seq > self.expected else "reordered"
        if not _fits(self.before, entry):
            return "displaced"
        return "altered" if self._seals.get(entry.seq, entry.hash) != entry.hash else ""

    def step(self, entry: AuditEntry) -> None:
        """Go on from a row that fits."""
        self.before, self.expected, self.rows = entry.hash, entry.seq + 1, self.rows + 1
        self._sealed += entry.seq in self._seals

    def end(self, seq: int, head: bytes) -> Verdict:
        """The verdict after the last row. `seq`, `head`: the end of the chain as it is recorded apart."""
        last = self.expected - 1
        if max(seq, max(self._seals, default=0)) > last:
            return Verdict(self.rows, self.expected, "truncated")
        if (seq, head) != (last, self.before):
            return Verdict(self.rows, last, "altered")
        return Verdict(self.rows, sealed=self._sealed)


def _fits(before: bytes, entry: AuditEntry) -> bool:
    """Whether the row follows the one before it, and its columns say what its body says."""
    # A value changed behind the store's back may not even be bytes any more.
    if not isinstance(entry.row.body, bytes) or link(before, entry.row.body) != entry.hash:
        return False
    said = orjson.loads(entry.row.body)
    found = (said.get("id"), said.get("patient"), said.get("time"))
    return found == (entry.row.id, entry.row.patient, entry.row.time)


async def _named(fault: str, before: bytes, rest: AsyncIterator[AuditEntry]) -> str:
    """A row that does not follow was moved, if the right one comes later; else altered."""
    if fault != "displaced":
        return fault
    async for entry in rest:
        if isinstance(entry.row.body, bytes) and link(before, entry.row.body) == entry.hash:
            return "reordered"
    return "altered"
