"""What may change in a document, and by whom: the difference decides, not the interaction (domain DOC-20 to DOC-23)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.consent.labels import BITS, MASKS, label_place, other_labels, stated
from fhir_server.errors import Forbidden, Issue, MethodNotAllowed
from fhir_server.search.facts import INVISIBLE_PATIENT, Facts

_ARCHIVED: Final = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"
_CHANGEABLE: Final = frozenset({"id", "meta", "status", "securityLabel"})
_ALLOWED: Final = ("GET", "HEAD", "PATCH", "DELETE")
_STATED: Final = sum(BITS.values())
_HOLDERS: Final = ("patient", "rep")


def check_document_update(actor: Actor, before: Mapping[str, Any], after: Mapping[str, Any], *, own: bool) -> None:
    """Raise MethodNotAllowed, naming each element, where a document changes in more than DOC-20 lets it.

    That is status, securityLabel, the extension isArchived and meta. Of a document that is theirs (`own`) the patient's
    side changes anything but the subject. Of one that is not, the holder changes masks, and the médecin traitant masks
    and what hides from the patient; Forbidden for the rest.
    """
    if after.get("resourceType") != "DocumentReference" or actor.role == "open":
        return
    changed = {
        name.removeprefix("_")
        for name in {*before, *after} - _CHANGEABLE
        if _judged(before, name) != _judged(after, name)
    }
    if own and actor.role in _HOLDERS:
        changed &= {"subject"}
    if changed:
        text = "This is not changed in a document; it is replaced by another."
        places = [f"DocumentReference.{name}" for name in sorted(changed)]
        raise MethodNotAllowed(issues=[Issue("not-supported", text, place) for place in places], allowed=_ALLOWED)
    if not own and actor.role != "admin" and not _labels_alone(actor, before, after):
        raise Forbidden("Only its author changes it.")


def check_lowered(before: Mapping[str, Any], after: Mapping[str, Any], facts: Facts) -> None:
    """Raise Forbidden where a new version of a document leaves out a label that stays in force whatever it says (I17).

    `facts`: of the new version: what is in them and was said before has to be said again.
    """
    if after.get("resourceType") != "DocumentReference":
        return
    if stated(before).vis & facts.vis & _STATED & ~stated(after).vis:
        text = "This label is not for the one who asks to take away."
        raise Forbidden(issues=[Issue("forbidden", text, label_place("DocumentReference"))])


def ends(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a document is withdrawn by its status: that is a deletion (DOC-17)."""
    status = (before.get("status"), after.get("status"))
    return after.get("resourceType") == "DocumentReference" and status[0] != status[1] == "entered-in-error"


def _labels_alone(actor: Actor, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether nothing changes but visibility, and of that what somebody other than the author may change."""
    if before.get("status") != after.get("status") or _archived(before) != _archived(after):
        return False
    if other_labels(before) != other_labels(after) or _meta(before) != _meta(after):
        return False
    changed = stated(before).vis ^ stated(after).vis
    return not changed & ~(MASKS if actor.role in _HOLDERS else MASKS | INVISIBLE_PATIENT)


def _archived(document: Mapping[str, Any]) -> list[Any]:
    return [each for each in document.get("extension", ()) if each.get("url") == _ARCHIVED]


def _meta(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the server does not set, and labels do not say."""
    aside = ("versionId", "lastUpdated", "security")
    return {name: each for name, each in document.get("meta", {}).items() if name not in aside}


def _judged(document: Mapping[str, Any], name: str) -> Any:
    """An element as a change of it is judged; of the extensions, those other than isArchived."""
    if name != "extension":
        return document.get(name)
    return [each for each in document.get(name, ()) if each.get("url") != _ARCHIVED]
