"""The writing entries of a transaction: what each asks for, and which resource it is about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fhir_server.context import Context, Pace, Request
from fhir_server.errors import FhirServerError, Issue, Malformed, MethodNotAllowed
from fhir_server.fhir.json import check_parts, most_parts
from fhir_server.interactions.documents import check_filled
from fhir_server.interactions.draft import Draft
from fhir_server.interactions.patch import check_language
from fhir_server.interactions.patient_lookup import named_patient
from fhir_server.interactions.target import Target, to_create, to_delete, to_patch, to_update
from fhir_server.storage.interface import Snapshot, Version

# Method → interaction, right.
_WRITES: Final = {"POST": ("create", "c"), "PUT": ("update", "u"), "PATCH": ("patch", "u"), "DELETE": ("delete", "d")}


@dataclass(slots=True)
class Step:
    """One writing entry on its way. `target`: None for a deletion whose criteria find nothing; `link`: the same as
    "Type/id". `twin`: another step makes the resource, as both were to be made on the same condition. `known`: what is
    here already, just as it is sent (DOC-4), or the patient that it only names."""

    index: int
    ctx: Context
    request: Request
    full_url: str
    resource: dict[str, Any] | None
    target: Target | None = None
    link: str = ""
    twin: bool = False
    draft: Draft | None = None
    known: Version | None = None
    names: bool = False

    @property
    def type(self) -> str:
        """The resource type of the entry."""
        return self.request.path[0]

    @property
    def existing(self) -> Version | None:
        """The version that is there."""
        return self.target.before if self.target else None

    @property
    def deletes(self) -> bool:
        """Whether it is a deletion."""
        return self.request.method == "DELETE"

    @property
    def writes(self) -> bool:
        """Whether it makes a new version that has a body."""
        found = self.request.method == "POST" and self.existing is not None
        if self.request.method == "PATCH" and self.known is not None:
            return False
        return not self.deletes and not found and not self.twin


async def check(step: Step) -> None:
    """Raise what can be refused before the record is looked at; with the words of the interaction alone."""
    method, path, ctx = step.request.method, step.request.path, step.ctx
    if method not in _WRITES or not 1 <= len(path) <= (1 if method == "POST" else 2):
        raise Malformed("The url does not fit the method.", expression="Bundle.entry.request.url")
    if path[0] not in ctx.services.definitions.resource_types:
        raise Malformed("This is not a resource type of FHIR R4.", expression="Bundle.entry.request.url")
    if step.request.query and (method == "POST" or len(path) == 2):
        raise Malformed("This url takes no criteria.", expression="Bundle.entry.request.url")
    interaction, letter = _WRITES[method]
    ctx.trace.interaction, ctx.trace.type, ctx.trace.id = interaction, path[0], path[1] if len(path) == 2 else ""
    if path[0] == "AuditEvent" and not ctx.services.open:
        raise MethodNotAllowed("The access log is written by the server.")
    if not step.names:
        ctx.allow(path[0], letter)
    if method == "PATCH":
        await check_language(ctx, step.request)
    elif method != "DELETE":
        check_parts(step.request.body, most_parts(path[0]))
        check_filled(step.resource)
        await ctx.aside(step.request.body, ctx.checked, step.resource, path[0])
        if len(path) == 2 and step.resource and step.resource.get("id") != path[1]:
            raise Malformed("The id of the resource is not that of the url.", expression=f"{path[0]}.id")


async def locate(snapshot: Snapshot, steps: Sequence[Step], pace: Pace) -> None:
    """Give every step its resource: a new id, the one it names, or the one its criteria find.

    Raises Malformed where two change the same resource. What the transaction deletes is gone for the criteria of its
    creates, as R4 has deletions come first.
    """
    asked: dict[tuple[str, str], Step] = {}
    changed: set[str] = set()
    gone: set[str] = set()
    for step in sorted(steps, key=lambda each: not each.deletes):
        await pace.rest()
        with Named(step.index):
            step.twin, step.draft = False, None
            step.target = await _target(snapshot, step, gone)
            digest = step.target.digest if step.target else ""
            first = asked.setdefault((step.type, digest), step) if digest else step
            if first is not step and first.request.method == step.request.method == "POST":
                step.target, step.twin = first.target, True
            step.link = f"{step.type}/{step.target.id}" if step.target else ""
            changes = step.link != "" and (step.writes or step.deletes)
            if (first is not step and not step.twin) or (changes and step.link in changed):
                raise Malformed("Two entries change the same resource.", expression="Bundle.entry")
            if changes:
                changed.add(step.link)
            if step.deletes:
                gone.add(step.link)


async def _target(snapshot: Snapshot, step: Step, gone: Collection[str]) -> Target | None:
    request = step.request
    match request.method:
        case "DELETE":
            return await to_delete(step.ctx, snapshot, request)
        case "PATCH":
            return await to_patch(step.ctx, snapshot, request)
        case "PUT":
            assert step.resource is not None
            return await to_update(step.ctx, snapshot, request, step.resource)
    if step.names:
        step.known = await named_patient(step.ctx, snapshot, step.resource or {})
    if step.known:
        return Target(step.known.id, step.known)
    ids = [link.partition("/")[2] for link in gone if link.startswith(f"{step.type}/")]
    return await to_create(step.ctx, snapshot, step.type, request.if_none_exist, ids)


class Named:
    """Errors inside name the entry: `Bundle.entry[3].resource.name[0]`."""

    __slots__ = ("_index",)

    def __init__(self, index: int) -> None:
        self._index = index

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FhirServerError):
            error.issues = tuple(replace(issue, expression=_place(issue, self._index)) for issue in error.issues)


def _place(issue: Issue, index: int) -> str:
    prefix = f"Bundle.entry[{index}]"
    if issue.expression.startswith("Bundle.entry"):
        return prefix + issue.expression.removeprefix("Bundle.entry")
    _, _, inside = issue.expression.partition(".")
    return f"{prefix}.resource.{inside}" if inside else prefix
