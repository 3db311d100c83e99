"""The directives D09 in force, read and written as the person through the ordinary interactions, log and all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.directives import Directive, parse_directive
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.errors import Invalid
from fhir_server.interactions.router import answer


@dataclass(frozen=True, slots=True)
class Share:
    """One live D09: the directive, and the Consent as it is kept."""

    directive: Directive
    consent: dict[str, Any]

    @property
    def client(self) -> str:
        """Whom it is for, as a client id."""
        return (self.directive.actor or "").partition(":")[2]

    @property
    def category(self) -> str | None:
        """What it opens; None for everything."""
        return self.directive.label.value if self.directive.label else None


async def ask(
    services: Services, actor: Actor, method: str, path: Sequence[str], body: Any = None, **query: str
) -> dict[str, Any]:
    """The resource that an interaction answers that person. Raises what the interaction raises."""
    ctx = Context(services, actor, Trace(request_id=services.ids().replace("-", "")))
    sent = b"" if body is None else orjson.dumps(body)
    given = await answer(ctx, Request(method, tuple(path), query=tuple(query.items()), body=sent))
    found: dict[str, Any] = orjson.loads(given.body)
    return found


async def shares(services: Services, actor: Actor, patient: str, client: str = "") -> list[Share]:
    """What that person's record shares with applications now, with that one if one is named."""
    query, found = {"patient": patient, "status": "active", "_count": "500"}, list[Share]()
    while query:
        bundle = await ask(services, actor, "GET", ("Consent",), **query)
        for entry in bundle.get("entry", ()):
            share = _share(entry["resource"])
            if share and share.directive.live(services.clock()) and client in ("", share.client):
                found.append(share)
        following = (each["url"] for each in bundle.get("link", ()) if each["relation"] == "next")
        query = dict(parse_qsl(urlsplit(next(following, "")).query))
    return found


async def settle(services: Services, actor: Actor, patient: str, client: str, wanted: Sequence[dict[str, Any]]) -> None:
    """Make these directives all that the record shares with that application: what is there already stays, the rest is
    ended, what is new is given, in one transaction."""
    entries, missing = [], list(wanted)
    for share in await shares(services, actor, patient, client):
        same = next((each for each in missing if each["provision"] == share.consent["provision"]), None)
        if same is not None:
            missing.remove(same)
        else:
            entries.append(_entry("PUT", f"Consent/{share.consent['id']}", {**share.consent, "status": "inactive"}))
    entries += [_entry("POST", "Consent", each) for each in missing]
    if entries:
        await ask(services, actor, "POST", (), {"resourceType": "Bundle", "type": "transaction", "entry": entries})


def _share(consent: dict[str, Any]) -> Share | None:
    try:
        directive = parse_directive(consent)
    except Invalid:
        return None
    return Share(directive, consent) if directive.id == "D09" else None


def _entry(method: str, url: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {"resource": resource, "request": {"method": method, "url": url}}
