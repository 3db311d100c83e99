"""One request to a page: the browser's cookie, the login behind it, the language, and the form it sent.

There is one cookie. Before a login it only proves, with the token of each form, that a form was sent from a page of
ours; the login puts a new one in its place, so that nobody is logged in by a planted cookie (session fixation).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request, Response

from fhir_server.auth.actor import Actor
from fhir_server.auth.sessions import COOKIE, Session, Sessions
from fhir_server.errors import Forbidden, Malformed, TooLarge
from fhir_server.portal.words import LANGUAGES, language_of, words

_LARGEST: Final = 16_384
_FORM: Final = "application/x-www-form-urlencoded"
_YEAR: Final = 31_536_000


class BadForm(Forbidden):
    """A form that was not sent from a page of ours, or too late."""


@dataclass(slots=True)
class Visit:
    """`cookie`: the browser's secret; `form`: name to values, of a POST; `secure`: served by https."""

    path: str
    query: Mapping[str, str]
    language: str
    cookie: str
    secure: bool
    session: Session | None = None
    form: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def words(self) -> Mapping[str, str]:
        """The sentences in the language of this browser."""
        return words(self.language)

    @property
    def token(self) -> str:
        """What each form of this browser carries: only a page of ours can know it."""
        return hmac.new(self.cookie.encode(), b"form", sha256).hexdigest()

    @property
    def actor(self) -> Actor | None:
        """As whom the person acts, once that is settled."""
        return self.session.actor if self.session else None

    def asked(self, name: str) -> str:
        """A parameter, of the form or else of the query; "" for none."""
        return next(iter(self.form.get(name, ())), "") or self.query.get(name, "")

    def renew(self, cookie: str) -> None:
        """From the answer on, the browser has this cookie."""
        self.cookie = cookie

    def keep(self, response: Response) -> None:
        """Put the cookies on an answer: for this host only, unseen by scripts, not sent with forms of other sites.

        None on the answer to what was no visit: else a form of another site would log people out.
        """
        if not self.cookie:
            return
        prefix = "__Host-" if self.secure else ""
        options = {"path": "/", "httponly": True, "samesite": "lax", "secure": self.secure}
        response.set_cookie(f"{prefix}login", self.cookie, **options)  # type: ignore[arg-type]
        if self.query.get("lang") in LANGUAGES:
            response.set_cookie(f"{prefix}lang", self.language, max_age=_YEAR, **options)  # type: ignore[arg-type]


def refused(request: Request) -> Visit:
    """What a request is that is no visit: somebody to be told so, in their language."""
    return Visit(request.url.path, dict(request.query_params), _language(request, ""), cookie="", secure=False)


async def visit(request: Request, sessions: Sessions, *, secure: bool, now: int) -> Visit:
    """The visit that a request is. Raises BadForm for a POST that no page of ours made, Malformed, TooLarge."""
    prefix = "__Host-" if secure else ""
    cookie = request.cookies.get(f"{prefix}login", "")
    given = Visit(
        path=request.url.path,
        query=dict(request.query_params),
        language=_language(request, prefix),
        cookie=cookie if COOKIE.fullmatch(cookie) else secrets.token_urlsafe(32),
        secure=secure,
    )
    given.session = await sessions.current(cookie, now=now)
    if request.method == "POST":
        given.form = await _form(request)
        if not hmac.compare_digest(given.asked("token").encode(), given.token.encode()):
            raise BadForm
    return given


def _language(request: Request, prefix: str) -> str:
    asked, kept = request.query_params.get("lang", ""), request.cookies.get(f"{prefix}lang", "")
    return language_of(asked, kept, request.headers.get("accept-language", ""))


async def _form(request: Request) -> Mapping[str, tuple[str, ...]]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Malformed("A form is expected.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise TooLarge
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise Malformed("This form cannot be read.") from error
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found
