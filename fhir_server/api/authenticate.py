"""Who is calling: the bearer token of the request, and nothing else of it."""

from __future__ import annotations

from typing import Final

from fhir_server.auth.actor import Actor
from fhir_server.auth.limits import Throttled
from fhir_server.auth.tokens import authenticate
from fhir_server.context import Context, Services, Trace
from fhir_server.errors import Unauthenticated

OPEN: Final = Actor(role="open", reference="", name="open", jti="")
NOBODY: Final = Actor(role="anonymous", reference="", name="", jti="")


async def caller(services: Services, authorization: str, trace: Trace) -> Context:
    """The context of the caller whom the Authorization header tells; a refusal is in the log before it is raised."""
    if services.open:
        return Context(services, OPEN, trace)
    try:
        actor = await authenticate(services.store.ledger, authorization, now=services.clock())
    except Unauthenticated as error:
        trace.interaction = "login"
        await Context(services, NOBODY, trace).record(error)
        raise
    ctx = Context(services, actor, trace)
    try:
        services.limits.caller(actor)
    except Throttled as error:
        # A flood of refusals is not to become a flood of lines.
        if error.first:
            trace.interaction = "throttled"
            await ctx.record(error)
        raise
    return ctx
