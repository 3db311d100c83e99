"""The one door out: what this server asks of other hosts goes through it, and nothing else leaves (spec access §9).

Hosts are those that the settings name. Redirects are not followed, proxies of the environment not used, answers bounded
in size and time. A name that leads to an address of this machine or of a private network is refused, unless the
settings say such an address itself, or allow it.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import Any, Final

import httpx
import structlog

from fhir_server.settings import Settings

log = structlog.get_logger()

_PATIENCE: Final = 5.0
"""Seconds for a whole answer."""

_LARGEST: Final = 262_144
_PORTS: Final = {"https": 443, "http": 80}
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class OutboundRefused(httpx.RequestError):
    """Nothing was sent: the settings do not name that host, or it answers more than is read."""


class Outbound:
    """Asks other hosts, those of the settings. One object for a server."""

    def __init__(self, settings: Settings) -> None:
        """`settings.outbound_hosts`: `host` or `host:port`; the identity providers that are set are among them."""
        issuers = (settings.psc_issuer, settings.fc_issuer)
        named = (httpx.URL(issuer) for issuer in issuers if issuer)
        self._hosts = {*settings.outbound_hosts.lower().split(), *(_of(url) for url in named)}
        self._private = settings.outbound_private

    async def call(self, method: str, url: str, *, patience: float = _PATIENCE, **more: Any) -> httpx.Response:
        """One request, its answer read to the end. `more`: of httpx: headers, data, content, json.

        Raises httpx.HTTPError when there is no answer; OutboundRefused, which is one, when none was asked for.
        """
        try:
            asked = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise OutboundRefused("no url") from error
        try:
            async with asyncio.timeout(patience):
                await self._allow(asked)
                return await _exchange(method, asked, patience, more)
        except TimeoutError as error:
            raise httpx.TimeoutException("no answer in time") from error

    async def _allow(self, url: httpx.URL) -> None:
        port = url.port or _PORTS.get(url.scheme, 0)
        if not port or not {url.host.lower(), f"{url.host.lower()}:{port}"} & self._hosts:
            log.error("a call to a host that FHIR_SERVER_OUTBOUND_HOSTS does not name", host=url.host)
            raise OutboundRefused("the settings do not name that host")
        if url.scheme != "https" and url.host not in _THIS_MACHINE:
            raise OutboundRefused("https only")
        if not self._private and not _is_address(url.host) and url.host != "localhost":
            await _public(url.host, port)


async def _public(host: str, port: int) -> None:
    """Raise OutboundRefused when a name leads inside."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx.ConnectError("no such host") from error
    if not all(ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found):
        log.error("a host of FHIR_SERVER_OUTBOUND_HOSTS leads to a private address", host=host)
        raise OutboundRefused("a private address")


async def _exchange(method: str, url: httpx.URL, patience: float, more: dict[str, Any]) -> httpx.Response:
    more["headers"] = {**more.get("headers", {}), "Accept-Encoding": "identity"}
    client = httpx.AsyncClient(timeout=patience, trust_env=False, follow_redirects=False)
    async with client, client.stream(method, url, **more) as answer:
        body = bytearray()
        # Encoded bodies are not asked for: a small one can stand for a large one.
        async for part in answer.aiter_raw():
            body += part
            if len(body) > _LARGEST:
                raise OutboundRefused("the answer is too large")
        kept = {name: answer.headers[name] for name in ("content-type", "cache-control") if name in answer.headers}
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise OutboundRefused("the answer is encoded")
        return httpx.Response(answer.status_code, headers=kept, content=bytes(body))


def _of(url: httpx.URL) -> str:
    """`host:port` of a url."""
    return f"{url.host.lower()}:{url.port or _PORTS.get(url.scheme, 0)}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
