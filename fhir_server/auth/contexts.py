"""For whom software asks: the professional of an LGC (`pro_context`), the one behind an EU gateway (`eu_context`).

Both are claims of the client assertion, so signed by the software, which answers for them (spec access §1). A context
that is not complete, that says more than is understood, or for which the client is not registered, is no context: the
token is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.auth.clients import Client
from fhir_server.auth.refusals import Refused
from fhir_server.fhir.identity import IDNPS, IDNST, rpps_of, structure_identifiers

NORMAL: Final = "normal"
EMERGENCIES: Final = ("bris_de_glace", "centre_15")
REGULATION: Final = "right:regulation"

_SHORTEST_REASON: Final = 10
_SOFTWARE: Final = frozenset({"name", "version", "approval"})
_PRO: Final[Mapping[str, type]] = {
    "id": str,
    "family_name": str,
    "given_name": str,
    "profession": str,
    "specialties": list,
    "structure": str,
    "sector": str,
    "purpose": str,
    "secret": bool,
    "software": dict,
}
_EMERGENCY: Final = frozenset({"reason", "patient"})
_EU: Final[Mapping[str, tuple[str, ...]]] = {
    "professional": (
        "family_name",
        "given_name",
        "country_code",
        "hp_identifier",
        "issuing_authority_name",
        "hp_professional_role",
        "healthcare_provider_identifier",
    ),
    "provider": (
        "healthcare_provider_identifier",
        "issuing_authority_name",
        "healthcare_provider_name",
        "healthcare_provider_address",
    ),
}


@dataclass(frozen=True, slots=True)
class Emergency:
    """What an LGC declares with a token: the regime, for which patient ("Patient/…"), and why."""

    regime: str
    patient: str
    reason: str


def professional(client: Client, claim: object) -> tuple[Actor, Emergency | None]:
    """The professional for whom an LGC asks, and the emergency that is declared with that, if any.

    Their keys are the RPPS number, the structure and the client; the directory's references are not known here.
    Raises Refused.
    """
    context = _pro(claim)
    rpps = rpps_of({"system": IDNPS, "value": context["id"]})
    structure = _number(context["structure"])
    if not rpps or not structure:
        raise _refused("pro_context.id is an IdNat_PS with an RPPS, structure an IdNat_Struct")
    if structure not in {_number(each) for each in client.structures}:
        raise _refused("The client is not registered for this structure")
    software = context["software"]
    if software["name"] != client.software or client.software_version not in ("", software["version"]):
        raise _refused("The software is not the one that is registered")
    rights = {REGULATION} if client.regulation else set()
    actor = Actor(
        role="ps",
        reference="",
        name=f"{context['given_name']} {context['family_name']}",
        jti="",
        keys=frozenset({f"rpps:{rpps}", f"org:{structure}", f"client:{client.id}", *rights}),
        profession=context["profession"],
        specialty=next(iter(context["specialties"]), ""),
        structure=structure,
        sector=context["sector"],
        client=client.id,
        software=f"{software['name']} {software['version']}",
        secret=context["secret"],
    )
    return actor, _emergency(client, context)


def gateway(client: Client, claim: object) -> Actor:
    """The gateway of a country, with the professional and provider whom it asserts. Raises Refused."""
    if not isinstance(claim, Mapping):
        raise _refused("eu_context has professional and provider")
    _check_members("eu_context", claim, _EU)
    for part, names in _EU.items():
        said = claim[part]
        if not isinstance(said, Mapping):
            raise _refused(f"eu_context.{part} has {', '.join(names)}")
        _check_members(f"eu_context.{part}", said, names)
        if not all(map(_is_text, said.values())):
            raise _refused(f"eu_context.{part} has texts")
    person, provider = claim["professional"], claim["provider"]
    if person["country_code"] != client.country:
        raise _refused("The professional is of the country of the gateway")
    if person["healthcare_provider_identifier"] != provider["healthcare_provider_identifier"]:
        raise _refused("The professional works for the provider")
    return Actor(
        role="ncp",
        reference=f"Device/{client.id}",
        name=f"{person['given_name']} {person['family_name']}",
        jti="",
        keys=frozenset({f"country:{client.country}", f"client:{client.id}"}),
        profession=person["hp_professional_role"],
        structure=provider["healthcare_provider_identifier"],
        structure_name=provider["healthcare_provider_name"],
        client=client.id,
        software=client.software or client.name,
        country=client.country,
        asserted=tuple(f"{part}.{name}={claim[part][name]}" for part, names in _EU.items() for name in names),
    )


def _pro(claim: object) -> Mapping[str, Any]:
    """The claim, if it has every member, each of its type, and no other."""
    if not isinstance(claim, Mapping):
        raise _refused(f"pro_context has {', '.join(_PRO)}")
    _check_members("pro_context", {*claim} - _EMERGENCY, _PRO)
    for name, kind in _PRO.items():
        if type(claim[name]) is not kind or claim[name] == "":
            raise _refused(f"pro_context.{name} is not what it has to be")
    software = claim["software"]
    _check_members("pro_context.software", software, _SOFTWARE)
    if not all(map(_is_text, software.values())):
        raise _refused("pro_context.software has texts")
    if not all(map(_is_text, claim["specialties"])):
        raise _refused("pro_context.specialties are codes")
    return claim


def _check_members(place: str, said: Collection[str], names: Collection[str]) -> None:
    """Raise Refused, naming what is missing or too much."""
    if missing := [each for each in names if each not in said]:
        raise _refused(f"{place} lacks {', '.join(sorted(missing))}")
    if set(said) - set(names):
        raise _refused(f"{place} has {', '.join(sorted(names))}, and no more")


def _emergency(client: Client, context: Mapping[str, Any]) -> Emergency | None:
    """What is declared, bound to one patient and with its reason (access §7)."""
    purpose = context["purpose"]
    if purpose == NORMAL:
        if not _EMERGENCY.isdisjoint(context):
            raise _refused("pro_context.reason and patient go with an emergency")
        return None
    if purpose not in EMERGENCIES:
        raise _refused(f"pro_context.purpose is {NORMAL} or one of {', '.join(EMERGENCIES)}")
    reason, patient = context.get("reason"), context.get("patient")
    if not isinstance(reason, str) or len(reason.strip()) < _SHORTEST_REASON:
        raise _refused(f"An emergency has a reason of {_SHORTEST_REASON} characters or more")
    if not isinstance(patient, str) or not patient.startswith("Patient/"):
        raise _refused("An emergency is of one patient, named as Patient/ID")
    if purpose == "centre_15" and not client.regulation:
        raise _refused("The client is not registered for regulation")
    return Emergency(purpose, patient, reason.strip())


def _number(structure: str) -> str:
    """The FINESS, SIREN or SIRET of an IdNat_Struct, "" for what is none."""
    known = structure_identifiers(structure)
    return str(known[1]["value"]) if len(known) > 1 and known[0]["system"] == IDNST else ""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _refused(text: str) -> Refused:
    return Refused("access_denied", f"{text}.", status=403)
