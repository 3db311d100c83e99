"""Keys: the one spelling in which a caller, an author, a participant or a directive names somebody.

`rpps:99900000011` a professional, `org:990000001` a structure, `client:demo-app` a software, `country:DE` an EU
gateway, and "Type/id" for whoever has a resource here (spec access §3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir_server.auth.actor import Actor
from fhir_server.fhir.identity import FINESS, IDNST, SIRENE, rpps_of, structure_identifiers
from fhir_server.fhir.references import parse_reference
from fhir_server.settings import CANONICAL_BASE

CLIENT: Final = f"{CANONICAL_BASE}/client"
COUNTRY: Final = "urn:iso:std:iso:3166"

_PREFIXES: Final = {FINESS: "org", SIRENE: "org", CLIENT: "client", COUNTRY: "country"}


def key_of(identifier: Mapping[str, Any]) -> str | None:
    """The key that an Identifier stands for; RPPS and IdNat_PS give the same (PRO-3). None for an unknown system."""
    rpps = rpps_of(identifier)
    if rpps:
        return f"rpps:{rpps}"
    system, value = identifier.get("system"), identifier.get("value")
    if not isinstance(system, str) or not isinstance(value, str) or not value:
        return None
    if system == IDNST:
        number = structure_identifiers(value)[-1]
        return f"org:{number['value']}"
    return f"{_PREFIXES[system]}:{value}" if system in _PREFIXES else None


def link_of(text: object, base: str = "") -> str | None:
    """The resource of this server that a literal reference or url leads to, as "Type/id", whatever its version."""
    if not isinstance(text, str):
        return None
    found = parse_reference(text)
    if found.kind == "relative" or (found.kind == "absolute" and found.type and found.base == base):
        return f"{found.type}/{found.id}"
    return None


def keys_of(reference: object, base: str = "") -> frozenset[str]:
    """The keys that a Reference names: the resource it leads to, and the identifier it carries."""
    if not isinstance(reference, Mapping):
        return frozenset()
    identifier = reference.get("identifier")
    key = key_of(identifier) if isinstance(identifier, Mapping) else None
    return frozenset(each for each in (link_of(reference.get("reference"), base), key) if each)


def person_keys(actor: Actor) -> frozenset[str]:
    """The keys of the one who acts, not of those they belong to: what makes somebody the author of a deposit."""
    prefix = {"ps": "rpps:", "app": "client:"}.get(actor.role)
    known = frozenset(key for key in actor.keys if prefix and key.startswith(prefix))
    return known or frozenset({actor.reference} - {""})


def own_keys(actor: Actor, *, by_structure: bool) -> frozenset[str]:
    """The keys whose deposits the caller reads as own (spec access §3.5); for a professional the structure too."""
    persons = person_keys(actor)
    if actor.role != "ps" or not by_structure:
        return persons
    return persons | {key for key in actor.keys if key.startswith("org:")}


def author_keys(actor: Actor) -> frozenset[str]:
    """What a deposit by this caller is marked with: the person, their structure, who an application acts for."""
    keys = own_keys(actor, by_structure=True)
    return keys | ({actor.authoriser_key} - {""} if actor.role == "app" else frozenset())
