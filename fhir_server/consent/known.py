"""The callers that a record knows of: whom its directives, teams and rows name, as they would come with a token.

For the holder who asks who can see something (spec access §6). What the directory says of a professional (names,
profession, structures) is put together here; what they may see is decided elsewhere, as for everyone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.keys import keys_of, link_of
from fhir_server.consent.openings import EMERGENCIES, REGIMES, Opening
from fhir_server.consent.policy import RecordPolicy
from fhir_server.consent.rules import PUBLIC
from fhir_server.fhir.identity import RPPS
from fhir_server.search.facts import Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Eq, RefersTo, TokenIs, conj
from fhir_server.storage.interface import Snapshot, Version

PROFESSION: Final = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
DOCTOR: Final = "10"
_ROLES: Final = 20


async def known_callers(
    snapshot: Snapshot, policy: RecordPolicy, rows: Iterable[Facts], *, now: int, base: str
) -> list[Actor]:
    """The patient, the representatives, every professional, structure, application and country that is named; then the
    strangers. `rows`: what is asked about. `base`: the FHIR base url of this server."""
    patient = policy.patient
    holder = Actor("patient", f"Patient/{patient}", "", "", frozenset({f"Patient/{patient}"}), (patient,))
    keys = set(_named(policy, rows))
    found = [holder]
    for reference in policy.representatives or {}:
        found.append(Actor("rep", reference, await _name(snapshot, reference), "", frozenset({reference}), (patient,)))
    directory = _Directory(snapshot, base)
    for key in sorted(keys):
        found += await directory.professionals(key)
    people = {each.keys: each for each in found}
    apart = {each for actor in people.values() for each in actor.keys}
    people |= {each.keys: each for each in _others(policy, keys - apart)}
    return [*people.values(), *strangers(patient, now)]


def strangers(patient: str, now: int) -> list[Actor]:
    """Doctors whom nobody named: one who has nothing to do with the patient, and one for each way in that is declared.
    `mode`: which, `any-doctor` for none."""
    nobody = Actor("ps", "", "", "", profession=DOCTOR, mode="any-doctor")
    opened = (str(Opening(each, patient, now + 1)) for each in reversed(REGIMES))
    return [nobody, *(replace(nobody, mode=each.partition("|")[0], openings=(each,)) for each in opened)]


def is_stranger(actor: Actor) -> bool:
    """Whether a caller is one of `strangers`."""
    return actor.role == "ps" and not actor.keys and actor.mode in (*EMERGENCIES, "consult", "any-doctor")


def _named(policy: RecordPolicy, rows: Iterable[Facts]) -> Iterator[str]:
    yield from policy.practitioners
    for team in policy.teams:
        for member in team.members:
            yield from member.keys
    yield from (each.actor for each in policy.directives if each.active and each.actor)
    for row in rows:
        yield from row.authors | row.participants


def _others(policy: RecordPolicy, keys: Iterable[str]) -> Iterator[Actor]:
    """Callers by keys that lead to no professional of the directory."""
    patient = policy.patient
    for key in sorted(keys):
        kind, _, value = key.partition(":")
        if kind in ("rpps", "org"):
            profession = DOCTOR if kind == "org" else ""
            yield Actor("ps", "", value, "", frozenset({key}), profession=profession)
        elif kind == "country":
            yield Actor("ncp", "", value, "", country=value, keys=frozenset({key}))
        elif kind == "client":
            holder = ("patient", f"Patient/{patient}")
            yield Actor("app", "", value, "", frozenset({key}), (patient,), *holder, client=value)


class _Directory:
    """What the public resources of this server say of professionals."""

    def __init__(self, snapshot: Snapshot, base: str) -> None:
        self._snapshot = snapshot
        self._base = base

    async def professionals(self, key: str) -> list[Actor]:
        """The professional of a key, once for each exercice; none for a key that is no professional's here."""
        person = await self._person(key)
        if person is None:
            return []
        link, resource = f"Practitioner/{person.id}", orjson.loads(person.body)
        keys = keys_of({"reference": link}) | {
            name for each in resource.get("identifier", ()) for name in keys_of({"identifier": each})
        }
        actor = Actor("ps", link, _human(resource), "", keys, profession=_profession(resource.get("qualification", ())))
        return [await self._exercising(actor, each) for each in await self._exercices(link, key)] or [actor]

    async def _person(self, key: str) -> Version | None:
        if key.startswith("rpps:"):
            where = TokenIs("identifier", RPPS, key.removeprefix("rpps:"))
            found = await self._snapshot.search(Plan(("Practitioner",), where, limit=1), visible=PUBLIC)
            return found[0] if found else None
        if key.startswith("PractitionerRole/"):
            role = await self._read(key)
            said = orjson.loads(role.body).get("practitioner", {}) if role else {}
            key = link_of(said.get("reference"), self._base) or ""
        return await self._read(key) if key.startswith("Practitioner/") else None

    async def _exercices(self, link: str, key: str) -> list[Version]:
        """All of a person's, or the one that the key names."""
        if key.startswith("PractitionerRole/"):
            role = await self._read(key)
            return [role] if role else []
        plan = Plan(("PractitionerRole",), RefersTo("practitioner", link), limit=_ROLES)
        return await self._snapshot.search(plan, visible=PUBLIC)

    async def _exercising(self, actor: Actor, role: Version) -> Actor:
        resource = orjson.loads(role.body)
        organization = resource.get("organization", {})
        keys = actor.keys | {f"PractitionerRole/{role.id}"} | keys_of(organization, self._base)
        structure = await self._read(link_of(organization.get("reference"), self._base) or "")
        said = orjson.loads(structure.body) if structure else {}
        keys |= {name for each in said.get("identifier", ()) for name in keys_of({"identifier": each})}
        profession = _profession([{"code": each} for each in resource.get("code", ())]) or actor.profession
        return replace(actor, keys=keys, profession=profession, structure_name=str(said.get("name", "")))

    async def _read(self, link: str) -> Version | None:
        type_, _, id_ = link.partition("/")
        found = await self._snapshot.read(type_, id_, visible=PUBLIC) if id_ else None
        return None if found is None or found.deleted else found


async def _name(snapshot: Snapshot, reference: str) -> str:
    """The name of a representative, whom the policy has read from the same record."""
    type_, _, id_ = reference.partition("/")
    found = await snapshot.read(type_, id_, visible=conj(Eq("kind", "record"), Eq("rtype", type_), Eq("id", id_)))
    return _human(orjson.loads(found.body)) if found and not found.deleted else ""


def _human(resource: dict[str, Any]) -> str:
    """A HumanName in one line."""
    for name in resource.get("name", ()):
        return str(name.get("text") or " ".join([*name.get("given", ()), name.get("family", "")])).strip()
    return ""


def _profession(qualifications: Iterable[dict[str, Any]]) -> str:
    codings = (coding for each in qualifications for coding in each.get("code", {}).get("coding", ()))
    return next((str(each.get("code")) for each in codings if each.get("system") == PROFESSION), "")
