"""What every request passes, whichever door it goes to: limits of its address, CORS, HSTS (spec access §9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from fhir_server.api.responses import Reply, failure
from fhir_server.auth import clients
from fhir_server.context import Services
from fhir_server.errors import TooManyRequests

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

_SECOND: Final = 1_000_000
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
# What says how this server is to be talked to, and no more, is for scripts of any origin.
_FOR_ANYONE: Final = ("/.well-known/", "/fhir/.well-known/")
_PUBLIC: Final = ("/fhir/metadata", "/oauth/jwks")
_FOR_APPS: Final = ("/oauth/token", "/oauth/revoke")
_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED: Final = (
    b"Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-None-Exist, If-Modified-Since"
)
_TOLD: Final = b"ETag, Last-Modified, Location, Retry-After, WWW-Authenticate, X-Request-Id"


class Threshold:
    """An ASGI application in front of another."""

    def __init__(self, services: Services, inside: Application) -> None:
        self._services = services
        self._inside = inside
        self._always: Headers = [_HSTS] if services.settings.fhir_base.startswith("https://") else []
        self._origins: frozenset[str] = frozenset()
        self._read_at = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        headers: Headers = scope["headers"]
        origin = next((value for name, value in headers if name == b"origin"), b"")
        added = [*self._always, *await self._crossing(scope["path"], origin)] if origin else self._always
        refused = self._over_limit(scope, headers)
        if refused is None and origin and scope["method"] == "OPTIONS":
            refused = _preflight(headers, allowed=len(added) > len(self._always), path=scope["path"])
        if refused is not None:
            await _give(send, Reply(refused.status, [*refused.headers, *added], refused.body))
        elif added:
            await self._inside(scope, receive, _adding(send, added))
        else:
            await self._inside(scope, receive, send)

    def _over_limit(self, scope: Scope, headers: Headers) -> Reply | None:
        """The refusal of a request from an address that asks too much; who asks whether the server lives may."""
        if self._services.open or scope["path"].startswith("/health/"):
            return None
        peer = scope.get("client")
        forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        try:
            self._services.limits.address(peer[0] if peer else "", forwarded.decode("latin-1"))
        except TooManyRequests as error:
            return failure(error)
        return None

    async def _crossing(self, path: str, origin: bytes) -> Headers:
        """What lets a script of that origin read the answer; nothing for one that may not."""
        if path in _PUBLIC or path.startswith(_FOR_ANYONE):
            return [(b"access-control-allow-origin", b"*")]
        if not (path in _FOR_APPS or path == "/fhir" or path.startswith("/fhir/")):
            return []
        varies = (b"vary", b"origin")
        if origin.decode("latin-1").lower() not in await self._registered():
            return []
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _TOLD), varies]

    async def _registered(self) -> frozenset[str]:
        """The origins of registered applications, as they were at most a second ago."""
        now = self._services.clock()
        if not self._read_at <= now < self._read_at + _SECOND:
            known = await clients.every(self._services.store.ledger)
            self._origins, self._read_at = frozenset().union(*(each.origins for each in known)), now
        return self._origins


def _preflight(headers: Headers, *, allowed: bool, path: str) -> Reply | None:
    """The answer to a script's question whether it may ask; None for what is no such question."""
    if all(name != b"access-control-request-method" for name, _ in headers):
        return None
    said: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    if not allowed:
        return Reply(403, [*said, (b"content-length", b"0")], b"")
    methods = b"GET, HEAD" if path in _PUBLIC or path.startswith(_FOR_ANYONE) else _METHODS
    may = [
        (b"access-control-allow-methods", methods),
        (b"access-control-allow-headers", _ASKED),
        (b"access-control-max-age", b"600"),
    ]
    return Reply(204, [*said, *may], b"")


def _adding(send: Send, added: Headers) -> Send:
    async def answer(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return answer


async def _give(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})
