"""Which interaction a request asks for: one table for HTTP and for the entries of a Bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fhir_server.consent.openings import ACCESS_MODE, flags
from fhir_server.context import Answer, Context, Interaction, Request
from fhir_server.errors import FhirServerError, Malformed, MethodNotAllowed, NotBuilt, NotFound
from fhir_server.interactions import access_log
from fhir_server.interactions.batch import batch_or_transaction
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history_instance, history_system, history_type
from fhir_server.interactions.patch import patch
from fhir_server.interactions.read import read, vread
from fhir_server.interactions.search import search_compartment, search_system, search_type
from fhir_server.interactions.update import update

# Shape of the path -> key of `operations.registry`.
_LEVELS: Final = {"$": "system {0}", "T/$": "type {0} {1}", "T/i/$": "instance {0} {2}"}
_PARTS: Final = ("_summary", "_elements")
# Operations of this server's own that change nothing.
_SAFE: Final = frozenset({"$explain-access", "$access-log", "$xdm"})
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")

# (method, shape of the path under the base) -> (interaction code of R4, function). T: a type, i: an id, v: a version.
_TABLE: Final[dict[tuple[str, str], tuple[str, Interaction]]] = {
    ("GET", "T"): ("search-type", search_type),
    ("POST", "T/_search"): ("search-type", search_type),
    ("GET", ""): ("search-system", search_system),
    ("POST", "_search"): ("search-system", search_system),
    ("GET", "T/i/T"): ("search-type", search_compartment),
    ("POST", "T/i/T/_search"): ("search-type", search_compartment),
    ("GET", "T/i/*"): ("search-system", search_compartment),
    ("POST", "T/i/*/_search"): ("search-system", search_compartment),
    ("POST", "T/i/_search"): ("search-system", search_compartment),
    ("POST", "T"): ("create", create),
    ("GET", "T/i"): ("read", read),
    ("PUT", "T/i"): ("update", update),
    ("PUT", "T"): ("update", update),
    ("PATCH", "T/i"): ("patch", patch),
    ("PATCH", "T"): ("patch", patch),
    ("DELETE", "T/i"): ("delete", delete),
    ("DELETE", "T"): ("delete", delete),
    ("GET", "T/i/_history"): ("history-instance", history_instance),
    ("GET", "T/_history"): ("history-type", history_type),
    ("GET", "_history"): ("history-system", history_system),
    ("GET", "T/i/_history/v"): ("vread", vread),
}
# These name their resource by criteria, which they read themselves.
_BY_CRITERIA: Final = frozenset({("PUT", "T"), ("PATCH", "T"), ("DELETE", "T")})
_LOG_TABLE: Final[dict[tuple[str, str], tuple[str, Interaction]]] = {
    ("POST", "T"): ("create", access_log.create),
    ("GET", "T"): ("search-type", access_log.search),
    ("POST", "T/_search"): ("search-type", access_log.search),
    ("GET", "T/i"): ("read", access_log.read),
    ("GET", "T/i/T"): ("search-type", access_log.search_compartment),
    ("POST", "T/i/T/_search"): ("search-type", access_log.search_compartment),
}


def offered(*, log: bool = False) -> dict[tuple[str, str], str]:
    """(method, shape of the path) -> interaction code of R4, for every interaction there is; `log`: of the access log,
    where that is not a type like others."""
    return {place: code for place, (code, _) in (_LOG_TABLE if log else _TABLE).items()}


async def answer(ctx: Context, request: Request) -> Answer:
    """The answer to one interaction; refusals are written to the access log before they are raised."""
    try:
        made = await _interaction(ctx, request)(ctx, request)
        if ctx.actor.openings:
            made.headers += tuple((ACCESS_MODE, each) for each in flags(ctx.actor, ctx.now()))
        return made
    except FhirServerError as error:
        if ctx.trace.interaction != "transaction":
            await ctx.record(error)
        raise
    except Exception:
        await ctx.record(FhirServerError())
        raise


async def _bundle(ctx: Context, request: Request) -> Answer:
    return await batch_or_transaction(ctx, request, answer)


def _interaction(ctx: Context, request: Request) -> Interaction:
    """What is asked for, which the log learns. Raises NotFound, MethodNotAllowed, NotBuilt or Malformed."""
    method = "GET" if request.method == "HEAD" else request.method
    if request.path == ("metadata",) and method == "GET" and ctx.services.capabilities:
        ctx.trace.interaction = "capabilities"
        return ctx.services.capabilities
    shape = _shape(ctx, request.path)
    if (method, shape) == ("POST", ""):
        ctx.trace.interaction = "batch"
        return _bundle
    if shape.endswith("$"):
        return _operation(ctx, request, method, shape)
    ctx.trace.type = request.path[0] if shape.startswith("T") else ""
    ctx.trace.id = request.path[1] if shape.startswith("T/i") else ""
    asked = request.path[2] if shape.startswith("T/i/T") else ctx.trace.type
    table = _LOG_TABLE if asked == "AuditEvent" and not ctx.services.open else _TABLE
    known = table.get((method, shape))
    if known is None:
        raise _refusal(table, method, shape)
    ctx.trace.interaction, interaction = known
    if request.query and not _takes_criteria(ctx.trace.interaction, (method, shape)):
        _check_query(request, _PARTS if interaction in (read, vread) else ())
    return interaction


def _shape(ctx: Context, path: tuple[str, ...]) -> str:
    """The path with its types, ids, versions and operations named by what they are."""
    types = ctx.services.definitions.resource_types
    if len(path) == 2 and path[0] in types and _ID.fullmatch(path[1]):
        return "T/i"
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


def _operation(ctx: Context, request: Request, method: str, shape: str) -> Interaction:
    """An operation by POST; by GET too where R4 says that it changes nothing."""
    name = request.path[-1]
    operations = ctx.services.operations
    operation = operations.get(_LEVELS.get(shape, "").format(*request.path))
    if operation is None and shape == "T/i/$":
        operation = operations.get(f"instance * {name}")
    if operation is None:
        raise NotBuilt("This operation is not offered.", expression=name)
    known = [each for each in ctx.services.definitions.operations if each.code == name[1:]]
    safe = name in _SAFE or (bool(known) and not any(each.affects_state for each in known))
    if method != "POST" and not (safe and method == "GET"):
        allowed = ("GET", "HEAD", "POST") if safe else ("POST",)
        raise MethodNotAllowed("This operation is not invoked so.", allowed=allowed)
    ctx.trace.interaction = name
    return operation


def _takes_criteria(code: str, place: tuple[str, str]) -> bool:
    return code.startswith(("search", "history")) or place in _BY_CRITERIA


def _refusal(table: dict[tuple[str, str], tuple[str, Interaction]], method: str, shape: str) -> FhirServerError:
    offered = [each for each, known in table if known == shape]
    if offered:
        return MethodNotAllowed(allowed=[*offered, *(["HEAD"] if "GET" in offered else [])])
    return NotFound()


def _check_query(request: Request, known: Sequence[str]) -> None:
    """Reads and writes of one resource take no criteria; ignoring them would change what was asked for."""
    for name, _ in request.query:
        if name not in ("_format", "_pretty", *known):
            raise Malformed("This parameter is not understood here.", expression=name)
