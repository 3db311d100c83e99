"""What the index is made with: which search parameters can be asked for, and by which every write is indexed.

The ledger keeps, under kind "index", the edition *in force*, which the whole index is made with, and the one that a
reindex under way has *announced*. Searches know the first only; writes are indexed by both from the announcement on,
and each is guarded by it: one that was made ready before is refused as Stale and made again. So a reindex that walks
after its announcement misses nothing, whatever is written meanwhile and by whichever process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
import structlog

from fhir_server.errors import FhirServerError
from fhir_server.fhir.definitions import Definitions, SearchParameter
from fhir_server.search.custom import parameter_of
from fhir_server.search.parameter import Parameter, ProjectParameter
from fhir_server.search.registry import SearchRegistry, project_parameters
from fhir_server.storage.interface import Commit, PolicyGuard, Store

log = structlog.get_logger()

KIND: Final = "index"
IN_FORCE: Final = "in force"
ANNOUNCED: Final = "announced"
# What stands for the index among the patients whose policy versions guard commits; no resource can have this id.
POLICY: Final = "$index"
# Kind of parameter → edition of the code that makes its entries: raised when that makes others of the same resource.
EDITIONS: Final = {
    "composite": 1,
    "date": 1,
    "number": 1,
    "quantity": 1,
    "reference": 1,
    "special": 1,
    "string": 2,
    "token": 1,
    "uri": 1,
}
UTC: Final = "UTC"
_DATED: Final = ("date", "composite")
"""Types of parameters whose entries depend on where a date without an offset is read."""
_TABLES: Final = (
    ("profiles", "r4", "search_parameters.json"),
    ("profiles", "pdsm", "search-parameters.json"),
    ("terminologies", "ucum", "units.json"),
)


@dataclass(frozen=True, slots=True)
class Edition:
    """Definitions that an index is made with.

    `packaged`: digest of all that comes with the server. `known`: canonical → fingerprint of each parameter among it,
    which tell apart what has changed when that differs. `custom`: SearchParameter resources, by canonical. `zone`:
    where dates without an offset were read.
    """

    packaged: str = ""
    known: Mapping[str, str] = field(default_factory=dict)
    custom: tuple[dict[str, Any], ...] = ()
    zone: str = UTC

    def dump(self) -> bytes:
        """As the ledger keeps it."""
        return orjson.dumps(asdict(self))

    @classmethod
    def load(cls, text: bytes | None) -> Edition:
        """As kept; the edition of nothing when nothing is."""
        kept: dict[str, Any] = orjson.loads(text) if text else {"packaged": "", "known": {}, "custom": ()}
        return cls(kept["packaged"], kept["known"], tuple(kept["custom"]), kept.get("zone", UTC))


class Packaged:
    """The search parameters that come with this server."""

    def __init__(self, definitions: Definitions, zone: ZoneInfo) -> None:
        self._definitions = definitions
        self.zone = zone
        self.parameters = project_parameters()

    @cached_property
    def digest(self) -> str:
        """Of everything that decides which index entries a resource has."""
        tables = b"".join(files(package).joinpath(*path).read_bytes() for package, *path in _TABLES)
        return sha256(orjson.dumps([EDITIONS, self.zone.key]) + tables).hexdigest()

    def edition(self, custom: Iterable[dict[str, Any]] = ()) -> Edition:
        """That of this server, with those custom parameters."""
        r4 = self._definitions.search_parameters_by_id.values()
        known = {each.url: self._fingerprint(each) for each in r4}
        known |= {each.parameter.url: self._fingerprint(each.parameter) for each in self.parameters}
        return Edition(self.digest, known, tuple(sorted(custom, key=lambda each: str(each["url"]))), self.zone.key)

    def withheld(self, in_force: Edition) -> Iterator[ProjectParameter]:
        """Those that the index is not made with, or with another definition, as not built."""
        if in_force.packaged == self.digest:
            return
        known = self.edition().known
        for type_ in sorted(self._definitions.resource_types):
            for each in self._definitions.search_parameters(type_).values():
                if known[each.url] != in_force.known.get(each.url):
                    parameter = Parameter(each.code, each.type, each.url, each.expression, each.targets, built=False)
                    yield ProjectParameter((type_,), parameter)

    def unchanged(self, in_force: Edition) -> Iterator[ProjectParameter]:
        """The project's own that the index is made with."""
        known = in_force.known
        for each in self.parameters:
            if in_force.packaged == self.digest or known.get(each.parameter.url) == self._fingerprint(each.parameter):
                yield each

    def _fingerprint(self, each: SearchParameter | Parameter) -> str:
        """Of what decides the entries of one parameter."""
        # The project's own have no components.
        components = each.components if isinstance(each, SearchParameter) else ()
        said = [EDITIONS[each.type], each.code, each.type, each.expression, sorted(each.targets), components]
        if each.type in _DATED and self.zone.key != UTC:
            said.append(self.zone.key)
        return sha256(orjson.dumps(said)).hexdigest()[:12]


