"""What an OpenID provider says of itself, and the calls to the endpoints it names (OpenID Connect Discovery 1.0).

Remembered for an hour. Keys are fetched again at most once a minute, whoever asks for a key that is not there (A18).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson
import structlog

from fhir_server.auth.outbound import Outbound
from fhir_server.auth.providers import safe
from fhir_server.errors import Unauthenticated, Unavailable

log = structlog.get_logger()

_HOUR: Final = 3_600_000_000
_MINUTE: Final = 60_000_000
_JSON: Final = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The endpoints of a provider; "" for one that it does not have. `states_issuer`: its answers carry `iss`."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    introspection_endpoint: str = ""
    end_session_endpoint: str = ""
    states_issuer: bool = False


class ProviderCalls:
    """Requests to the endpoints of a provider."""

    def __init__(self, outbound: Outbound) -> None:
        """`outbound`: the one door out."""
        self._outbound = outbound

    async def get(self, url: str) -> dict[str, Any]:
        """The JSON object that lies there."""
        return _object((await self._call("GET", url, headers=_JSON)).content)

    async def post(self, url: str, body: dict[str, str], client_id: str, secret: str) -> dict[str, Any]:
        """What an endpoint answers to this client. Raises Unauthenticated when it refuses, Unavailable."""
        answer = await self._call(
            "POST", url, data={**body, "client_id": client_id, "client_secret": secret}, headers=_JSON
        )
        return _object(answer.content)

    async def about(self, url: str, token: str) -> tuple[str, bytes]:
        """The media type and the body of what it says of the person whose access token that is."""
        answer = await self._call("GET", url, headers={"Authorization": f"Bearer {token}"})
        return answer.headers.get("content-type", "").partition(";")[0].strip().lower(), answer.content

    async def _call(self, method: str, url: str, **more: Any) -> httpx.Response:
        """One request. Raises Unauthenticated for a 4xx, Unavailable for all else that is not a 200."""
        if not url:
            raise Unavailable("The identity provider does not offer that.")
        try:
            answer = await self._outbound.call(method, url, **more)
        except httpx.HTTPError as error:
            log.error("identity provider", host=httpx.URL(url).host, fault=type(error).__name__)
            raise Unavailable("The identity provider does not answer.") from error
        if 400 <= answer.status_code < 500:
            raise Unauthenticated("The identity provider refuses.")
        if answer.status_code != 200:
            raise Unavailable("The identity provider does not answer.")
        return answer


class ProviderMetadata:
    """The metadata and keys of one issuer, as last fetched."""

    def __init__(self, issuer: str, calls: ProviderCalls) -> None:
        """`issuer`: its url, to which `/.well-known/openid-configuration` is added."""
        self._issuer = issuer
        self._calls = calls
        self._known: Metadata | None = None
        self._until = 0
        self._keys: dict[str, Any] = {}
        self._fetched = -_HOUR

    async def get(self, now: int) -> Metadata:
        """Raises Unavailable when the provider does not answer, or not as a provider of that issuer."""
        if self._known is None or now >= self._until:
            url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
            self._known = self._read(await self._calls.get(url))
            self._until = now + _HOUR
        return self._known

    async def keys(self, now: int, *, fresh: bool) -> dict[str, Any]:
        """Its JWKS; `fresh`: not what was remembered, unless that is younger than a minute."""
        age = now - self._fetched
        if age >= _HOUR or (fresh and age >= _MINUTE):
            self._keys = await self._calls.get((await self.get(now)).jwks_uri)
            self._fetched = now
        return self._keys

    def _read(self, told: dict[str, Any]) -> Metadata:
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
        urls = {name: told.get(name, "") for name in (*names, "introspection_endpoint", "end_session_endpoint")}
        good = all(isinstance(url, str) and (not url or safe(url)) for url in urls.values())
        if told.get("issuer") != self._issuer or not good or not all(urls[name] for name in names[:3]):
            log.error("identity provider", issuer=self._issuer, fault="its metadata is not that of this issuer")
            raise Unavailable("The identity provider cannot be used now.")
        return Metadata(**urls, states_issuer=told.get("authorization_response_iss_parameter_supported") is True)


def _object(body: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unavailable("The identity provider does not answer as one.") from error
    if not isinstance(read, dict):
        raise Unavailable("The identity provider does not answer as one.")
    return read
