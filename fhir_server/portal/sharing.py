"""What an application asks for, in categories of the record; what a patient gives it, as scopes and as directives D09.

A directive says which categories of the record the application may see, the scopes which rights it has on which types
of resource: it sees what both allow (access §3.5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.auth.scopes import ResourceScope, parse_scope, print_scope, resource_scopes
from fhir_server.consent.categories import classes_of, tables
from fhir_server.consent.keys import CLIENT
from fhir_server.consent.shapes import ACT_REASON, CATEGORY, MES_CATEGORY, POLICY, RECIPIENT, SCOPE

MESSAGES: Final = "messages"
_ENGLISH: Final = {
    "10": "Reports",
    "11": "Summaries",
    "31": "Medical imaging",
    "42": "Prescriptions",
    "43": "Dispensations",
    "44": "Care plans",
    "45": "Treatments given",
    "52": "Certificates",
    "60": "Reimbursement data",
    "90": "Documents added by the patient",
    "95": "Administrative documents",
    "measures": "Measurements",
    "agenda": "Appointments",
}


@dataclass(frozen=True, slots=True)
class Gift:
    """What a patient gives an application. `categories`: which of the record it may read, None for all; `write`: it may
    add and change; `offline`: it may come back when the person is away; `days`: how long it holds, 0 until stopped."""

    categories: frozenset[str] | None
    write: bool = False
    offline: bool = False
    days: int = 0


def category_name(code: str, language: str) -> str:
    """A category of the record, as people call it."""
    return _ENGLISH.get(code, code) if language == "en" else tables().names[code]


def categories_asked(scopes: Iterable[str]) -> tuple[str, ...]:
    """The categories that an application could read something of by these scopes, in the order of the tables."""
    types = [each.type for each in resource_scopes(scopes) if not set(each.letters).isdisjoint("rs")]
    reached: set[str] = set()
    for type_ in types:
        classes = None if type_ == "*" else classes_of(type_)
        reached |= set(tables().names) if classes is None else classes
    return tuple(code for code in tables().names if code in reached and code != MESSAGES)


def asks_to_read(scopes: Iterable[str]) -> bool:
    """Whether a scope gives a right to read or search."""
    return any(not set(each.letters).isdisjoint("rs") for each in resource_scopes(scopes))


def asks_to_write(scopes: Iterable[str]) -> bool:
    """Whether a scope gives a right to add, change or delete."""
    return any(not set(each.letters).isdisjoint("cud") for each in resource_scopes(scopes))


def scopes_given(asked: Iterable[str], gift: Gift) -> tuple[str, ...]:
    """Of the scopes asked for, what is left of the gift: never more, possibly none on resources."""
    given = []
    for text in asked:
        try:
            scope = parse_scope(text)
        except ValueError:
            if text != "offline_access" or gift.offline:
                given.append(text)
            continue
        kept = _letters(scope, gift)
        if kept:
            given.append(text if kept == scope.letters else print_scope(replace(scope, letters=kept)))
    return tuple(given)


def directives(actor: Actor, patient: str, client: str, gift: Gift, *, now: int, place: str) -> list[dict[str, Any]]:
    """The Consents (D09) that say the gift: one for everything, or one a category. `place`: where it was given."""
    if gift.categories is None:
        return [_directive(actor, patient, client, None, gift, now, place)]
    return [_directive(actor, patient, client, code, gift, now, place) for code in sorted(gift.categories)]


def _letters(scope: ResourceScope, gift: Gift) -> str:
    wanted = ("rs" if _reaches(scope, gift) else "") + ("cud" if gift.write else "")
    return "".join(letter for letter in scope.letters if letter in wanted)


def _reaches(scope: ResourceScope, gift: Gift) -> bool:
    """Whether the gift could show anything of that type."""
    if gift.categories is None:
        return True
    classes = None if scope.type in ("*", "Binary") else classes_of(scope.type)
    return bool(gift.categories) and (classes is None or not classes.isdisjoint(gift.categories))


def _directive(
    actor: Actor, patient: str, client: str, category: str | None, gift: Gift, now: int, place: str
) -> dict[str, Any]:
    provision: dict[str, Any] = {
        "type": "permit",
        "purpose": [{"system": ACT_REASON, "code": "PATRQT"}],
        "actor": [{"role": _concept(RECIPIENT), "reference": {"identifier": {"system": CLIENT, "value": client}}}],
    }
    if category:
        provision["securityLabel"] = [{"system": MES_CATEGORY, "code": category}]
    if gift.days:
        end = datetime.fromtimestamp(now / 1_000_000, UTC) + timedelta(days=gift.days)
        provision["period"] = {"end": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": _concept(SCOPE),
        "category": [_concept(CATEGORY)],
        "patient": {"reference": f"Patient/{patient}"},
        "performer": [{"reference": actor.reference}],
        "sourceAttachment": {"title": place},
        "policy": [{"uri": f"{POLICY}app-share"}],
        "provision": provision,
    }


def _concept(code: tuple[str, str]) -> dict[str, Any]:
    return {"coding": [{"system": code[0], "code": code[1]}]}
