"""The security facts of a resource, computed when it is written (spec access §3.1). Pure.

What the client says of itself in labels is input here, never authority: the record it belongs to, its author and its
place in a chain of replacements are the server's own finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.consent.categories import category_of, sensitivities
from fhir_server.consent.compartment import Said, links_of, patient_of, patient_place, said_in, values_at
from fhir_server.consent.data_time import PARIS, data_time
from fhir_server.consent.keys import author_keys, keys_of
from fhir_server.consent.kinds import kind_of, may_have_patient
from fhir_server.consent.labels import MASKS, label_place, stated
from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.definitions import Definitions
from fhir_server.search.facts import (
    INVISIBLE_PATIENT,
    INVISIBLE_REPRESENTANTS_LEGAUX,
    MASKED_BY_HOLDER,
    MASQUE_PS,
    Facts,
)

_PARTICIPANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "Appointment": ("participant.actor",),
    "AppointmentResponse": ("actor",),
    "Communication": ("sender", "recipient"),
    "Task": ("requester", "owner"),
}
_HOLDERS: Final = ("patient", "rep")


def facts_of(
    definitions: Definitions,
    resource: Mapping[str, Any],
    *,
    id: str,
    depositor: Actor,
    now: int,
    before: Facts | None = None,
    replaced: Facts | None = None,
    base: str = "",
    through: frozenset[str] = frozenset(),
    said: Said | None = None,
    together: bool = False,
    lifts: bool = False,
) -> Facts:
    """The facts of a resource that R4 finds valid, as `depositor` writes it at `now` (microseconds).

    `before`: of the version it follows; `replaced`: of the document it replaces; `base`: the FHIR base url of this
    server; `through`: the patients of what it points to, for a resource that names none itself (a Provenance); `said`:
    what `said_in` finds in it, where that is known already; `together`: INVISIBLE_PATIENT goes beside MASQUE_PS;
    `lifts`: what is left out is meant to go (a PATCH), not forgotten (a PUT).
    Raises Invalid, naming the place, for no patient or two (except in a server run without authorization, where a
    resource may be nobody's), for an unknown visibility (COD-8), for INVISIBLE_PATIENT beside MASQUE_PS (DOC-24), and
    for hiding from the patient what is already visible to them (REC-124).
    """
    type_ = str(resource["resourceType"])
    patient = _patient(definitions, resource, id, depositor, base, through)
    labels = stated(resource)
    vis = _visibility(type_, labels.vis, depositor, before, replaced, lifts)
    release_at = _release(vis, now, before, replaced)
    if vis & INVISIBLE_PATIENT and vis & MASQUE_PS and now < (release_at or 0) and not together:
        text = "What is hidden from the patient is not masked to professionals at the same time."
        raise Invalid(issues=[Issue("business-rule", text, label_place(type_))])
    by_patient = depositor.role in _HOLDERS if before is None else _by_holder(before)
    category = category_of(resource, by_patient=by_patient)
    said = said or said_in(resource)
    return Facts(
        rtype=type_,
        id=id,
        kind="record" if patient else kind_of(type_),
        patient=patient,
        type_code=category.type_code,
        class_code=category.class_code,
        vis=vis,
        labels=labels.labels | sensitivities(said.codings) | _kept_labels(depositor, before, replaced),
        authors=before.authors if before else author_keys(depositor),
        participants=_participants(resource, base),
        data_time=data_time(resource),
        deposited_at=before.deposited_at if before else now,
        release_at=release_at,
        lineage=_lineage(before or replaced, f"{type_}/{id}"),
        links=links_of(said, base=base) - {f"{type_}/{id}"},
    )


def _patient(
    definitions: Definitions, resource: Mapping[str, Any], id: str, depositor: Actor, base: str, through: frozenset[str]
) -> str | None:
    type_ = str(resource["resourceType"])
    if type_ == "Patient":
        return id
    if type_ == "Binary" or not may_have_patient(type_):
        return None
    try:
        found = patient_of(definitions, resource, base=base)
    except Invalid:
        if depositor.role != "open":
            raise
        # Without authorization nothing is anybody's: a Group may be of several patients.
        return None
    if found is None and len(through) == 1:
        found = next(iter(through))
    if found is None and kind_of(type_) == "record" and depositor.role != "open":
        text = "This resource must say which patient it belongs to."
        raise Invalid(issues=[Issue("required", text, patient_place(definitions, type_))])
    return found


def _visibility(
    type_: str, asked: int, depositor: Actor, before: Facts | None, replaced: Facts | None, lifts: bool
) -> int:
    """The bits asked for, with those that this writer cannot take away: no unmasking by writing again (I17, DOC-8).

    The holder lifts masks; a representative does not lift what hides from them. A professional lifts from a document,
    by PATCH, the mask that is not the holder's: its author and the médecin traitant get as far (DOC-23). The clock
    of INVISIBLE_PATIENT stops when they leave the label out: the announcement was made (REC-121).
    """
    if depositor.role == "open":
        return asked
    if before and asked & INVISIBLE_PATIENT & ~before.vis:
        text = "What the patient can see already is not hidden from them afterwards."
        raise Invalid(issues=[Issue("business-rule", text, f"{type_}.meta.security")])
    holder = depositor.role in _HOLDERS
    kept = before.vis & ~INVISIBLE_PATIENT if before else 0
    theirs = depositor.role == "ps" and type_ == "DocumentReference" and not kept & MASKED_BY_HOLDER
    if holder or (theirs and lifts):
        kept &= ~(MASKS | MASKED_BY_HOLDER)
    if depositor.role == "patient":
        kept &= ~INVISIBLE_REPRESENTANTS_LEGAUX
    taken_over = replaced.vis if replaced else 0
    if holder:
        taken_over &= ~(MASKS | MASKED_BY_HOLDER)
    return asked | kept | taken_over | (MASKED_BY_HOLDER if holder and asked & MASKS else 0)


def _kept_labels(depositor: Actor, before: Facts | None, replaced: Facts | None) -> frozenset[str]:
    """The sensitivities that this writer cannot take away: all, but for the holder (I17)."""
    if depositor.role == "open" or depositor.role in _HOLDERS:
        return frozenset()
    return frozenset().union(*(each.labels for each in (before, replaced) if each))


def _release(vis: int, now: int, before: Facts | None, replaced: Facts | None) -> int | None:
    """When INVISIBLE_PATIENT ends: a month after the first deposit of the chain, which nothing restarts (REC-123)."""
    if not vis & INVISIBLE_PATIENT:
        return None
    for earlier in (before, replaced):
        if earlier:
            return earlier.release_at or month_after(earlier.deposited_at)
    return month_after(now)


def _lineage(earlier: Facts | None, link: str) -> str:
    return earlier.lineage if earlier else link


def month_after(time: int) -> int:
    """A calendar month later on the clocks of Paris, the day clipped to the end of the month (REC-T2)."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time)
    local = moment.astimezone(PARIS)
    year, month = (local.year, local.month + 1) if local.month < 12 else (local.year + 1, 1)
    last = (datetime(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
    later = local.replace(year=year, month=month, day=min(local.day, last))
    return (later.astimezone(UTC) - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _by_holder(facts: Facts) -> bool:
    return any(key.startswith(("Patient/", "RelatedPerson/")) for key in facts.authors)


def _participants(resource: Mapping[str, Any], base: str) -> frozenset[str]:
    paths = _PARTICIPANTS.get(str(resource["resourceType"]), ())
    return frozenset(key for path in paths for each in values_at(resource, path) for key in keys_of(each, base))
