"""What tests share: the real data beside the project, the official examples, and a house with people in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import settings as hypothesis_settings

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.auth.tokens import issue
from fhir_server.demo.build import DAY, Cast, build, credentials
from fhir_server.settings import Settings
from tests.live import running
from tests.log_watch import WATCH, watch

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

hypothesis_settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis_settings.load_profile("suite")


def pytest_configure() -> None:
    """From the first line on, the log of every server of the suite is read along."""
    watch()


@pytest.fixture(autouse=True)
def _logs_name_nobody() -> Iterator[None]:
    """No test makes a server write a token, an identity or a name to its log, whatever it does to it."""
    yield
    assert WATCH.told() == []


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real documents and bundles."""
    if not SHARED.is_dir():
        pytest.skip("the real data (../shared/data) is not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def r4_package() -> Path:
    """The unpacked hl7.fhir.r4.examples."""
    folder = ROOT / ".cache" / "r4" / "package"
    if not folder.is_dir():
        pytest.skip("the R4 examples are not fetched: `make examples`")
    return folder


@dataclass
class Caller:
    """One actor at the door, over real HTTP."""

    http: httpx.Client
    token: str
    reference: str

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Any request, with the token."""
        headers = (
            {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
            if self.token
            else more.pop("headers", {})
        )
        return self.http.request(method, url, headers=headers, **more)

    def get(self, url: str, **headers: str) -> httpx.Response:
        """GET under the FHIR base."""
        return self.request("GET", url, headers=headers)

    def post(self, url: str, resource: Any, **headers: str) -> httpx.Response:
        """POST a resource, given as a dict or as bytes."""
        body = resource if isinstance(resource, bytes) else orjson.dumps(resource)
        return self.request("POST", url, content=body, headers={"Content-Type": "application/fhir+json", **headers})

    def put(self, url: str, resource: Any, **headers: str) -> httpx.Response:
        """PUT a resource."""
        body = resource if isinstance(resource, bytes) else orjson.dumps(resource)
        return self.request("PUT", url, content=body, headers={"Content-Type": "application/fhir+json", **headers})

    def delete(self, url: str, **headers: str) -> httpx.Response:
        """DELETE."""
        return self.request("DELETE", url, headers=headers)


@dataclass
class House:
    """A running server with the cast of the demonstration, a caller for each of them."""

    settings: Settings
    cast: Cast
    callers: dict[str, Caller] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Caller:
        try:
            return self.callers[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def base(self) -> str:
        """The FHIR base."""
        return self.settings.fhir_base


def open_house(
    folder: Path, guests: Callable[[Cast], Mapping[str, Actor]] = lambda cast: {}, **chosen: Any
) -> Iterator[House]:
    """Build the cast, start the server, give every actor a client; `guests`: callers of a test's own, by name;
    `chosen`: settings of its own."""
    with running(folder, **chosen) as settings:

        async def people() -> tuple[Cast, dict[str, dict[str, str]]]:
            async with services(settings) as parts:
                cast = await build(parts)
                given = await credentials(parts, cast)
                for name, actor in guests(cast).items():
                    token = await issue(parts.store.ledger, actor, ttl=DAY, now=parts.clock())
                    given[name] = {"reference": actor.reference, "token": token}
                return cast, given

        cast, given = asyncio.run(people())
        with httpx.Client(base_url=settings.fhir_base + "/", timeout=30) as http:
            house = House(settings, cast)
            for name, each in given.items():
                house.callers[name] = Caller(http, each["token"], each["reference"])
                WATCH.forbid("a token", each["token"])
            house.callers["nobody"] = Caller(http, "", "")
            yield house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for the tests of a module; a test that changes the policy of the record puts it back."""
    yield from open_house(tmp_path_factory.mktemp("house"))


@pytest.fixture
def own_house(tmp_path: Path) -> Iterator[House]:
    """A house of one test's own."""
    yield from open_house(tmp_path)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A server without authorization."""
    with (
        running(tmp_path_factory.mktemp("open"), open=True) as settings,
        httpx.Client(base_url=settings.fhir_base + "/", timeout=120) as http,
    ):
        yield Caller(http, "", "")
