"""patch: PATCH [type]/[id], PATCH [type]?criteria (https://hl7.org/fhir/R4/http.html#patch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import orjson

from fhir_server.context import Answer, Context, Request
from fhir_server.errors import Invalid, Issue, Malformed, UnsupportedMediaType
from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.json import most_parts, parse
from fhir_server.fhir.patch import fhirpath_patch, json_patch, xml_patch
from fhir_server.interactions.binary import FHIR_JSON
from fhir_server.interactions.create import draft_alone, written
from fhir_server.interactions.draft import Once, commit, may_change, retried
from fhir_server.interactions.lenient_patch import mend
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


async def patch(ctx: Context, request: Request) -> Answer:
    """200 with the new version; 404 where there is nothing to patch, 412 where criteria find several resources.

    Rights are judged before the patch is looked at: what fits and what does not tells what is there.
    """
    ctx.allow(request.path[0], "u")
    await check_language(ctx, request)
    once = Once()

    async def attempt() -> Version:
        async with ctx.store.snapshot() as snapshot:
            target = await to_patch(ctx, snapshot, request)
            assert target.before is not None
            await may_change(ctx, snapshot, target.before)
            body, resource = await patched(ctx, request, target.before)
            if changes_nothing(target.before, resource):
                await ctx.record()
                return target.before
            made = await draft_alone(ctx, snapshot, target, body, resource, once)
        return await commit(ctx, made, once)

    return await written(ctx, request, 200, await retried(attempt))


async def check_language(ctx: Context, request: Request) -> None:
    """Raise UnsupportedMediaType for a patch in none of the languages, Malformed for one that is no patch at all."""
    if request.content_type not in LANGUAGES:
        text = "A patch is sent as " + ", ".join(name for name in LANGUAGES if name not in FHIR_JSON[1:]) + "."
        raise UnsupportedMediaType(text, expression="Content-Type")
    if not request.body:
        raise Malformed("A patch is expected in the body.")
    if request.content_type in FHIR_JSON:
        await ctx.aside(request.body, _check_parameters, ctx, request.body)


async def patched(ctx: Context, request: Request, before: Version) -> tuple[bytes, dict[str, Any]]:
    """The resource as the patch makes it, as bytes and parsed.

    Raises Invalid where the patch does not fit, makes another resource of it, or something that R4 does not allow.
    """
    if request.content_type == "application/json-patch+json":
        return await ctx.aside(before.body + request.body, _patched, ctx, request, before)
    # A short path can go a long way.
    return await ctx.aside.always(_patched, ctx, request, before)


def changes_nothing(before: Version, after: dict[str, Any]) -> bool:
    """Whether a patch leaves a resource as it is: then it makes no version (DOC-20)."""
    return _told(orjson.loads(before.body)) == _told(after)


def _told(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource without what the server stamps on each version."""
    meta = {name: each for name, each in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return {**resource, "meta": meta}


def _patched(ctx: Context, request: Request, before: Version) -> tuple[bytes, dict[str, Any]]:
    asked = request.body
    if ctx.settings.patch_tolerant and request.content_type == "application/json-patch+json":
        asked, mended = mend(asked, before.body)
        for issue in mended:
            ctx.remark(issue)
    body = LANGUAGES[request.content_type](before.body, asked, ctx.services.definitions)
    try:
        sent = parse(body, max_depth=ctx.settings.max_depth, max_parts=most_parts(before.type))
        resource = ctx.checked(sent, before.type)
    except Malformed as error:
        # The request could be read; what it asks for cannot be (RFC 5789 §2.2).
        raise Invalid(issues=error.issues) from None
    if resource.get("id") != before.id:
        raise Invalid(issues=[Issue("business-rule", "A patch does not change the id.", f"{before.type}.id")])
    return body, resource


def _check_parameters(ctx: Context, body: bytes) -> None:
    ctx.checked(parse(body, max_depth=ctx.settings.max_depth), "Parameters")
