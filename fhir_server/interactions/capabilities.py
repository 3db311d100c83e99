"""capabilities: GET /metadata, made from what is registered and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from fhir_server import __version__
from fhir_server.consent.kinds import kind_of
from fhir_server.context import Answer, Context, Pace, Request, Services
from fhir_server.fhir.dates import format_instant
from fhir_server.interactions.access_log import SEARCH_PARAMETERS as LOG_PARAMETERS
from fhir_server.interactions.router import offered
from fhir_server.interactions.search import COMPARTMENTS
from fhir_server.search.parameter import Parameter
from fhir_server.settings import CANONICAL_BASE
from fhir_server.validation.profiles import profiles

FORMATS: Final = ("application/fhir+json", "application/fhir+xml", "json", "xml")
PATCH_FORMATS: Final = (
    "application/json-patch+json",
    "application/xml-patch+xml",
    "application/fhir+json",
    "application/fhir+xml",
)
# A directive is ended by its status (access §3.4), a record is closed and not deleted, content goes with its document.
_WITHOUT: Final = {"Consent": ("delete",), "Patient": ("delete",), "Binary": ("update", "patch", "delete")}
_DEFINED: Final = "http://hl7.org/fhir/"
_OAUTH_URIS: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"


async def capabilities(ctx: Context, request: Request) -> Answer:
    """GET metadata in an entry of a Bundle."""
    await ctx.record()
    return Answer(200, await stated(ctx.services))


async def stated(services: Services) -> bytes:
    """The statement; made again when a reindex has put other search parameters in force. Nobody else waits for it."""
    kept = services.statement
    async with kept.making:
        if kept.of is not services.registry:
            registry = services.registry
            kept.value, kept.of = await capability_statement(services, services.clock()), registry
    return kept.value


async def capability_statement(services: Services, now: int) -> bytes:
    """The CapabilityStatement as JSON: the same for every caller (L56)."""
    # Reading every type is nearly all of the work, half a second of it: the others have their turns meanwhile.
    pace = Pace()
    for type_ in services.definitions.resource_types:
        services.registry.parameters(type_)
        await pace.rest()
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
        "format": FORMATS,
        "patchFormat": PATCH_FORMATS,
        "rest": [_Rest(services).told()],
    }
    return orjson.dumps(statement)


class _Rest:
    """CapabilityStatement.rest of one server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # What is the server's own is nobody's to read or write.
        own = {each for each in services.definitions.resource_types if kind_of(each) == "server"}
        self._types = sorted(services.definitions.resource_types - {"Parameters"} - (set() if services.open else own))
        self._references = {
            type_: [each for each in services.registry.searchable(type_) if each.leads] for type_ in self._types
        }
        self._referring: dict[str, list[str]] = {type_: [] for type_ in self._types}
        for type_, parameters in self._references.items():
            for each in parameters:
                for target in each.targets & self._referring.keys():
                    self._referring[target].append(f"{type_}:{each.code}")

    def told(self) -> dict[str, Any]:
        """The one rest element."""
        rest: dict[str, Any] = {
            "mode": "server",
            "documentation": self._documentation(),
            "security": self._security(),
            "resource": [self._resource(each) for each in self._types],
            "interaction": _told(self._of_system()),
            "searchParam": _parameters(self._of_every_type()),
            "compartment": [f"{_DEFINED}CompartmentDefinition/{each.lower()}" for each in COMPARTMENTS],
        }
        if operations := self._operations("system"):
            rest["operation"] = operations
        return rest

    def _security(self) -> dict[str, Any]:
        """SMART on FHIR, and where its endpoints are for clients that do not ask `.well-known/smart-configuration`."""
        if self._services.open:
            text = "Open: no authorization. For tests and benchmarks on this machine only."
            return {"cors": False, "description": text}
        base = self._services.settings.web_base
        endpoints = ("authorize", "token", "introspect", "revoke")
        return {
            "extension": [
                {"url": _OAUTH_URIS, "extension": [{"url": e, "valueUri": f"{base}/oauth/{e}"} for e in endpoints]}
            ],
            "cors": True,
            "service": [{"coding": [{"system": _SECURITY_SERVICE, "code": "SMART-on-FHIR"}], "text": "SMART on FHIR"}],
            "description": "SMART App Launch 2.2. The patient's directives decide what each caller sees.",
        }

    def _documentation(self) -> str:
        """By which habilitation matrix it is decided, and whether that is an official one."""
        matrix = self._services.narrow.rules.matrix
        status = "official" if matrix.status == "official" else f"{matrix.status}, not the official table"
        return f"Habilitation matrix {matrix.id} version {matrix.version}, effective {matrix.effective}: {status}."

    def _of_system(self) -> list[str]:
        """Interactions with the whole system; a Bundle that is posted is one or the other."""
        return ["transaction", "batch", *_codes(code for (_, shape), code in offered().items() if shape[:1] != "T")]

    def _of_every_type(self) -> list[Parameter]:
        common = set.intersection(*(set(self._services.registry.parameters(each)) for each in self._types))
        return [each for each in self._services.registry.searchable("Basic") if each.code in common]

    def _resource(self, type_: str) -> dict[str, Any]:
        if type_ == "AuditEvent" and not self._services.open:
            codes = _codes(offered(log=True).values())
            return {"type": type_, "interaction": _told(codes), "searchParam": LOG_PARAMETERS}
        places = {place: code for place, code in offered().items() if code not in self._without(type_)}
        codes = _codes(code for (_, shape), code in places.items() if shape[:1] == "T" and code != "search-system")
        resource: dict[str, Any] = {
            "type": type_,
            "supportedProfile": [url for url, each in profiles().items() if each.type == type_],
            "interaction": _told(codes),
            "versioning": "versioned",
            "readHistory": True,
            "updateCreate": self._services.open,
            "conditionalCreate": "create" in codes,
            "conditionalRead": "full-support",
            "conditionalUpdate": ("PUT", "T") in places,
            "conditionalDelete": "single" if ("DELETE", "T") in places else "not-supported",
            "referencePolicy": ["literal", "logical"],
            "searchInclude": ["*", *(f"{type_}:{each.code}" for each in self._references[type_])],
            "searchRevInclude": sorted(self._referring[type_]),
            "searchParam": _parameters(self._services.registry.searchable(type_)),
            "operation": self._operations(f"type {type_}", f"instance {type_}", *self._of_records(type_)),
        }
        return {name: part for name, part in resource.items() if part != []}

    def _without(self, type_: str) -> tuple[str, ...]:
        return () if self._services.open else _WITHOUT.get(type_, ())

    def _of_records(self, type_: str) -> tuple[str, ...]:
        """The level of operations on whatever is in a record; in the open server nothing is anybody's."""
        return ("instance *",) if kind_of(type_) == "record" and not self._services.open else ()

    def _operations(self, *levels: str) -> list[dict[str, str]]:
        found = {}
        for key in self._services.operations:
            level, _, name = key.partition(" $")
            if level in levels:
                found[name] = {"name": name, "definition": self._definition(level, name)}
        return list(found.values())

    def _definition(self, level: str, name: str) -> str:
        """R4's definition of an operation, else the project's own."""
        type_ = level.partition(" ")[2]
        for each in self._services.definitions.operations:
            if each.code == name and type_ in each.resources:
                return each.url
        return f"{CANONICAL_BASE}/OperationDefinition/{name}"


def _told(codes: Iterable[str]) -> list[dict[str, str]]:
    return [{"code": code} for code in codes]


def _codes(codes: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(codes))


def _parameters(parameters: Iterable[Parameter]) -> list[dict[str, str]]:
    return [{"name": each.code, "definition": each.url, "type": each.type} for each in parameters]
