"""capabilities: GET /metadata, made from what is registered and nothing else."""

from __future__ import annotations

from typing import Any, Final

import orjson

from fhir_server import __version__
from fhir_server.context import Services
from fhir_server.fhir.dates import format_instant
from fhir_server.interactions.access_log import SEARCH_PARAMETERS as LOG_PARAMETERS
from fhir_server.settings import CANONICAL_BASE

_ALL: Final = ("read", "vread", "update", "delete", "history-instance", "create", "search-type")
_LOG: Final = ("read", "search-type")
# A directive is ended by its status (access §3.4), a record is closed and not deleted, content goes with its document.
_WITHOUT: Final = {"Consent": ("delete",), "Patient": ("delete",), "Binary": ("update", "delete")}


def capability_statement(services: Services, now: int) -> bytes:
    """The CapabilityStatement as JSON: the same for every caller (L56)."""
    types = sorted(services.definitions.resource_types - {"Parameters"})
    statement = {
        "resourceType": "CapabilityStatement",
        "url": f"{CANONICAL_BASE}/metadata",
        "version": __version__,
        "name": "FhirServer",
        "title": "fhir-server",
        "status": "active",
        "experimental": False,
        "date": format_instant(now),
        "publisher": services.settings.custodian,
        "kind": "instance",
        "software": {"name": "fhir-server", "version": __version__},
        "implementation": {"description": "A person's own health record", "url": services.settings.fhir_base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [_rest(services, types)],
    }
    return orjson.dumps(statement)


def _rest(services: Services, types: list[str]) -> dict[str, Any]:
    rest: dict[str, Any] = {
        "mode": "server",
        "security": {
            "cors": False,
            "description": "Open: no authorization. For tests and benchmarks on this machine only."
            if services.open
            else "Bearer tokens issued by the operator. The patient's directives decide what each caller sees.",
        },
        "resource": [_resource(services, each) for each in types],
        "interaction": [{"code": "transaction"}, {"code": "batch"}],
    }
    operations = [_operation(key) for key in services.operations if key.startswith("system ")]
    if operations:
        rest["operation"] = operations
    return rest


def _resource(services: Services, type_: str) -> dict[str, Any]:
    log = type_ == "AuditEvent" and not services.open
    left = () if services.open else _WITHOUT.get(type_, ())
    codes = _LOG if log else tuple(code for code in _ALL if code not in left)
    resource: dict[str, Any] = {"type": type_, "interaction": [{"code": code} for code in codes]}
    if not log:
        resource |= {
            "versioning": "versioned",
            "readHistory": True,
            "updateCreate": services.open,
            "conditionalCreate": True,
            "conditionalRead": "full-support",
            "conditionalUpdate": False,
            "conditionalDelete": "not-supported",
            "referencePolicy": ["literal", "logical"],
        }
    parameters = LOG_PARAMETERS if log else _parameters(services, type_)
    if parameters:
        resource["searchParam"] = parameters
    return resource


def _parameters(services: Services, type_: str) -> list[dict[str, str]]:
    return [
        {"name": each.code, "definition": each.url, "type": each.type} for each in services.registry.searchable(type_)
    ]


def _operation(key: str) -> dict[str, str]:
    name = key.partition("$")[2]
    return {"name": name, "definition": f"{CANONICAL_BASE}/OperationDefinition/{name}"}
