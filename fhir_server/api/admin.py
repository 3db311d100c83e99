"""The administrator's door: which programs are registered, and EHR launches. An admin's bearer token opens it.

An administrator reads no record here, and no secret: the one of a new client is told once, when it is made.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from fhir_server.api.acts import note
from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client, every, find, register, remove
from fhir_server.auth.grants import revoke_client
from fhir_server.auth.launches import Launch, make_launch
from fhir_server.auth.tokens import authenticate
from fhir_server.context import Services
from fhir_server.errors import Forbidden, Invalid, Issue, Malformed, NotFound, TooLarge

_LARGEST: Final = 65_536


def router(services: Services) -> APIRouter:
    """The endpoints."""
    made, ledger = APIRouter(tags=["administration"]), services.store.ledger

    @made.get("/admin/clients")
    async def clients(request: Request) -> Response:
        """Every registered client."""
        await administrator(services, request)
        return JSONResponse({"clients": [each.told() for each in await every(ledger)]})

    @made.post("/admin/clients", status_code=201)
    async def add(request: Request) -> Response:
        """Register a client; the answer holds its secret, where it has one, and is the only one that does."""
        actor = await administrator(services, request)
        client, secret = await register(ledger, services.passwords, await json_object(request))
        await note(services, actor, "register-client", type="Device", id=client.id)
        return _told(client, secret, status=201)

    @made.get("/admin/clients/{id}")
    async def one(request: Request, id: str) -> Response:
        """One client."""
        await administrator(services, request)
        return _told(await _known(services, id))

    @made.put("/admin/clients/{id}")
    async def change(request: Request, id: str) -> Response:
        """Put a registration in the place of another; all that the client was granted ends."""
        actor = await administrator(services, request)
        await _known(services, id)
        given = await json_object(request)
        if given.setdefault("client_id", id) != id:
            raise Invalid(issues=[Issue("value", "The id of a client does not change.", "client_id")])
        client, secret = await register(ledger, services.passwords, given, new=False)
        await revoke_client(ledger, id, now=services.clock())
        await note(services, actor, "change-client", type="Device", id=id)
        return _told(client, secret)

    @made.delete("/admin/clients/{id}", status_code=204)
    async def away(request: Request, id: str) -> Response:
        """Forget a client; all that it was granted ends."""
        actor = await administrator(services, request)
        if not await remove(ledger, id):
            raise NotFound
        await revoke_client(ledger, id, now=services.clock())
        await note(services, actor, "remove-client", type="Device", id=id)
        return Response(status_code=204)

    @made.post("/admin/launch", status_code=201)
    async def launch(request: Request) -> Response:
        """An EHR launch: the word with which an app asks to be let in for one patient, once, within five minutes.

        By an administrator for a user, or by a first-party session for its own person.
        """
        actor = await _caller(services, request)
        asked = await _launch(services, actor, await json_object(request))
        word = await make_launch(ledger, asked, now=services.clock())
        app = await _known(services, asked.client)
        said = {"launch": word, "iss": services.settings.fhir_base, "initiate_login_uri": app.launch_uri}
        return JSONResponse({name: value for name, value in said.items() if value}, 201)

    return made


async def _caller(services: Services, request: Request) -> Actor:
    """Who the bearer token of a request stands for. Raises Unauthenticated."""
    return await authenticate(services.store.ledger, request.headers.get("authorization"), now=services.clock())


async def administrator(services: Services, request: Request) -> Actor:
    """The administrator who asks; raises Unauthenticated or Forbidden. A token with scopes is for resources only."""
    actor = await _caller(services, request)
    if actor.role != "admin" or actor.scopes:
        await note(services, actor, "administer", refused=Forbidden())
        raise Forbidden
    return actor


async def _launch(services: Services, actor: Actor, given: dict[str, Any]) -> Launch:
    """What is launched. Raises Invalid, naming what is wrong; Forbidden for who launches nothing."""
    if actor.role not in ("admin", "ps", "patient", "rep") or (actor.role == "admin" and actor.scopes):
        raise Forbidden
    own = await find(services.store.ledger, actor.client) if actor.client else None
    if actor.client and not (own and own.first_party):
        raise Forbidden
    client = await find(services.store.ledger, str(given.get("client_id", "")))
    patient, user = given.get("patient"), given.get("user", actor.reference)
    banner = given.get("need_patient_banner", True)
    own_only = actor.role != "admin" and user != actor.reference
    faults = {
        "client_id": (client is None or "launch" not in client.scopes, "A client registered with the scope `launch`."),
        "patient": (not isinstance(patient, str) or not patient, "The id of a Patient."),
        "user": (not isinstance(user, str) or not user or own_only, "Who will log in; your own reference, or none."),
        "need_patient_banner": (not isinstance(banner, bool), "This is true or false."),
    }
    if any(wrong for wrong, _ in faults.values()):
        raise Invalid(issues=[Issue("value", text, name) for name, (wrong, text) in faults.items() if wrong])
    assert client is not None
    if actor.role in ("patient", "rep") and patient not in actor.patients:
        raise Forbidden
    return Launch(client.id, str(user), str(patient), banner)


async def _known(services: Services, id: str) -> Client:
    client = await find(services.store.ledger, id)
    if client is None:
        raise NotFound
    return client


def _told(client: Client, secret: str = "", status: int = 200) -> Response:
    return JSONResponse(client.told() | ({"client_secret": secret} if secret else {}), status)


async def json_object(request: Request) -> dict[str, Any]:
    """The body, a JSON object. Raises Malformed, TooLarge."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise TooLarge
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("The body is not JSON.") from error
    if not isinstance(read, dict):
        raise Malformed("The body is a JSON object.")
    return read
