"""patch: PATCH [type]/[id], PATCH [type]?criteria (https://hl7.org/fhir/R4/http.html#patch)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Invalid, Issue, Malformed, UnsupportedMediaType
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import parse
from fhir_server.fhir.patch import fhirpath_patch, json_patch, xml_patch
from fhir_server.interactions.binary import FHIR_JSON
from fhir_server.interactions.create import draft_alone, written
from fhir_server.interactions.draft import Once, commit, may_change, retried
from fhir_server.interactions.target import to_patch
from fhir_server.storage.interface import Version

Language: TypeAlias = Callable[[bytes, bytes, Definitions], bytes]

LANGUAGES: Final[Mapping[str, Language]] = MappingProxyType(
    {
        "application/json-patch+json": json_patch.apply,
        "application/xml-patch+xml": xml_patch.apply,
        **dict.fromkeys(FHIR_JSON, fhirpath_patch.apply),
    }
)
"""Content-Type of a patch → what applies it."""

_LARGE: Final = 1 << 15
"""Bytes of resource and patch together: with so many, a thousand operations can take a good part of a second."""


async def patch(ctx: Context, request: Request) -> Answer:
    """200 with the new version; 404 where there is nothing to patch, 412 where criteria find several resources.

    Rights are judged before the patch is looked at: what fits and what does not tells what is there.
    """
    ctx.allow(request.path[0], "u")
    check_language(ctx, request)
    once = Once()

    async def attempt() -> Version:
        async with ctx.store.snapshot() as snapshot:
            target = await to_patch(ctx, snapshot, request)
            assert target.before is not None
            await may_change(ctx, snapshot, target.before)
            body, resource = await patched(ctx, request, target.before)
            made = await draft_alone(ctx, snapshot, target, body, resource, once)
        return await commit(ctx, made, once)

    return await written(ctx, request, 200, await retried(attempt))


def check_language(ctx: Context, request: Request) -> None:
    """Raise UnsupportedMediaType for a patch in none of the languages, Malformed for one that is no patch at all."""
    if request.content_type not in LANGUAGES:
        text = "A patch is sent as " + ", ".join(name for name in LANGUAGES if name not in FHIR_JSON[1:]) + "."
        raise UnsupportedMediaType(text, expression="Content-Type")
    if not request.body:
        raise Malformed("A patch is expected in the body.")
    if request.content_type in FHIR_JSON:
        ctx.checked(parse(request.body, max_depth=ctx.settings.max_depth), "Parameters")


async def patched(ctx: Context, request: Request, before: Version) -> tuple[bytes, dict[str, Any]]:
    """The resource as the patch makes it, as bytes and parsed.

    Raises Invalid where the patch does not fit, makes another resource of it, or something that R4 does not allow.
    """
    apply, given = LANGUAGES[request.content_type], (before.body, request.body, ctx.services.definitions)
    large = len(before.body) + len(request.body) > _LARGE
    body = await asyncio.to_thread(apply, *given) if large else apply(*given)
    try:
        resource = ctx.checked(parse(body, max_depth=ctx.settings.max_depth), before.type)
    except Malformed as error:
        # The request could be read; what it asks for cannot be (RFC 5789 §2.2).
        raise Invalid(issues=error.issues) from None
    if resource.get("id") != before.id:
        raise Invalid(issues=[Issue("business-rule", "A patch does not change the id.", f"{before.type}.id")])
    return body, resource
