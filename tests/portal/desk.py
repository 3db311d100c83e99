"""A house whose people can log in, and whose programs are registered: what a test of the pages stands at."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import httpx

from fhir_server.app import services
from fhir_server.auth.clients import register
from fhir_server.context import Services
from fhir_server.demo.people import REDIRECTS, people
from tests.conftest import House
from tests.portal.browser import Browser

VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@dataclass
class Desk:
    """A running server, and what is needed to come in."""

    house: House
    passwords: dict[str, str]
    browsers: list[Browser] = field(default_factory=list)

    @property
    def root(self) -> str:
        """The url of the pages."""
        return self.house.settings.web_base

    def browser(self, language: str = "en") -> Browser:
        """A new one, closed with the desk."""
        made = Browser(self.root, language)
        self.browsers.append(made)
        return made

    def inside(self, act: Callable[[Services], Any]) -> Any:
        """Do something with the parts of a server on the same store."""

        async def go() -> Any:
            async with services(self.house.settings) as parts:
                return await act(parts)

        return asyncio.run(go())

    def asks(self, scope: str, client: str = "demo-app", **more: str) -> str:
        """The url by which an application asks to be let in."""
        asked = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": REDIRECTS[0],
            "scope": scope,
            "state": "s t&te",
            "aud": self.house.base,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **more,
        }
        return f"{self.root}/oauth/authorize?{urlencode(asked)}"

    def redeem(self, code: str, client: str = "demo-app") -> dict[str, Any]:
        """The tokens for a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECTS[0],
            "client_id": client,
            "code_verifier": VERIFIER,
        }
        answer = httpx.post(f"{self.root}/oauth/token", data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, token: str, path: str) -> httpx.Response:
        """A read with a token of an application."""
        return httpx.get(f"{self.house.base}/{path}", headers={"Authorization": f"Bearer {token}"})

    def enter(self, login: str, language: str = "en") -> Browser:
        """A browser in which somebody is logged in."""
        made = self.browser(language)
        made.open("/login?lang=en")
        made.log_in(login, self.passwords[login])
        return made


def open_desk(house: House) -> Desk:
    """Give everyone in the house an account, and register the programs; one of the house's own among them."""

    async def fill(parts: Services) -> dict[str, Any]:
        given = await people(parts, house.cast, {})
        own = {
            "client_id": "own-app",
            "client_name": "Our own",
            "kind": "app",
            "token_endpoint_auth_method": "none",
            "first_party": True,
            "redirect_uris": [REDIRECTS[0]],
            "scope": "openid fhirUser launch/patient patient/*.cruds user/*.cruds",
        }
        await register(parts.store.ledger, parts.passwords, own)
        return given

    desk = Desk(house, {})
    desk.passwords = desk.inside(fill)["accounts"]
    return desk
