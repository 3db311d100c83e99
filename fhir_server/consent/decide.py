"""Who may write what (spec access §3.3 and §3.5; domain DOC-17, DOC-20 to DOC-26).

What the writer may see is settled before: `before` is a version that they see, or that they deposited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.consent.keys import keys_of, person_keys
from fhir_server.consent.kinds import types
from fhir_server.consent.labels import label_place
from fhir_server.consent.policy import RecordPolicy, Team, team_of
from fhir_server.consent.rules import is_treating, shared_with
from fhir_server.errors import Forbidden, Invalid, Issue, MethodNotAllowed, NotFound
from fhir_server.search.entries import Entries
from fhir_server.search.facts import INVISIBLE_REPRESENTANTS_LEGAUX, Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.predicate import FALSE

NO_SPACE: Final = "No open record exists for this patient."
_NOT_SHARED: Final = "Consent not given, access refused."
_PATIENT_SETTING: Final = "EXP_PATIENT"


def may_write(
    actor: Actor,
    policy: RecordPolicy | None,
    interaction: str,
    type: str,
    before: Facts | None,
    after: Facts | None,
    *,
    now: int,
) -> None:
    """Return if the caller may do that; raise Forbidden, NotFound, MethodNotAllowed or Invalid otherwise.

    `interaction`: create, update or delete. `policy`: of the record that `after` is in, None for what is nobody's; for
    an application then the one of its token, without which it writes nothing.
    `before`: of the current version as the caller sees or owns it; `after`: of the new one, None for a deletion.
    """
    if actor.role == "open":
        return
    _check_interaction(interaction, type)
    if interaction != "create" and before is None:
        raise NotFound
    if before and after and before.patient != after.patient:
        place = f"{type}.subject"
        raise Invalid(issues=[Issue("business-rule", "A resource does not move to another record.", place)])
    facts = after or before
    if facts is None:
        raise NotFound
    may = {
        "patient": _holder,
        "rep": _holder,
        "app": _application,
        "ps": _professional,
        "admin": _administrator,
    }.get(actor.role)
    if may is None:
        raise Forbidden
    may(actor, policy, type, facts, now)
    if before and not _may_change(actor, policy, interaction, type, before, now):
        raise Forbidden("Only its author changes it.")
    if actor.secret and interaction == "create":
        _check_secret(type, facts)


def may_replace(actor: Actor, replaced: Facts) -> None:
    """Raise Forbidden unless the caller may put another document in the place of that one (DOC-6)."""
    if actor.role != "open" and not authored(actor, replaced):
        raise Forbidden("Only its author replaces a document.")


def check_document(actor: Actor, resource: Mapping[str, Any], facts: Facts, *, base: str = "") -> None:
    """Raise Invalid, naming each place, where a document's codes or author do not fit its depositor (DOC-26).

    What a patient deposits is of class 90 with a patient's type, facility and setting, and by the patient or the
    representative who deposited it; a professional's is not. `base`: the FHIR base url of this server.
    """
    if facts.rtype != "DocumentReference" or actor.role not in ("patient", "rep", "ps"):
        return
    context = resource.get("context", {})
    said = {
        "category": facts.class_code == "90",
        "type": _patient_type(facts.type_code),
        "context.facilityType": _PATIENT_SETTING in _codes(context.get("facilityType")),
        "context.practiceSetting": _PATIENT_SETTING in _codes(context.get("practiceSetting")),
    }
    text, wrong = "This is said of documents that patients deposit.", [place for place, each in said.items() if each]
    if actor.role != "ps":
        said["author"] = _by_depositor(resource, facts, base)
        text, wrong = "A patient's own document says so here.", [place for place, each in said.items() if not each]
    if wrong:
        raise Invalid(issues=[Issue("business-rule", text, f"DocumentReference.{place}") for place in wrong])


def check_team_update(
    actor: Actor,
    policy: RecordPolicy,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    now: int,
    base: str,
) -> None:
    """Raise Forbidden where a professional would widen a CareTeam that the patient has consented to (D04).

    They may take members out, shorten periods and end it: a consent is to the team as the patient knew it.
    `policy`: of its record; `base`: the FHIR base url of this server.
    """
    if after.get("resourceType") != "CareTeam" or actor.role != "ps":
        return
    link = f"CareTeam/{before['id']}"
    # A consent that begins later is one already.
    consents = (each for each in policy.directives if each.id == "D04" and each.active and each.team == link)
    if all(each.period.high is not None and each.period.high <= now for each in consents):
        return
    if after.get("status") != "active":
        return
    known, changed = (team_of(each, str(before["id"]), base=base) for each in (before, after))
    if before.get("status") != "active" or _widens(known, changed):
        raise Forbidden("Only with a new consent of the patient does a care team grow.")


def check_sender(actor: Actor, resource: Mapping[str, Any]) -> None:
    """Raise Forbidden unless a message is sent by the one who writes it (record REC-81)."""
    if resource.get("resourceType") != "Communication" or actor.role in ("open", "admin"):
        return
    if keys_of(resource.get("sender")).isdisjoint(actor.keys | {actor.reference}):
        raise Forbidden("A message is sent by the one who writes it.")


def _check_interaction(interaction: str, type: str) -> None:
    if type == "AuditEvent":
        raise MethodNotAllowed("The access log is written by the server.")
    if type == "Consent" and interaction == "delete":
        raise MethodNotAllowed("A directive is ended, not deleted.")
    if type == "Patient" and interaction == "delete":
        raise MethodNotAllowed("A record is closed, not deleted.")
    if type == "Binary" and interaction != "create":
        raise MethodNotAllowed("Content is replaced with its document.")


def _holder(actor: Actor, policy: RecordPolicy | None, type: str, facts: Facts, now: int) -> None:
    """The patient, or a representative in their name: what they made themselves, of the types that are theirs."""
    if type == "Binary":
        return
    if facts.patient is None or facts.patient not in actor.patients or type not in types().written_by["holder"]:
        raise Forbidden
    if policy is None or not policy.exists or not policy.open:
        raise NotFound(NO_SPACE)
    if actor.role == "rep" and not policy.represents(actor.reference, now):
        raise NotFound(NO_SPACE)
    if policy.closed and (type != "Consent" or facts.id not in policy.closing):
        raise NotFound(NO_SPACE)
    if actor.role == "rep" and type == "RelatedPerson":
        raise Forbidden("Who represents the patient is not the representative's to change.")


def _application(actor: Actor, policy: RecordPolicy | None, type: str, facts: Facts, now: int) -> None:
    """An application: what the patient shares with it by a live D09, and of that only what it wrote."""
    if type not in types().written_by["application"]:
        raise Forbidden
    nobodys = facts.patient is None and type in ("Binary", "Device")
    if (facts.patient not in actor.patients and not nobodys) or policy is None or policy.patient not in actor.patients:
        raise Forbidden
    if policy.closed or not policy.readable or not _authorised(actor, policy, now):
        raise NotFound(NO_SPACE)
    shared = shared_with(actor, policy, now)
    if shared == FALSE or not (nobodys or holds(shared, Row(facts, Entries(), 0))):
        raise Forbidden(_NOT_SHARED)


def _professional(actor: Actor, policy: RecordPolicy | None, type: str, facts: Facts, now: int) -> None:
    """A professional: deposits into any open record, blocked or not, and corrects what they deposited."""
    shared = types().written_by["professional_shared"]
    if type in types().written_by["not_professional"] or (facts.kind != "record" and type not in shared):
        raise Forbidden
    if facts.patient is not None and (policy is None or policy.closed):
        raise NotFound(NO_SPACE)


def _administrator(actor: Actor, policy: RecordPolicy | None, type: str, facts: Facts, now: int) -> None:
    """An administrator: the directory, and setting up records and accounts; nothing clinical."""
    if facts.kind != "public" and type not in types().written_by["setup"]:
        raise Forbidden
    if type not in ("Patient", "Person") and facts.patient is not None and (policy is None or policy.closed):
        raise NotFound(NO_SPACE)


def _may_change(
    actor: Actor, policy: RecordPolicy | None, interaction: str, type: str, before: Facts, now: int
) -> bool:
    """Whether a version may be followed by another: its author's; directives and accounts by whoever may write them;
    of any document the labels, by the holder and the médecin traitant (DOC-23)."""
    if actor.role == "admin" or type == "Consent" or authored(actor, before):
        return True
    labels = interaction == "update" and type == "DocumentReference" and policy is not None
    return labels and (actor.role in ("patient", "rep") or (policy is not None and is_treating(actor, policy, now)))


def _check_secret(type: str, facts: Facts) -> None:
    if facts.patient is not None and not facts.vis & INVISIBLE_REPRESENTANTS_LEGAUX:
        text = "In a secret session everything is hidden from the representatives."
        raise Invalid(issues=[Issue("business-rule", text, label_place(type))])


def authored(actor: Actor, facts: Facts) -> bool:
    """Whether the caller is the author person of a deposit; for the patient's side, whether it made it."""
    if actor.role in ("patient", "rep"):
        return facts.patient in actor.patients and _by_holder(facts, str(facts.patient))
    return not facts.authors.isdisjoint(person_keys(actor))


