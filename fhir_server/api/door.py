"""The FHIR door: plain ASGI. Bytes in, one interaction, bytes out; every failure leaves as an OperationOutcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from traceback import extract_tb
from typing import Any, Final, TypeAlias

import structlog

from fhir_server.api.authenticate import caller
from fhir_server.api.limits import read_body
from fhir_server.api.negotiate import PLAIN, Head, negotiated
from fhir_server.api.responses import Reply, failure, rendered, reply
from fhir_server.api.statement import Statement
from fhir_server.context import Answer, Services, Trace
from fhir_server.errors import FhirServerError, MethodNotAllowed, NotFound, Unavailable
from fhir_server.interactions.router import answer
from fhir_server.logs import REQUEST

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ROOT: Final = "/fhir"
log = structlog.get_logger()


class FhirDoor:
    """An ASGI application that answers FHIR under `/fhir`, and says under `/health` whether it lives."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._statement = Statement(services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        head = Head(scope)
        request_id = self._services.ids().replace("-", "")
        REQUEST.set(request_id)
        try:
            given = await self._answer(head, receive, request_id)
            result = await self._rendered(head, reply(self._services.settings.fhir_base, given))
        except FhirServerError as error:
            result = await self._rendered(head, failure(error))
        except Exception as error:
            # The one place where a fault of ours is met. Its message may quote a resource, so only its place is logged.
            where = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-6:]]
            log.error("fault", kind=type(error).__name__, where=where)
            result = failure(FhirServerError("The server failed to answer."), status=500)
        headers = [*result.headers, (b"x-request-id", request_id.encode())]
        await send({"type": "http.response.start", "status": result.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head.method == "HEAD" else result.body})

    async def warm(self) -> None:
        """Make ready, while there is little to do, what is dear when it is first asked for."""
        await self._statement.answer()

    async def _answer(self, head: Head, receive: Receive, request_id: str) -> Answer:
        path = head.path
        if path == ROOT + "/metadata":
            return await self._stated(head)
        if path.startswith("/health/"):
            return await self._health(path)
        if path != ROOT and not path.startswith(ROOT + "/"):
            raise NotFound("The FHIR interface is under /fhir.")
        ctx = await caller(self._services, head.get(b"authorization"), Trace(request_id=request_id))
        try:
            body = await read_body(receive, head, self._services.settings.max_body_bytes)
            request = await self._services.aside(body, negotiated, head, body, self._services.definitions)
        except FhirServerError as error:
            ctx.trace.interaction = "refused"
            await ctx.record(error)
            raise
        return await answer(ctx, request)

    async def _rendered(self, head: Head, result: Reply) -> Reply:
        if head.form is PLAIN:
            return result
        return await self._services.aside(result.body, rendered, result, head.form, self._services.definitions)

    async def _stated(self, head: Head) -> Answer:
        if head.method not in ("GET", "HEAD"):
            raise MethodNotAllowed
        negotiated(head, b"", self._services.definitions)
        return await self._statement.answer(head.form or PLAIN)

    async def _health(self, path: str) -> Answer:
        if path == "/health/live":
            return Answer(204)
        if path != "/health/ready":
            raise NotFound
        try:
            async with self._services.store.snapshot() as snapshot:
                await snapshot.policy_version("")
        except Exception as error:
            raise Unavailable("The store does not answer.") from error
        if self._services.health.fault:
            raise Unavailable(self._services.health.fault)
        return Answer(204)
