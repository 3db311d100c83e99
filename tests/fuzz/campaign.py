"""Send the cases from several actors at once, judge every answer, and at the end the state of the store."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.fuzz.case import Case
from tests.fuzz.generate import Generator
from tests.fuzz.house import House
from tests.fuzz.state import Key, State, logged_request
from tests.fuzz.verdict import faults, imported, written
from tests.fuzz.wire import Closed, Connection, Response

CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, and the request it was found with. `suspects`: for a change of state, the refused writes under way
    then."""

    case: Case
    fault: str
    response: Response | None = None
    suspects: tuple[Case, ...] = ()


@dataclass(slots=True)
class Campaign:
    """What was sent and what came back. `statuses`: by kind and status; `spans`: when each refused write was under
    way, microseconds since 1970; `accepted`: versions that answers speak of; `indexes`: of cases, by X-Request-Id."""

    house: House
    generator: Generator
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    accepted: set[Key] = field(default_factory=set)
    documents: set[str] = field(default_factory=set)
    spans: list[tuple[int, int, Case]] = field(default_factory=list)
    slowest: tuple[float, Case | None] = (0.0, None)
    indexes: dict[str, int] = field(default_factory=dict)

    def run(self, indexes: Iterable[int], advance: Callable[[], None] = lambda: None) -> None:
        """Send all of them; `advance` is called after each answer."""
        asyncio.run(self._all(iter(indexes), advance))

    async def _all(self, indexes: Iterator[int], advance: Callable[[], None]) -> None:
        async def work() -> None:
            connection = Connection(self.house.port)
            for index in indexes:
                await self._one(connection, self.generator.case(index))
                advance()
            await connection.close()

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    async def _one(self, connection: Connection, case: Case) -> None:
        token = self.house.token(case)
        begun, clock = time.time_ns() // 1000, time.perf_counter()
        try:
            response = await connection.send(case.wire(token), head=case.method == "HEAD")
        except TimeoutError:
            self.findings.append(Finding(case, "no answer in time"))
            return
        except Closed:
            self._closed(case)
            return
        self.slowest = max(self.slowest, (time.perf_counter() - clock, case), key=lambda each: each[0])
        self.statuses[case.kind, response.status] += 1
        self.indexes[response.headers.get("x-request-id", "")] = case.index
        for fault in faults(case, response, token):
            self.findings.append(Finding(case, fault, response))
        if case.method not in ("GET", "HEAD"):
            if response.status >= 400:
                self.spans.append((begun, time.time_ns() // 1000, case))
            self._account(case, response)

    def _closed(self, case: Case) -> None:
        """What is no HTTP may lose its connection; everything else gets an answer."""
        self.statuses[case.kind, 0] += 1
        if not case.raw:
            self.findings.append(Finding(case, "the connection was closed without an answer"))

    def _account(self, case: Case, response: Response) -> None:
        self.accepted |= written(case, response)
        document = imported(case, response)
        if document:
            self.documents.add(document)

    def judge(self, after: State) -> None:
        """Find what changed without an answer that says so, in a store whose server is stopped.

        An import writes all of a document in one commit, so what has its time is its own.
        """
        times = {time for key, time in after.times.items() if key[0] in self.documents and key[1] == 1}
        of_imports = {key for key, time in after.times.items() if time in times}
        for difference in self.house.before.differences(after, self.accepted | of_imports):
            self.findings.append(Finding(Case(-1, "state", ""), difference, None, self._suspects(difference, after)))

    def _suspects(self, difference: str, after: State) -> tuple[Case, ...]:
        times = [time for key, time in after.times.items() if str(key) in difference]
        spans = ((begun - 1000, ended + 1000, case) for begun, ended, case in self.spans)
        return tuple(case for begun, ended, case in spans if any(begun <= at <= ended for at in times))

    def judge_log(self) -> None:
        """Find the first line of the access log that does not fit, and the request it is about."""
        verdict = self.house.audit_verdict()
        if verdict:
            place = re.search(r"row (\d+)", verdict)
            index = self.indexes.get(logged_request(self.house.store, int(place[1]))) if place else None
            cases = () if index is None else (self.generator.case(index),)
            self.findings.append(Finding(Case(-1, "state", ""), f"the access log: {verdict.strip()}", None, cases))
