"""What one request carries: the caller, the store, the clock, and the parts that judge what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from fhir_server.auth.actor import Actor
from fhir_server.auth.scopes import allows
from fhir_server.consent import audit
from fhir_server.consent.narrow import Narrow
from fhir_server.errors import FhirServerError, Forbidden, Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.indexing import Index
from fhir_server.search.cursor import Cursors
from fhir_server.search.facts import Facts
from fhir_server.search.predicate import TRUE, Predicate
from fhir_server.search.registry import SearchRegistry
from fhir_server.settings import Settings
from fhir_server.storage.interface import AuditRow, Commit, Snapshot, Store, Version
from fhir_server.validation.validator import Validator

log = structlog.get_logger()

Clock: TypeAlias = Callable[[], int]
Result = TypeVar("Result")

_LARGE: Final = 1 << 18
"""Bytes: judging so many takes some 3 ms."""

_TURN: Final = 0.005
"""Seconds of work on one request after which the others get their turn."""


async def aside(work: Callable[[bytes], Result], body: bytes) -> Result:
    """What `work` makes of a body. A large one goes to a thread, which the interpreter stops for others every 5 ms."""
    return await asyncio.to_thread(work, body) if len(body) > _LARGE else work(body)


class Pace:
    """What is to be done to each of thousands of entries, without holding the event loop for as long as that takes."""

    def __init__(self) -> None:
        self._begun = perf_counter()

    async def rest(self) -> None:
        """Between two entries: let the others have their turn, when this one has lasted long enough."""
        if perf_counter() - self._begun > _TURN:
            await asyncio.sleep(0)
            self._begun = perf_counter()


@dataclass(frozen=True, slots=True)
class Request:
    """One interaction as asked for, over HTTP or in an entry of a Bundle.

    `path`: the segments under the FHIR base. `query`: decoded pairs, in order. `if_match`: the version number of a weak
    ETag. `strict`: Prefer handling=strict. `prefer`: Prefer return, "representation" when not given.
    """

    method: str
    path: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/fhir+json"
    accept: str = ""
    if_match: str = ""
    if_none_match: str = ""
    if_modified_since: str = ""
    if_none_exist: str = ""
    prefer: str = "representation"
    strict: bool = False


@dataclass(slots=True)
class Answer:
    """What an interaction answers. `version` gives ETag and Last-Modified, `location` a url relative to the base."""

    status: int
    body: bytes = b""
    content_type: str = "application/fhir+json; charset=utf-8"
    version: Version | None = None
    location: str = ""
    headers: tuple[tuple[str, str], ...] = ()


Interaction: TypeAlias = Callable[["Context", Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one running server, wired in `app.py`."""

    settings: Settings
    definitions: Definitions
    index: Index
    validator: Validator
    store: Store
    narrow: Narrow
    cursors: Cursors
    clock: Clock
    ids: Callable[[], str]
    operations: Mapping[str, Interaction] = field(default_factory=dict)
    open: bool = False

    @property
    def registry(self) -> SearchRegistry:
        """The search parameters that can be asked for."""
        return self.index.searched


@dataclass(slots=True)
class Trace:
    """What the access log says of this request, filled in as it becomes known."""

    interaction: str = ""
    type: str = ""
    id: str = ""
    patient: str | None = None
    query: str = ""
    version: int = 0
    vis: int = 0
    release_at: int | None = None
    request_id: str = ""

    def found_in(self, where: Iterable[Facts]) -> None:
        """Whose record the request is about, and what hides the documents whose content that is."""
        for facts in where:
            self.patient = facts.patient
            self.vis |= facts.vis
            self.release_at = facts.release_at or self.release_at

    def shows(self, facts: Facts, version: int) -> None:
        """The resource that the request is about: what its label hides, its line in the log hides too."""
        self.type, self.id, self.version = facts.rtype, facts.id, version
        self.patient = facts.patient or self.patient
        self.vis |= facts.vis
        self.release_at = facts.release_at or self.release_at


@dataclass(slots=True)
class Context:
    """One request on its way through the server."""

    services: Services
    actor: Actor
    trace: Trace = field(default_factory=Trace)

    @property
    def store(self) -> Store:
        """The store."""
        return self.services.store

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.services.settings

    @property
    def base(self) -> str:
        """The FHIR base url."""
        return self.services.settings.fhir_base

    def entry(self) -> Context:
        """A context for one entry of a Bundle: the same caller, a log line of its own."""
        return Context(self.services, self.actor, Trace(request_id=self.trace.request_id))

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        return self.services.clock()

    def allow(self, type: str, letter: str) -> None:
        """Raise Forbidden unless a scope of the token covers `letter` (c r u d s) of that type (access §2)."""
        if not allows(self.actor.scopes, self.actor, type, letter):
            raise Forbidden("The scopes of this token do not cover that.")

    async def visible(self, snapshot: Snapshot, type: str, id: str, *, letter: str = "r") -> Predicate:
        """What the caller may see of the record that holds this resource; the log learns whose record it is.

        `letter`: the right that is used, which granular scopes are asked for (access §2).
        """
        if self.services.open:
            return TRUE
        visible, where = await self.services.narrow.placed(snapshot, self.actor, type, id, letter=letter)
        self.trace.found_in(where)
        return visible

    async def about(self, snapshot: Snapshot, type: str, id: str) -> None:
        """Let the log know whose record a request is about; nobody's, when there is no such resource."""
        if not self.services.open:
            self.trace.found_in(await self.services.narrow.whereabouts(snapshot, type, id))

    def checked(self, resource: Any, type: str) -> dict[str, Any]:
        """The resource, if it is a valid one of that type; raises Malformed with every error otherwise."""
        issues = self.services.validator.validate(resource, expect_type=type)
        errors = [issue for issue in issues if issue.severity in ("error", "fatal")]
        if errors:
            raise Malformed(issues=errors)
        assert isinstance(resource, dict)
        return resource

    def audits(self, outcome: FhirServerError | None = None) -> tuple[AuditRow, ...]:
        """The access-log line of this request; none in a server run without authorization."""
        if self.services.open:
            return ()
        code = outcome.code if outcome else ""
        return (audit.row(self.actor, self.trace, outcome=code, now=self.now()),)

    async def record(self, outcome: FhirServerError | None = None) -> None:
        """Write the access log before the first byte of the answer leaves (access §6)."""
        rows = self.audits(outcome)
        if rows:
            await self.store.commit(Commit(audits=rows))