def _by_holder(facts: Facts, patient: str) -> bool:
    """Made by the patient, by someone representing them, or by their application."""
    return any(key == f"Patient/{patient}" or key.startswith("RelatedPerson/") for key in facts.authors)


def _authorised(actor: Actor, policy: RecordPolicy, now: int) -> bool:
    """Whether the one who let an application in still may."""
    if actor.authoriser == "rep":
        return policy.represents(actor.authoriser_key, now)
    return actor.authoriser == "patient" and actor.authoriser_key == f"Patient/{policy.patient}"


def _by_depositor(resource: Mapping[str, Any], facts: Facts, base: str) -> bool:
    """Whether a document names as its authors the patient and those who deposited it, and no one else."""
    own = facts.authors | {f"Patient/{facts.patient}"}
    named = [keys_of(each, base) for each in resource.get("author", ())]
    return bool(named) and all(keys and keys <= own for keys in named)


def _widens(known: Team, changed: Team) -> bool:
    """Whether somebody takes part, or at some time, who did not before."""
    return not changed.period.within(known.period) or not all(
        any(member.keys <= one.keys and member.period.within(one.period) for one in known.members)
        for member in changed.members
    )


def _patient_type(code: str | None) -> bool:
    return code is not None and code.startswith(("EXPPAT_", "DOCPAT"))


def _codes(concept: Any) -> set[str]:
    codings = concept.get("coding", ()) if isinstance(concept, Mapping) else ()
    return {str(each.get("code")) for each in codings}
