"""A line of the access log as an AuditEvent of IHE BALP 1.1 (https://profiles.ihe.net/ITI/BALP/).

Rendered when it is read: the log itself stays as it was written, and each reader gets what they may know today.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from fhir_server.consent.keys import CLIENT
from fhir_server.consent.shapes import ACCESS_MODE, ACT_REASON
from fhir_server.fhir.dates import format_instant
from fhir_server.fhir.identity import FINESS, RPPS
from fhir_server.storage.interface import AuditEntry

PROFILE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
REST: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_CUSTODIAN: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_AUTHORIZATION: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
_REQUEST: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
_PROFESSION: Final = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
_UNKNOWN: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

_PATTERNS: Final = {"C": "Create", "R": "Read", "U": "Update", "D": "Delete"}
# The roles of client, server and user in each pattern: reading, data flows to the client; otherwise from it.
_CLIENTS: Final = {"R": (_DCM, "110152"), "D": (_DCM, "110150")}
_SERVERS: Final = {"R": (_DCM, "110153"), "D": (_CUSTODIAN, "custodian")}
_OUTCOMES: Final = {"": "0", "exception": "8", "transient": "8"}
SOFTWARE: Final = "fhir-server"


def to_audit_event(entry: AuditEntry, *, base: str, withheld: bool = False) -> dict[str, Any]:
    """The AuditEvent of a line. `base`: the FHIR base url of this server; `withheld`: the resource it is about is not
    named, because it is hidden from the reader (it shows as "document")."""
    said = orjson.loads(entry.row.body)
    recorded = format_instant(said["time"])
    event: dict[str, Any] = {"resourceType": "AuditEvent", "id": said["id"], "meta": {"lastUpdated": recorded}}
    pattern = _pattern(said)
    if pattern:
        event["meta"]["profile"] = [PROFILE + pattern]
    event |= {
        "type": {"system": REST, "code": "rest", "display": "RESTful Operation"},
        "subtype": _subtypes(said),
        "action": said["action"],
        "period": {"start": recorded},
        "recorded": recorded,
        "outcome": _OUTCOMES.get(said.get("outcome", ""), "4"),
    }
    if said.get("outcome"):
        event["outcomeDesc"] = said["outcome"]
    event["purposeOfEvent"] = _purposes(said)
    event["agent"] = [_user(said), *_organization(said), _client(said), _server(said, base)]
    event["source"] = {"observer": {"display": SOFTWARE}, "type": [{"system": _SOURCE, "code": "4"}]}
    event["entity"] = _entities(said, withheld)
    return {name: value for name, value in event.items() if value}


def _pattern(said: Mapping[str, Any]) -> str:
    """The BALP profile that the line follows; they are about what succeeded."""
    if said.get("outcome"):
        return ""
    name = "Query" if _searches(said) else _PATTERNS.get(said["action"], "")
    if not name or (name != "Query" and not said.get("resource")):
        return ""
    return f"Patient{name}" if said.get("patient") else name


def _searches(said: Mapping[str, Any]) -> bool:
    return str(said.get("interaction", "")).startswith("search")


def _subtypes(said: Mapping[str, Any]) -> list[dict[str, str]]:
    found = [{"system": INTERACTION, "code": said["interaction"]}] if said.get("interaction") else []
    if said.get("authorization"):
        found.append({"system": _AUTHORIZATION, "code": "AuthZ-Consent"})
    return found


def _purposes(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [{"system": ACT_REASON, "code": said["purpose"]}] if said.get("purpose") else []
    if said.get("mode", "normal") != "normal":
        found.append({"system": ACCESS_MODE, "code": said["mode"]})
    return [{"coding": [each]} for each in found]


def _user(said: Mapping[str, Any]) -> dict[str, Any]:
    writes = said["action"] in "CUD"
    agent: dict[str, Any] = {
        "type": {"coding": [{"system": _PARTICIPATION, "code": "AUT" if writes else "IRCP"}]},
        "who": _person(said),
        "name": said.get("name"),
        "requestor": True,
    }
    if said.get("profession"):
        agent["role"] = [{"coding": [{"system": _PROFESSION, "code": said["profession"]}]}]
    if said.get("jti"):
        agent["policy"] = [f"urn:ietf:params:oauth:jti:{said['jti']}"]
    agent["purposeOfUse"] = _purposes(said)
    return {name: value for name, value in agent.items() if value}


def _person(said: Mapping[str, Any]) -> dict[str, Any]:
    who: dict[str, Any] = {"reference": said["who"]} if said.get("who") else {}
    rpps = next((key.removeprefix("rpps:") for key in said.get("keys", ()) if key.startswith("rpps:")), None)
    if rpps:
        who["identifier"] = {"system": RPPS, "value": rpps}
    return {**who, "display": said.get("name") or said["role"]}


def _organization(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not said.get("structure"):
        return []
    who: dict[str, Any] = {"identifier": {"system": FINESS, "value": said["structure"]}}
    if said.get("structure_name"):
        who["display"] = said["structure_name"]
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "code": "PROV"}
    return [{"type": {"coding": [kind]}, "who": who, "requestor": False}]


def _client(said: Mapping[str, Any]) -> dict[str, Any]:
    system, code = _CLIENTS.get(said["action"], (_DCM, "110153"))
    who: dict[str, Any] = {"display": said.get("software") or said.get("client") or "portal"}
    if said.get("client"):
        who["identifier"] = {"system": CLIENT, "value": said["client"]}
    # The log keeps no network address of anyone.
    absent = {"extension": [{"url": _UNKNOWN, "valueCode": "masked"}]}
    return {"type": {"coding": [{"system": system, "code": code}]}, "who": who, "requestor": False, "network": absent}


def _server(said: Mapping[str, Any], base: str) -> dict[str, Any]:
    system, code = _SERVERS.get(said["action"], (_DCM, "110152"))
    network = {"address": base, "type": "5"}
    kind = {"coding": [{"system": system, "code": code}]}
    return {"type": kind, "who": {"display": SOFTWARE}, "requestor": False, "network": network}


def _entities(said: Mapping[str, Any], withheld: bool) -> list[dict[str, Any]]:
    found = []
    if said.get("patient"):
        found.append(_entity("1", "1", what={"reference": f"Patient/{said['patient']}"}))
    if _searches(said):
        found.append(_entity("2", "24", query=_query(said)))
    elif said.get("type"):
        found.append(_entity("2", "4", what={"display": "document"} if withheld else _data(said)))
    if said.get("request"):
        kind = {"system": _REQUEST, "code": "XrequestId"}
        found.append({"what": {"identifier": {"value": said["request"]}}, "type": kind})
    return found


def _query(said: Mapping[str, Any]) -> str:
    """What was searched, as base64: the type and the parameters as they were kept."""
    asked = b64decode(said.get("query", "")).decode()
    return b64encode(f"{said.get('type', '')}?{asked}".rstrip("?").encode()).decode()


def _data(said: Mapping[str, Any]) -> dict[str, str]:
    if not said.get("resource"):
        return {"type": said["type"]}
    version = f"/_history/{said['version']}" if said.get("version") else ""
    return {"reference": f"{said['type']}/{said['resource']}{version}"}


def _entity(kind: str, role: str, **content: Any) -> dict[str, Any]:
    return {**content, "type": {"system": _ENTITY, "code": kind}, "role": {"system": _ROLE, "code": role}}