class Index:
    """The search parameters of one running server. `searched`: what can be asked for; `written`: what a write is
    indexed by. Both change when another process announces an edition or puts it in force: see `refresh`. `announced`: a
    reindex is under way, or was stopped."""

    def __init__(self, definitions: Definitions, store: Store, zone: ZoneInfo) -> None:
        """`refresh` makes it ready. `zone`: where dates without an offset are read."""
        self.packaged = Packaged(definitions, zone)
        self._definitions = definitions
        self._store = store
        self._version = -1
        self.announced = False
        self.in_force = Edition()
        self.searched = self.written = SearchRegistry(definitions, (), zone=zone)

    @property
    def outdated(self) -> bool:
        """Whether the index is made with other definitions than this server has."""
        return self.in_force.packaged != self.packaged.digest

    @property
    def guard(self) -> PolicyGuard:
        """Holds while nothing is announced that this process does not know of."""
        return PolicyGuard(POLICY, self._version)

    async def begin(self) -> None:
        """A new store: what is written from now on is indexed by what this server knows."""
        edition = self.packaged.edition()
        await self._store.ledger.put(KIND, IN_FORCE, edition.dump(), expires=None, only_new=True)

    async def refresh(self, now: int) -> None:
        """See what is in force and what is announced; cheap when neither has changed."""
        # The version is read first: what changes after it is a Stale at the next write, never something missed.
        async with self._store.snapshot() as snapshot:
            version = await snapshot.policy_version(POLICY)
        if version == self._version:
            return
        in_force = await self._store.ledger.get(KIND, IN_FORCE, now=now)
        announced = await self._store.ledger.get(KIND, ANNOUNCED, now=now)
        self._take(Edition.load(in_force), Edition.load(announced))
        self.announced = announced is not None
        self._version = version

    async def announce(self, edition: Edition) -> None:
        """From here on every process indexes what it writes by this edition too."""
        await self._store.ledger.put(KIND, ANNOUNCED, edition.dump(), expires=None)
        await self._raise_version()

    async def enforce(self, edition: Edition) -> None:
        """The whole index is made with this edition: searches may ask for all of it."""
        await self._store.ledger.put(KIND, IN_FORCE, edition.dump(), expires=None)
        await self._raise_version()
        # Last: a command that was stopped before sees by it that it has not ended.
        await self._store.ledger.delete(KIND, ANNOUNCED)

    async def _raise_version(self) -> None:
        await self._store.commit(Commit(bump=frozenset({POLICY})))

    def registry(self, *editions: Edition) -> SearchRegistry:
        """All that comes with this server, and the custom parameters of those editions."""
        return self._registry((*self.packaged.parameters, *self._custom(*editions)))

    def _registry(self, extra: Iterable[ProjectParameter]) -> SearchRegistry:
        return SearchRegistry(self._definitions, extra, zone=self.packaged.zone)

    def _take(self, in_force: Edition, announced: Edition) -> None:
        self.in_force = in_force
        self.written = self.searched = self.registry(in_force, announced)
        if self.outdated or announced.custom:
            # What is defined anew has entries of both kinds until the reindex has ended.
            anew = {each["url"]: each for each in announced.custom}
            here = in_force.zone == self.packaged.zone.key
            same = replace(
                in_force,
                custom=tuple(
                    each
                    for each in in_force.custom
                    if anew.get(each["url"], each) == each and (here or each.get("type") not in _DATED)
                ),
            )
            extra = (*self.packaged.unchanged(in_force), *self.packaged.withheld(in_force), *self._custom(same))
            self.searched = self._registry(extra)

    def _custom(self, *editions: Edition) -> list[ProjectParameter]:
        """The parameters of SearchParameter resources, each canonical once, the last one's; what does not compile any
        more was said by the reindex that met it."""
        resources = {str(each["url"]): each for edition in editions for each in edition.custom}
        found = []
        for url, each in resources.items():
            try:
                found.append(parameter_of(each, self._definitions))
            except FhirServerError:
                log.warning("custom search parameter left out", url=url)
        return found
