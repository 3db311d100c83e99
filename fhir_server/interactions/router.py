"""Which interaction a request asks for: one table for HTTP and for the entries of a Bundle."""

from __future__ import annotations

import re
from typing import Final

from fhir_server.context import Answer, Context, Interaction, Request
from fhir_server.errors import FhirServerError, Malformed, MethodNotAllowed, NotBuilt, NotFound
from fhir_server.interactions import access_log
from fhir_server.interactions.batch import batch_or_transaction
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history
from fhir_server.interactions.read import read, vread
from fhir_server.interactions.search import search
from fhir_server.interactions.update import update

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")

# (method, shape of the path under the base) -> (interaction code of R4, function). T: a type, i: an id, v: a version.
_TABLE: Final[dict[tuple[str, str], tuple[str, Interaction]]] = {
    ("GET", "T"): ("search-type", search),
    ("POST", "T/_search"): ("search-type", search),
    ("POST", "T"): ("create", create),
    ("GET", "T/i"): ("read", read),
    ("PUT", "T/i"): ("update", update),
    ("DELETE", "T/i"): ("delete", delete),
    ("GET", "T/i/_history"): ("history-instance", history),
    ("GET", "T/i/_history/v"): ("vread", vread),
}
_LOG_TABLE: Final[dict[tuple[str, str], tuple[str, Interaction]]] = {
    ("GET", "T"): ("search-type", access_log.search),
    ("POST", "T/_search"): ("search-type", access_log.search),
    ("GET", "T/i"): ("read", access_log.read),
}
# Of R4, and not built yet: said so, instead of pretending that the url does not exist.
_NOT_BUILT: Final = frozenset(
    {
        ("PATCH", "T/i"),
        ("PATCH", "T"),
        ("PUT", "T"),
        ("DELETE", "T"),
        ("GET", ""),
        ("POST", "_search"),
        ("GET", "_history"),
        ("GET", "T/_history"),
        ("GET", "T/i/T"),
        ("GET", "T/i/*"),
        ("POST", "T/i/T/_search"),
    }
)


async def answer(ctx: Context, request: Request) -> Answer:
    """The answer to one interaction; refusals are written to the access log before they are raised."""
    try:
        return await _dispatch(ctx, request)
    except FhirServerError as error:
        if ctx.trace.interaction != "transaction":
            await ctx.record(error)
        raise
    except Exception:
        await ctx.record(FhirServerError())
        raise


async def _dispatch(ctx: Context, request: Request) -> Answer:
    method = "GET" if request.method == "HEAD" else request.method
    shape = _shape(ctx, request.path)
    if (method, shape) == ("POST", ""):
        ctx.trace.interaction = "batch"
        return await batch_or_transaction(ctx, request, answer)
    if shape.endswith("$"):
        return await _operation(ctx, request, method)
    ctx.trace.type = request.path[0] if shape.startswith("T") else ""
    ctx.trace.id = request.path[1] if shape.startswith("T/i") else ""
    table = _LOG_TABLE if ctx.trace.type == "AuditEvent" and not ctx.services.open else _TABLE
    known = table.get((method, shape))
    if known is None:
        raise _refusal(table, method, shape)
    ctx.trace.interaction, interaction = known
    _check_query(method, request)
    return await interaction(ctx, request)


def _shape(ctx: Context, path: tuple[str, ...]) -> str:
    """The path with its types, ids, versions and operations named by what they are."""
    types = ctx.services.definitions.resource_types
    if not path:
        return ""
    parts = []
    for place, segment in enumerate(path):
        if segment.startswith("$"):
            parts.append("$")
        elif segment.startswith("_") or segment == "*":
            parts.append(segment)
        elif place in (0, 2):
            if segment not in types:
                raise NotFound("This is not a resource type of FHIR R4.") if place == 0 else NotFound()
            parts.append("T")
        else:
            if not _ID.fullmatch(segment):
                raise NotFound
            parts.append("v" if place == 3 else "i")
    return "/".join(parts)


async def _operation(ctx: Context, request: Request, method: str) -> Answer:
    name = request.path[-1]
    scope = "system" if len(request.path) == 1 else "type" if len(request.path) == 2 else "instance"
    operation = ctx.services.operations.get(f"{scope} {name}")
    if operation is None:
        raise NotBuilt("This operation is not offered.", expression=name)
    if method != "POST":
        raise MethodNotAllowed("This operation is invoked by POST.", allowed=("POST",))
    ctx.trace.interaction = name
    return await operation(ctx, request)


def _refusal(table: dict[tuple[str, str], tuple[str, Interaction]], method: str, shape: str) -> FhirServerError:
    if (method, shape) in _NOT_BUILT:
        return NotBuilt()
    offered = [each for each, known in table if known == shape]
    if offered:
        return MethodNotAllowed(allowed=[*offered, *(["HEAD"] if "GET" in offered else [])])
    return NotFound()


def _check_query(method: str, request: Request) -> None:
    """Reads and writes of one resource take no criteria; ignoring them would change what was asked for."""
    if (len(request.path) == 1 and method == "GET") or request.path[-1] in ("_search", "_history"):
        return
    for name, _ in request.query:
        if name not in ("_format", "_pretty"):
            raise Malformed("This parameter is not understood here.", expression=name)
