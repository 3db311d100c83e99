"""Documents that are provided in a transaction: its shape, one patient, and what it leaves as it is (IHE ITI-65, domain
§4.2, DOC-1 to DOC-6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fhir_server.consent.categories import MHD_LIST_TYPES
from fhir_server.context import Context
from fhir_server.errors import Invalid, Issue
from fhir_server.interactions.siblings import Siblings, content_links
from fhir_server.interactions.steps import Named, Step
from fhir_server.search.predicate import TRUE
from fhir_server.storage.interface import Snapshot, Version
from fhir_server.validation.profiles import PROVIDE

_MHD: Final = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD."
PROFILES: Final = frozenset(
    {PROVIDE, *(f"{_MHD}{kind}.ProvideBundle" for kind in ("Minimal", "Comprehensive", "UnContained.Comprehensive"))}
)
"""Bundles whose shape is judged."""
_METHODS: Final = {
    "submission set": ("POST",),
    "folder": ("POST", "PUT"),
    "document entry": ("POST",),
    "content": ("POST",),
    "update": ("PATCH",),
    "patient": ("POST",),
}


@dataclass(frozen=True, slots=True)
class Provision:
    """A transaction that provides documents. `comprehensive`: by the profile of PDSm; `shaped`: by that or IHE's."""

    steps: Sequence[Step]
    comprehensive: bool
    shaped: bool

    def check(self) -> None:
        """Raise Invalid with all that has no place in it, or is missing."""
        if not self.shaped:
            return
        kinds = [_kind(step) for step in self.steps]
        issues = list(self._misplaced(kinds))
        count = Counter(kinds)
        if count["submission set"] != 1:
            issues.append(_issue("Exactly one submission set (List) is provided."))
        if not count["document entry"]:
            issues.append(_issue("At least one DocumentReference is provided."))
        if count["patient"] > 1:
            issues.append(_issue("At most one Patient is named."))
        if issues:
            raise Invalid(issues=issues)

    def check_drafted(self) -> None:
        """Raise Invalid where documents and sets are not all of one patient (DOC-2), or where a PATCH leaves a replaced
        document current (DOC-6)."""
        patients = set()
        for step in self.steps:
            if step.type not in ("DocumentReference", "List") or step.deletes:
                continue
            facts = step.draft.write.facts if step.draft else step.existing.facts if step.existing else None
            patients |= {facts.patient} if facts else set()
            if len(patients) > 1:
                with Named(step.index):
                    text = "All that is provided together is of one patient."
                    raise Invalid(issues=[Issue("business-rule", text, f"{step.type}.subject")])
        self._check_replaced()

    def _misplaced(self, kinds: Sequence[str]) -> Iterator[Issue]:
        for step, kind in zip(self.steps, kinds, strict=True):
            if step.request.method not in _METHODS.get(kind, ()):
                text = "This has no place in a Bundle that provides documents."
                yield Issue("business-rule", text, f"Bundle.entry[{step.index}].request")

    def _check_replaced(self) -> None:
        made = {step.link: step for step in self.steps if step.draft}
        for each in [step.draft.ends for step in self.steps if step.draft and step.draft.ends]:
            patch = made.get(f"DocumentReference/{each.id}")
            if patch and patch.draft and not patch.draft.write.deleted:
                if orjson.loads(patch.draft.write.body).get("status") == "superseded":
                    continue
                with Named(patch.index):
                    text = "What is replaced becomes superseded."
                    raise Invalid(issues=[Issue("business-rule", text, "DocumentReference.status")])


def provision_of(ctx: Context, steps: Sequence[Step], profiles: Collection[str]) -> Provision | None:
    """The transaction as one that provides documents: it says so, or it makes a submission set.

    A Patient in it is only named by a professional, who makes no patients.
    """
    shaped = not PROFILES.isdisjoint(profiles)
    if not shaped and not any(submits(step) for step in steps):
        return None
    for step in steps:
        step.names = ctx.actor.role == "ps" and _kind(step) == "patient" and step.request.method == "POST"
    return Provision(steps, PROVIDE in profiles, shaped)


def submits(step: Step) -> bool:
    """Whether an entry is a submission set, which may point to all others."""
    return _kind(step) == "submission set"


async def leave(
    step: Step,
    known: Version,
    sent: dict[str, Any],
    steps: Sequence[Step],
    snapshot: Snapshot,
    siblings: Siblings,
) -> None:
    """Let a step and its contents be what is here already: `known`, as which it was `sent`."""
    step.known = known
    siblings.facts[step.link] = known.facts
    stored, base = orjson.loads(known.body), step.ctx.base
    by_link = {each.link: each for each in steps}
    for link, held in zip(content_links(sent, base), content_links(stored, base), strict=False):
        type_, _, id_ = held.partition("/")
        if link in by_link:
            by_link[link].known = await snapshot.read(type_, id_, visible=TRUE)


def superseded() -> Issue:
    """What the depositor is told when the Bundle leaves it to the server to end what is replaced (DOC-6)."""
    text = "The replaced document is superseded by the server: a PATCH entry for it was expected."
    return Issue("incomplete", text, "DocumentReference.relatesTo", "warning")


def _kind(step: Step) -> str:
    """What an entry is in a Bundle that provides documents; "" for what has no place there."""
    resource, type_ = step.resource or {}, step.type
    if step.request.method == "PATCH":
        return "update" if type_ == "DocumentReference" and resource.get("resourceType") == "Parameters" else ""
    if type_ == "List":
        codes = {
            each.get("code")
            for each in resource.get("code", {}).get("coding", ())
            if each.get("system") == MHD_LIST_TYPES
        }
        return "submission set" if "submissionset" in codes else "folder" if "folder" in codes else ""
    if type_ == "Bundle":
        return "content" if resource.get("type") == "document" else ""
    return {"DocumentReference": "document entry", "Binary": "content", "Patient": "patient"}.get(type_, "")


def _issue(text: str) -> Issue:
    return Issue("business-rule", text, "Bundle.entry")
