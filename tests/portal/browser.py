"""A browser without scripts: it keeps cookies, reads pages strictly, fills in forms by their labels and sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx
from lxml import etree


@dataclass
class Page:
    """What a request answered, as a tree. A page that is not well-formed raises here."""

    response: httpx.Response
    root: Any

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.response.status_code

    @property
    def title(self) -> str:
        """The one main heading."""
        (heading,) = self.root.iter("h1")
        return "".join(heading.itertext()).strip()

    @property
    def text(self) -> str:
        """All that is to be read on it."""
        return " ".join(" ".join(self.root.itertext()).split())

    @property
    def faults(self) -> dict[str, str]:
        """What the summary of errors says, by the id of the field that it leads to."""
        found = self.root.xpath("//div[@class='faults']//a")
        return {each.get("href").removeprefix("#"): each.text for each in found}

    def field(self, label: str) -> Any:
        """The input with that label."""
        for each in self.root.iter("label"):
            if "".join(each.itertext()).strip().startswith(label):
                (found,) = self.root.xpath(f"//*[@id='{each.get('for')}']")
                return found
        raise LookupError(label)

    def labels(self) -> list[str]:
        """The labels of its inputs."""
        return ["".join(each.itertext()).strip() for each in self.root.iter("label")]


class Browser:
    """One person's browser."""

    def __init__(self, root: str, language: str = "en") -> None:
        """`root`: the url of the server, without a path."""
        self.root = root
        self.http = httpx.Client(base_url=root, headers={"Accept-Language": language}, timeout=30)
        self.page: Page | None = None
        self.left_for = ""

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()

    def open(self, url: str) -> Page:
        """Follow a url to the page where it ends; `left_for` is the address of another host that it led to."""
        return self._follow(self.http.get(url))

    def press(self, button: str, **filled: str | tuple[str, ...]) -> Page:
        """Fill in the form that has this button, and press it. `filled`: values by name of the input."""
        form, pressed = self._form(button)
        values = _values(form)
        for name, value in filled.items():
            assert form.xpath(f".//*[@name='{name}']"), f"no input {name}"
            values = [each for each in values if each[0] != name]
            values += [(name, each) for each in ([value] if isinstance(value, str) else value)]
        if pressed.get("name"):
            values.append((pressed.get("name"), pressed.get("value")))
        return self.send(form.get("action"), values)

    def send(self, url: str, values: list[tuple[str, str]]) -> Page:
        """POST a form."""
        data: dict[str, list[str]] = {}
        for name, value in values:
            data.setdefault(name, []).append(value)
        return self._follow(self.http.post(url, data=data))

    def link(self, text: str) -> Page:
        """Follow the link with that text."""
        assert self.page
        (found,) = [each for each in self.page.root.iter("a") if "".join(each.itertext()).strip() == text]
        return self.open(found.get("href"))

    def log_in(self, login: str, password: str) -> Page:
        """On the login page."""
        return self.press("Log in", login=login, password=password)

    @property
    def answer(self) -> dict[str, str]:
        """The query that an application was sent."""
        return dict(parse_qsl(urlsplit(self.left_for).query))

    def _form(self, button: str) -> tuple[Any, Any]:
        assert self.page
        for each in self.page.root.iter("button"):
            if button in ("".join(each.itertext()).strip(), each.get("aria-label")):
                return next(each.iterancestors("form")), each
        raise LookupError(f"no button {button} on: {self.page.text}")

    def _follow(self, response: httpx.Response) -> Page:
        self.left_for = ""
        while response.is_redirect:
            url = urljoin(str(response.url), response.headers["location"])
            if not url.startswith(self.root + "/"):
                self.left_for = url
                break
            response = self.http.get(url)
        if response.headers.get("content-type", "").startswith("text/html"):
            self.page = Page(response, etree.fromstring(response.content, etree.XMLParser(resolve_entities=False)))
        else:
            self.page = Page(response, None)
        return self.page


def _values(form: Any) -> list[tuple[str, str]]:
    """What a form sends as it stands."""
    found = []
    for each in form.iter("input"):
        if each.get("type") in ("radio", "checkbox") and each.get("checked") is None:
            continue
        if each.get("name"):
            found.append((each.get("name"), each.get("value", "")))
    return found
