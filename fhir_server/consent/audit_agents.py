"""The agents of an AuditEvent of IHE BALP: who asked, for what organisation, with what software, and this server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir_server.consent.keys import CLIENT, COUNTRY
from fhir_server.consent.shapes import ACCESS_MODE, ACT_REASON
from fhir_server.fhir.identity import FINESS, RPPS

SOFTWARE: Final = "fhir-server"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
DATA_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
JTI: Final = "urn:ietf:params:oauth:jti:"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_PARTICIPANT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_ROLE_CLASS: Final = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
_PROFESSION: Final = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"

Coding = dict[str, str]
SOURCE: Final = {"system": DCM, "code": "110153", "display": "Source Role ID"}
DESTINATION: Final = {"system": DCM, "code": "110152", "display": "Destination Role ID"}
APPLICATION: Final = {"system": DCM, "code": "110150", "display": "Application"}
CUSTODIAN: Final = {"system": _PARTICIPANT, "code": "custodian", "display": "Custodian"}
RECIPIENT: Final = {"system": _PARTICIPATION, "code": "IRCP", "display": "information recipient"}
AUTHOR: Final = {"system": _PARTICIPATION, "code": "AUT", "display": "author (originator)"}
PROVIDER: Final = {"system": _ROLE_CLASS, "code": "PROV", "display": "healthcare provider"}
# Names of the TRE_G15 professions that the log is most often about.
_PROFESSIONS: Final = {
    "10": "Médecin",
    "21": "Pharmacien",
    "28": "Opticien-lunetier",
    "40": "Chirurgien-dentiste",
    "50": "Sage-femme",
    "60": "Infirmier",
    "70": "Masseur-kinésithérapeute",
    "80": "Pédicure-podologue",
}


def purposes(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Why: the purpose of the token, and the mode when it is not the normal one, by its own code (REC-112)."""
    found = [{"system": ACT_REASON, "code": said["purpose"]}] if said.get("purpose") else []
    if said.get("mode", "normal") != "normal":
        found.append({"system": ACCESS_MODE, "code": said["mode"]})
    return [{"coding": [each]} for each in found]


def user(said: Mapping[str, Any], kind: Coding) -> dict[str, Any]:
    """Who asked: person, profession, the token by its name."""
    agent: dict[str, Any] = {
        "type": {"coding": [kind]},
        "role": _roles(said),
        "who": _person(said),
        "name": said.get("name"),
        "requestor": True,
        "policy": [JTI + said["jti"]] if said.get("jti") else [],
        "purposeOfUse": purposes(said),
    }
    return {name: value for name, value in agent.items() if value}


def organization(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The organisation that the one who asked belongs to, if one is known."""
    if not said.get("structure"):
        return []
    who: dict[str, Any] = {"identifier": {"system": FINESS, "value": said["structure"]}}
    if said.get("asserted"):
        who["identifier"] = _abroad(asserted(said), "provider", "healthcare_provider_identifier")
    if said.get("structure_name"):
        who["display"] = said["structure_name"]
    return [{"type": {"coding": [PROVIDER]}, "who": who, "requestor": False}]


def client(said: Mapping[str, Any], kind: Coding) -> dict[str, Any]:
    """The software, without its address: the log keeps no network address of anyone."""
    who: dict[str, Any] = {"display": said.get("software") or said.get("client") or "portal"}
    if said.get("client"):
        who["identifier"] = {"system": CLIENT, "value": said["client"]}
    network = {"extension": [{"url": DATA_ABSENT, "valueCode": "masked"}]}
    return {"type": {"coding": [kind]}, "who": who, "requestor": False, "network": network}


def server(kind: Coding, base: str) -> dict[str, Any]:
    """This server, at its FHIR base url."""
    return {
        "type": {"coding": [kind]},
        "who": {"display": SOFTWARE},
        "requestor": False,
        "network": {"address": base, "type": "5"},
    }


def _abroad(facts: Mapping[str, str], part: str, name: str) -> dict[str, Any]:
    """The identifier of a person or organisation abroad, whose issuer has a name and no system known here."""
    issuer = {"display": facts[f"{part}.issuing_authority_name"]}
    return {"value": facts[f"{part}.{name}"], "assigner": issuer}


def _roles(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The profession, and the country of a professional abroad."""
    found: list[dict[str, Any]] = []
    if said.get("country"):
        found.append({"text": said.get("profession", "")})
        found.append({"coding": [{"system": COUNTRY, "code": said["country"]}]})
    elif said.get("profession"):
        coding = {"system": _PROFESSION, "code": said["profession"]}
        if said["profession"] in _PROFESSIONS:
            coding["display"] = _PROFESSIONS[said["profession"]]
        found.append({"coding": [coding]})
    return [each for each in found if any(each.values())]


def asserted(said: Mapping[str, Any]) -> dict[str, str]:
    """What an EU gateway says of the one who asks, by `part.name`."""
    return {name: value for name, _, value in (each.partition("=") for each in said.get("asserted", ()))}


def _person(said: Mapping[str, Any]) -> dict[str, Any]:
    who: dict[str, Any] = {"reference": said["who"]} if said.get("who") else {}
    rpps = next((key.removeprefix("rpps:") for key in said.get("keys", ()) if key.startswith("rpps:")), None)
    if rpps:
        who["identifier"] = {"system": RPPS, "value": rpps}
    elif said.get("asserted"):
        who["identifier"] = _abroad(asserted(said), "professional", "hp_identifier")
    return {**who, "display": said.get("name") or said["role"]}
