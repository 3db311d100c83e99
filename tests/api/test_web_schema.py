"""The OAuth and administration doors against what schemathesis makes of their OpenAPI document: no fault of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.schemas import APIOperation

from fhir_server.api.web import create_web
from fhir_server.app import services
from fhir_server.settings import Settings
from tests.conftest import Caller, open_house


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """An administrator at a running server."""
    for house in open_house(tmp_path_factory.mktemp("web"), rate_address=0):
        with httpx.Client(base_url=house.settings.web_base, timeout=30) as http:
            yield Caller(http, house.admin.token, house.admin.reference)


def operations(folder: Path) -> list[APIOperation]:
    """Those of the document that the doors give of themselves."""

    async def read() -> dict[str, Any]:
        async with services(Settings(store=f"sqlite:{folder / 's.db'}")) as parts:
            return create_web(parts).openapi()

    schema = schemathesis.openapi.from_dict(asyncio.run(read()))
    return [each.ok() for each in schema.get_all_operations()]


def test_whatever_is_sent_no_door_falls(admin: Caller, tmp_path: Path) -> None:
    """Never a 5xx; refusals are JSON, or a line of text for a person."""
    found = operations(tmp_path)
    assert {"/oauth/token", "/oauth/authorize", "/admin/clients"} <= {each.path for each in found}
    for operation in found:

        @settings(max_examples=6, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy())
        def sends(case: Any) -> None:
            answer = case.call(
                base_url=str(admin.http.base_url).rstrip("/"),
                headers={"Authorization": f"Bearer {admin.token}"} if case.path.startswith("/admin") else None,
                allow_redirects=False,
            )
            assert answer.status_code < 500, (case.method, case.path, answer.text)
            if answer.status_code >= 400:
                kind = answer.headers["content-type"][0].partition(";")[0]
                assert kind in ("application/json", "text/plain")

        sends()
