"""The administrator's door to accounts: who may log in, and the codes that bind an outside identity to one of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from fhir_server.api.acts import note_account
from fhir_server.api.admin import administrator, json_object
from fhir_server.auth.accounts import Accounts
from fhir_server.context import Services
from fhir_server.errors import Invalid, Issue, NotFound
from fhir_server.record.holders import holders

_TEXTS = ("login", "name", "patient", "password")


def router(services: Services) -> APIRouter:
    """The endpoints."""
    made, accounts = APIRouter(tags=["administration"]), Accounts(services.store.ledger, services.passwords)

    @made.post("/admin/accounts", status_code=201)
    async def add(request: Request) -> Response:
        """Make an account: `login`, `name`, and of `patient`, `represents` (a list), `admin`, `password`."""
        admin = await administrator(services, request)
        given = _read(await json_object(request))
        actors = await holders(
            services,
            given["login"],
            given["name"],
            patient=given.get("patient", ""),
            represents=given.get("represents", []),
            admin=given.get("admin", False),
        )
        account = await accounts.add(given["login"], actors, given.get("password", ""))
        await note_account(services, admin, "add-account", account)
        return JSONResponse({"login": account.login}, 201)

    @made.post("/admin/accounts/{login}/code", status_code=201)
    async def enrol(request: Request, login: str) -> Response:
        """An enrolment code, good once within a day; the answer is the only place where it is seen."""
        admin, now = await administrator(services, request), services.clock()
        code = await accounts.enrolment_code(login, now=now)
        await note_account(services, admin, "enrol-account", await accounts.get(login, now=now))
        return JSONResponse({"code": code}, 201)

    @made.delete("/admin/accounts/{login}", status_code=204)
    async def away(request: Request, login: str) -> Response:
        """End an account, its login sessions, and what was granted in them."""
        admin, now = await administrator(services, request), services.clock()
        account = await accounts.get(login, now=now)
        if not await accounts.remove(login, now=now):
            raise NotFound
        await note_account(services, admin, "remove-account", account)
        return Response(status_code=204)

    return made


def _read(given: dict[str, Any]) -> dict[str, Any]:
    """The members of a request, each of its type. Raises Invalid naming those that are not."""
    represents = given.get("represents", [])
    faults = [name for name in _TEXTS if not isinstance(given.get(name, ""), str)]
    faults += [name for name in ("login", "name") if not given.get(name)]
    faults += [name for name in given if name not in (*_TEXTS, "represents", "admin")]
    if not isinstance(represents, list) or not all(isinstance(each, str) for each in represents):
        faults.append("represents")
    if not isinstance(given.get("admin", False), bool):
        faults.append("admin")
    if faults:
        raise Invalid(issues=[Issue("value", "This is not what an account has there.", name) for name in faults])
    return given
