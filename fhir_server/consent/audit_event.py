"""A line of the access log as AuditEvents of IHE BALP 1.1 (https://profiles.ihe.net/ITI/BALP/).

Rendered when it is read: the log itself stays as it was written, and each reader gets what they may know today. A line
makes one event, and a second one, of pattern AuthZconsent, when it is about the right itself.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from fhir_server.consent import audit_agents as agents
from fhir_server.fhir.dates import format_instant
from fhir_server.storage.interface import AuditEntry

PROFILE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
REST: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
DECISION: Final = "-authz"
"""What the id of the second event of a line ends in."""

_AUTHORIZATION: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
_REQUEST: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_USER_AGENT: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes"
_TRANSACTION: Final = "urn:ihe:event-type-code"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
_SECURITY_ROLE: Final = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"

_PATTERNS: Final = {"C": "Create", "R": "Read", "U": "Update", "D": "Delete"}
# The roles of client and server in each pattern: reading, data flows to the client; otherwise from it.
_CLIENTS: Final = {"R": agents.DESTINATION, "D": agents.APPLICATION}
_SERVERS: Final = {"R": agents.SOURCE, "D": agents.CUSTODIAN}
_OUTCOMES: Final = {"": "0", "exception": "8", "transient": "8"}
# What an EU gateway asks, as IHE numbers it: (interaction begins with, type).
_TRANSACTIONS: Final = (
    ("search", "DocumentReference", "ITI-67"),
    ("read", "DocumentReference", "ITI-68"),
    ("read", "Binary", "ITI-68"),
    ("search", "Patient", "ITI-78"),
    ("$match", "Patient", "ITI-119"),
)


def to_audit_events(entry: AuditEntry, *, base: str, withheld: bool = False, title: str = "") -> list[dict[str, Any]]:
    """The AuditEvents of a line. `base`: the FHIR base url of this server; `withheld`: the resource it is about is not
    named, because it is hidden from the reader (it shows as "document"); `title`: of that resource."""
    said = orjson.loads(entry.row.body)
    events = [_access(said, base, withheld, title)]
    if said.get("authorization") and said.get("patient"):
        events.append(_decision(said, withheld))
    return events


def _access(said: Mapping[str, Any], base: str, withheld: bool, title: str) -> dict[str, Any]:
    pattern, recorded = _pattern(said), format_instant(said["time"])
    event: dict[str, Any] = _begun(said, said["id"], pattern)
    event |= {
        "type": {"system": REST, "code": "rest", "display": "Restful Operation"},
        "subtype": _subtypes(said),
        "action": said["action"],
        "period": {"start": recorded},
        **_outcome(said, recorded),
    }
    writes = said["action"] in "CUD"
    event["agent"] = [
        agents.user(said, agents.AUTHOR if writes else agents.RECIPIENT),
        *agents.organization(said),
        agents.client(said, _CLIENTS.get(said["action"], agents.SOURCE)),
        agents.server(_SERVERS.get(said["action"], agents.DESTINATION), base),
    ]
    event["source"] = _source("4", "Application Server")
    event["entity"] = _entities(said, withheld, title)
    return {name: value for name, value in event.items() if value}


def _decision(said: Mapping[str, Any], withheld: bool) -> dict[str, Any]:
    """The decision that the line is about: a refusal, an emergency, a change of what the patient allows."""
    recorded = format_instant(said["time"])
    event: dict[str, Any] = _begun(said, said["id"] + DECISION, "AuthZconsent")
    event |= {
        "type": {"system": agents.DCM, "code": "110113", "display": "Security Alert"},
        "subtype": [{"system": _AUTHORIZATION, "code": "AuthZ-Consent"}],
        "action": "E",
        "period": {"start": recorded},
        **_outcome(said, recorded),
    }
    absent = {"extension": [{"url": agents.DATA_ABSENT, "valueCode": "not-applicable"}]}
    unnamed = {"type": {"coding": [agents.PROVIDER]}, "who": absent, "requestor": False}
    authority = {"system": _SECURITY_ROLE, "code": "authserver", "display": "authorization server"}
    event["agent"] = [
        agents.user(said, agents.RECIPIENT),
        *(agents.organization(said) or [unnamed]),
        agents.client(said, agents.APPLICATION),
        {"type": {"coding": [authority]}, "who": {"display": agents.SOFTWARE}, "requestor": False},
    ]
    event["source"] = _source("6", "Security Server")
    event["entity"] = [_patient(said), _directive(said, withheld), *_token(said)]
    return {name: value for name, value in event.items() if value}


def _begun(said: Mapping[str, Any], id: str, pattern: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"lastUpdated": format_instant(said["time"])}
    if pattern:
        meta["profile"] = [PROFILE + pattern]
    return {"resourceType": "AuditEvent", "id": id, "meta": meta}


def _outcome(said: Mapping[str, Any], recorded: str) -> dict[str, Any]:
    code = said.get("outcome", "")
    told = {"recorded": recorded, "outcome": _OUTCOMES.get(code, "4"), "outcomeDesc": code}
    return {**told, "purposeOfEvent": agents.purposes(said)}


def _source(code: str, display: str) -> dict[str, Any]:
    return {"observer": {"display": agents.SOFTWARE}, "type": [{"system": _SOURCE, "code": code, "display": display}]}


def _pattern(said: Mapping[str, Any]) -> str:
    """The BALP profile that the line follows; they are about what succeeded."""
    if said.get("outcome"):
        return ""
    name = "Query" if _searches(said) else _PATTERNS.get(said["action"], "")
    if not name or (name != "Query" and not (said.get("type") and said.get("resource"))):
        return ""
    return f"Patient{name}" if said.get("patient") else name


def _searches(said: Mapping[str, Any]) -> bool:
    return str(said.get("interaction", "")).startswith("search")


def _subtypes(said: Mapping[str, Any]) -> list[dict[str, str]]:
    code, found = said.get("interaction", ""), []
    if code:
        found.append({"system": INTERACTION, "code": code, "display": code})
    if said.get("authorization"):
        found.append({"system": _AUTHORIZATION, "code": "AuthZ-Consent"})
    if said["role"] == "ncp":
        found += [
            {"system": _TRANSACTION, "code": number}
            for begins, type_, number in _TRANSACTIONS
            if code.removeprefix("v").startswith(begins) and said.get("type") == type_
        ]
    return found


def _entities(said: Mapping[str, Any], withheld: bool, title: str) -> list[dict[str, Any]]:
    found = [_patient(said)] if said.get("patient") else []
    if _searches(said):
        found.append(_entity("2", "24", query=_query(said)))
    elif said.get("type"):
        data = _entity("2", "4", what={"display": "document"} if withheld else _data(said), detail=_details(said))
        found.append({**data, "name": title} if title and not withheld else data)
    if said.get("request"):
        kind = {"system": _REQUEST, "code": "XrequestId"}
        found.append({"what": {"identifier": {"value": said["request"]}}, "type": kind})
    if said["role"] == "ncp":
        found.append(_exchange(said))
    return found


def _patient(said: Mapping[str, Any]) -> dict[str, Any]:
    return _entity("1", "1", what={"reference": f"Patient/{said['patient']}"})


def _query(said: Mapping[str, Any]) -> str:
    """What was searched, as base64: the type and the parameters as they were kept."""
    asked = b64decode(said.get("query", "")).decode()
    return b64encode(f"{said.get('type', '')}?{asked}".rstrip("?").encode()).decode()


def _data(said: Mapping[str, Any]) -> dict[str, str]:
    if not said.get("resource"):
        return {"type": said["type"]}
    version = f"/_history/{said['version']}" if said.get("version") else ""
    return {"reference": f"{said['type']}/{said['resource']}{version}"}


def _details(said: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was declared with the request, such as the reason of an emergency."""
    return [{"type": "reason", "valueString": said["reason"]}] if said.get("reason") else []


