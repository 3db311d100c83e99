"""What one request carries: the caller, the store, the clock, and the parts that judge what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

import structlog

from fhir_server.auth.actor import Actor
from fhir_server.auth.limits import Limits
from fhir_server.auth.passwords import Passwords
from fhir_server.auth.scopes import allows
from fhir_server.consent import audit
from fhir_server.consent.directives import parse_directive
from fhir_server.consent.narrow import Narrow
from fhir_server.errors import FhirServerError, Forbidden, Issue, Malformed, TooLarge
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import parts_of
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
Given = ParamSpec("Given")

_LARGE: Final = 1 << 15
_MANY: Final = 1_500
"""Bytes, and objects and arrays: to judge and index so many takes some 5 ms."""

_THREADS: Final = 2
"""For what is large: each may hold the interpreter for 5 ms before the event loop gets it back."""

LONGEST: Final = 30
"""Seconds that one request may take for all its entries: ten times what as many as there may be take a busy server."""

_TURN: Final = 0.005
"""Seconds of work on one request after which the others get their turn."""


class Aside:
    """Where the work goes that would hold the event loop for long: a thread, which the interpreter stops for others."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "fhir-server-aside")

    async def __call__(
        self, body: bytes, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """What `work` comes to, which takes a time that grows with that body: at once when it is small."""
        return await self.always(work, *given, **named) if is_large(body) else work(*given, **named)

    async def always(self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        """The same for work that may take long however small the body is."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *given, **named))


def is_large(body: bytes) -> bool:
    """Whether what is done to each part of a body, of JSON or of XML, takes longer than others should wait."""
    # Three bytes a part are the fewest: what is shorter need not be counted.
    return len(body) > _LARGE or (len(body) > 3 * _MANY and parts_of(body) + body.count(b"<") > _MANY)


class Pace:
    """What is to be done to each of thousands of entries, without holding the event loop for as long as that takes, nor
    for much longer than `seconds` in all."""

    def __init__(self, seconds: float = LONGEST) -> None:
        self._begun = perf_counter()
        self._end = self._begun + seconds

    async def rest(self) -> None:
        """Between two entries: let the others have their turn, when this one has lasted long enough. Raises TooLarge
        when the whole has."""
        now = perf_counter()
        if now - self._begun > _TURN:
            if now > self._end:
                text = f"This takes longer than {LONGEST} s: send it in parts."
                raise TooLarge(issues=[Issue("too-costly", text, "Bundle.entry")])
            await asyncio.sleep(0)
            self._begun = perf_counter()


@dataclass(frozen=True, slots=True)
class Request:
    """One interaction as asked for, over HTTP or in an entry of a Bundle.

    `path`: the segments under the FHIR base. `query`: decoded pairs, in order. `if_match`: the version number of a weak
    ETag. `strict`: Prefer handling=strict. `prefer`: Prefer return, "representation" when not given. `language`:
    Accept-Language.
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
    language: str = ""


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


@dataclass(slots=True)
class Health:
    """What makes a server not ready, as it was found last; "" when nothing does."""

    fault: str = ""


@dataclass(slots=True)
class Kept:
    """What is dear to make, kept until what it was made of is another."""

    of: Any = None
    value: bytes = b""
    making: asyncio.Lock = field(default_factory=asyncio.Lock)


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
    limits: Limits
    health: Health = field(default_factory=Health)
    aside: Aside = field(default_factory=Aside)
    capabilities: Interaction | None = None
    statement: Kept = field(default_factory=Kept)
    operations: Mapping[str, Interaction] = field(default_factory=dict)
    passwords: Passwords = field(default_factory=Passwords)
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
    returned: list[int] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    reason: str = ""
    event: str = ""

    def left(self, versions: Iterable[Version]) -> None:
        """What is in the answer: the log keeps it, for no reader but the one who looks into a misuse."""
        for each in versions:
            self.returned.append(each.position)
            self.facts.append(each.facts)

    def found_in(self, where: Iterable[Facts]) -> None:
        """Whose record the request is about, and what hides the documents whose content that is."""
        for facts in where:
            self.facts.append(facts)
            self.patient = facts.patient
            self.vis |= facts.vis
            self.release_at = facts.release_at or self.release_at

    def shows(self, facts: Facts, version: int) -> None:
        """The resource that the request is about: what its label hides, its line in the log hides too."""
        self.type, self.id, self.version = facts.rtype, facts.id, version
        self.facts.append(facts)
        self.patient = facts.patient or self.patient
        self.vis |= facts.vis
        self.release_at = facts.release_at or self.release_at


@dataclass(slots=True)
class Context:
    """One request on its way through the server. `remarks`: warnings that go with a write that succeeds."""

    services: Services
    actor: Actor
    trace: Trace = field(default_factory=Trace)
    pace: Pace = field(default_factory=Pace)
    remarks: list[Issue] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The store."""
        return self.services.store

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.services.settings

    @property
    def aside(self) -> Aside:
        """Where work goes that would hold the event loop."""
        return self.services.aside

    @property
    def base(self) -> str:
        """The FHIR base url."""
        return self.services.settings.fhir_base

    def entry(self) -> Context:
        """A context for one entry of a Bundle: the same caller, a log line of its own."""
        return Context(self.services, self.actor, Trace(request_id=self.trace.request_id), self.pace)

    def remark(self, issue: Issue) -> None:
        """Tell the caller something of a write that succeeds; once, however often it is attempted."""
        if issue not in self.remarks:
            self.remarks.append(issue)

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
        """The resource, if it is a valid one of that type; raises Malformed with every error otherwise.

        Of a directive that only breaks rules of R4, its own faults are told first (Invalid, access §3.4).
        """
        issues = self.services.validator.validate(resource, expect_type=type)
        errors = [issue for issue in issues if issue.severity in ("error", "fatal")]
        if errors:
            if type == "Consent" and not self.services.open and all(issue.code == "invariant" for issue in errors):
                parse_directive(resource)
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
        """Write the access log before the first byte of the answer leaves (access §6). Raises TooManyRequests when the
        caller comes to too many records that are new to them."""
        if outcome is None and self.trace.patient and self.actor.role == "ps":
            await self.services.limits.opened(self.actor, self.trace.patient)
        rows = self.audits(outcome)
        if rows:
            await self.store.commit(Commit(audits=rows))
