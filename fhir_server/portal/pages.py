"""Pages: a template, the sentences of one language, and the headers that keep a page to itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from fhir_server.portal.visit import Visit
from fhir_server.portal.words import LANGUAGES

STYLE: Final = "/portal.css"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a form to put right. `field`: the id of the input it is about; `text`: the name of the sentence."""

    field: str
    text: str
    values: Mapping[str, Any] | None = None


class Pages:
    """Renders the templates of the portal."""

    def __init__(self, *, root: str, demo: bool) -> None:
        """`root`: the path under which the pages are reached, "" for the root of the host."""
        self._root = root
        self._demo = demo
        self._environment = Environment(
            loader=PackageLoader("fhir_server.portal"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(
        self,
        visit: Visit,
        name: str,
        *,
        status: int = 200,
        faults: Iterable[Fault] = (),
        leads_to: Iterable[str] = (),
        **values: Any,
    ) -> Response:
        """The page of that template. `leads_to`: urls that its forms may end at besides this server."""
        told = [(each.field, visit.words[each.text].format(**(each.values or {}))) for each in faults]
        other = next(each for each in LANGUAGES if each != visit.language)
        kept = {"request": request} if (request := visit.asked("request")) else {}
        text = self._environment.get_template(f"{name}.html").render(
            t=visit.words,
            language=visit.language,
            other=other,
            other_url=f"{self._root}{visit.path}?{urlencode({**kept, 'lang': other})}",
            root=self._root,
            token=visit.token,
            session=visit.session,
            actor=visit.actor,
            demo=self._demo,
            faults=told,
            fault_of=dict(told),
            **values,
        )
        headers = {**_HEADERS, "Content-Security-Policy": policy(leads_to), "Content-Language": visit.language}
        response = Response(text, status, headers, "text/html; charset=utf-8")
        visit.keep(response)
        return response

    def redirect(self, visit: Visit, path: str, **query: str) -> Response:
        """Go on at a page of ours."""
        return away(visit, f"{self._root}{path}{'?' if query else ''}{urlencode(query)}")

    def style(self) -> Response:
        """The stylesheet."""
        css = files("fhir_server.portal").joinpath("portal.css").read_bytes()
        return Response(css, headers={**_HEADERS, "Cache-Control": "max-age=3600"}, media_type="text/css")


def away(visit: Visit, url: str) -> Response:
    """Send the browser to an address, by GET."""
    response = Response(status_code=303, headers={**_HEADERS, "Location": url})
    visit.keep(response)
    return response


def policy(leads_to: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of a page: nothing but its own style, in no frame. Browsers hold `form-action` to
    where a form ends after redirects, so the addresses that it may lead to are named."""
    ends = " ".join(dict.fromkeys(source for source in map(_source, leads_to) if source))
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none';"
        f" form-action 'self'{' ' if ends else ''}{ends}"
    )


def _source(url: str) -> str:
    """What stands for an address in a policy: its origin, or the scheme of an app."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:" if parts.scheme else ""