def _exchange(said: Mapping[str, Any]) -> dict[str, Any]:
    """What the exchange with another country was of: categories, origin, and who asked as they were asserted."""
    details = [{"type": name, "valueString": value} for name, value in agents.asserted(said).items()]
    for name in ("category", "origin"):
        details += [{"type": name, "valueString": each} for each in said.get(name, ())]
    kind = {"system": _ENTITY, "code": "4", "display": "Other"}
    return {"what": {"display": "exchange"}, "type": kind, **({"detail": details} if details else {})}


def _directive(said: Mapping[str, Any], withheld: bool) -> dict[str, Any]:
    """The Consent that the line is about, or those of the record together."""
    names_it = said.get("type") == "Consent" and said.get("resource") and not withheld
    what = {"reference": f"Consent/{said['resource']}"} if names_it else {"display": "directives of the record"}
    return {"what": what, "type": {"system": "http://hl7.org/fhir/resource-types", "code": "Consent"}}


def _token(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not said.get("jti"):
        return []
    kind = {"system": _USER_AGENT, "code": "UserOauthAgent"}
    return [{"what": {"identifier": {"value": agents.JTI + said["jti"]}}, "type": kind}]


def _entity(kind: str, role: str, **content: Any) -> dict[str, Any]:
    """An entity of one of R4's kinds: 1 a person, the patient; 2 a system object, 4 a resource or 24 a query."""
    displays = {"1": "Person", "2": "System Object"}, {"1": "Patient", "4": "Domain Resource", "24": "Query"}
    return {
        **{name: value for name, value in content.items() if value},
        "type": {"system": _ENTITY, "code": kind, "display": displays[0][kind]},
        "role": {"system": _ROLE, "code": role, "display": displays[1][role]},
    }
