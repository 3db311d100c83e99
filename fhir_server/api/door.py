"""The FHIR door: plain ASGI. Bytes in, one interaction, bytes out; every failure leaves as an OperationOutcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from traceback import extract_tb
from typing import Any, Final, TypeAlias

import structlog

from fhir_server.api.authenticate import caller
from fhir_server.api.limits import read_body
from fhir_server.api.negotiate import PLAIN, Form, Headers, answer_form, negotiated
from fhir_server.api.responses import Reply, failure, in_form, rendered, reply
from fhir_server.context import Answer, Services, Trace
from fhir_server.errors import FhirServerError, NotFound, Unavailable
from fhir_server.interactions.capabilities import capability_statement
from fhir_server.interactions.router import answer

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ROOT: Final = "/fhir"
log = structlog.get_logger()


class FhirDoor:
    """An ASGI application that answers FHIR under `/fhir`, and says under `/health` whether it lives."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._started = services.clock()
        self._metadata: dict[Form, Answer] = {}
        self._stated = services.registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        headers = Headers(scope["headers"])
        request_id = self._services.ids().replace("-", "")
        try:
            given = await self._answer(scope, receive, headers, request_id)
            result = self._rendered(scope, headers, reply(self._services.settings.fhir_base, given))
        except FhirServerError as error:
            result = self._rendered(scope, headers, failure(error))
        except Exception as error:
            # The one place where a fault of ours is met. Its message may quote a resource, so only its place is logged.
            where = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-6:]]
            log.error("fault", request_id=request_id, kind=type(error).__name__, where=where)
            result = failure(FhirServerError("The server failed to answer."), status=500)
        await _send(send, scope["method"], result, request_id)

    async def _answer(self, scope: Scope, receive: Receive, headers: Headers, request_id: str) -> Answer:
        path = scope["path"]
        method = scope["method"]
        if path == ROOT + "/metadata" and method in ("GET", "HEAD"):
            negotiated(scope, headers, b"", self._services.definitions)
            return self._statement(answer_form(scope, headers) or PLAIN)
        if path.startswith("/health/"):
            return await self._health(path)
        if path != ROOT and not path.startswith(ROOT + "/"):
            raise NotFound("The FHIR interface is under /fhir.")
        ctx = await caller(self._services, headers, Trace(request_id=request_id))
        try:
            body = await read_body(receive, headers, self._services.settings.max_body_bytes)
            request = negotiated(scope, headers, body, self._services.definitions)
        except FhirServerError as error:
            ctx.trace.interaction = "refused"
            await ctx.record(error)
            raise
        return await answer(ctx, request)

    def _rendered(self, scope: Scope, headers: Headers, result: Reply) -> Reply:
        return rendered(result, answer_form(scope, headers), self._services.definitions)

    def _statement(self, form: Form) -> Answer:
        # Made when first asked for: it reads every type, and a start should not wait for that. And made again when a
        # reindex has put other search parameters in force.
        if self._stated is not self._services.registry:
            self._stated, self._metadata = self._services.registry, {}
        if form not in self._metadata:
            statement = Answer(200, capability_statement(self._services, self._started))
            self._metadata[form] = in_form(statement, form, self._services.definitions)
        return self._metadata[form]

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
        return Answer(204)


async def _send(send: Send, method: str, result: Reply, request_id: str) -> None:
    headers = [*result.headers, (b"x-request-id", request_id.encode())]
    await send({"type": "http.response.start", "status": result.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else result.body})
