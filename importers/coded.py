"""Codes, identifiers and times between XDS metadata and FHIR: an OID and its URI, a CX and an Identifier, UTC and a TS.

Source: IHE ITI MHD §4.5 (mapping of DocumentReference and DocumentEntry), importers-tables §5 and §6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from fhir_server.fhir import dates
from importers.cda.datatypes import URI, urn
from importers.metadata import Code, Identifier
from importers.tables import table

_TS = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.\d+)?)?)?)?)?)?(?:([+-]\d\d)(\d\d)|Z)?", re.ASCII
).fullmatch
_OID_PREFIX: Final = "urn:oid:"
_UUID_PREFIX: Final = "urn:uuid:"


def system_of(scheme: str | None) -> str | None:
    """The URI of a coding scheme: of the table, else `urn:oid:…`, else the URI it is; None for a mere name."""
    if not scheme:
        return None
    known: str | None = table("code_systems")["uris"].get(scheme)
    return known or urn(scheme) or (scheme if ":" in scheme and " " not in scheme else None)


def scheme_of(system: str | None) -> str | None:
    """The OID of a code system, or the URI itself where it has none."""
    return _schemes().get(system or "") or (system or "").removeprefix(_OID_PREFIX) or None


@cache
def _schemes() -> Mapping[str, str]:
    # Of two OIDs of one system the first is the one in force.
    return {uri: oid for oid, uri in reversed(table("code_systems")["uris"].items())}


def concept(code: Code) -> dict[str, Any]:
    """A Code as a CodeableConcept."""
    system = system_of(code.system)
    coding = {"system": system, "code": code.code, "display": code.display}
    return {"coding": [{name: value for name, value in coding.items() if value}]}


def code(concept: Mapping[str, Any] | None) -> Code | None:
    """The first coding of a CodeableConcept as a Code; None without one."""
    codings = (concept or {}).get("coding", ())
    first = next((each for each in codings if each.get("code")), None)
    return Code(first["code"], scheme_of(first.get("system")), first.get("display")) if first else None


def identifier(each: Identifier) -> dict[str, Any]:
    """A CX as an Identifier."""
    system = urn(each.authority) if each.authority else None
    return {**({"system": system} if system else {}), "value": each.value}


def cx(each: Mapping[str, Any], kind: str | None = None) -> Identifier | None:
    """An Identifier as a CX; None without a value."""
    value = each.get("value")
    return Identifier(value, (each.get("system") or "").removeprefix(_OID_PREFIX) or None, kind) if value else None


def master_identifier(unique_id: str) -> dict[str, str]:
    """An XDS uniqueId as an Identifier: an OID, an OID with an extension (`oid^ext`), a UUID, or what it is."""
    root, caret, extension = unique_id.partition("^")
    system = urn(root)
    if caret and extension and system:
        return {"system": system, "value": extension}
    bare = urn(root.removeprefix(_OID_PREFIX).removeprefix(_UUID_PREFIX))
    return {"system": URI, "value": bare} if bare and not extension else {"value": unique_id}


def unique_id(master: Mapping[str, Any]) -> str | None:
    """An Identifier as an XDS uniqueId."""
    system, value = master.get("system"), master.get("value")
    if not value or system is None or system == URI:
        return value.removeprefix(_OID_PREFIX) if value else None
    return f"{system.removeprefix(_OID_PREFIX)}^{value}"


def moment(written: str | None) -> str | None:
    """A TS of the metadata, UTC unless it says otherwise, as a dateTime; None where it is none."""
    found = _TS(written or "")
    if found is None:
        return None
    year, month, day, hour, minute, second, hours, minutes = found.groups()
    days = "-".join(part for part in (year, month, day) if part)
    offset = f"{hours}:{minutes}" if hours else "Z"
    said = f"{days}T{hour}:{minute}:{second or '00'}{offset}" if minute else days
    return said if dates.is_date_time(said) else None


def timestamp(moment: str | None) -> str | None:
    """A dateTime as a TS in UTC, of its precision down to the second."""
    if not moment or "T" not in moment:
        return moment.replace("-", "") if moment else None
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y%m%d%H%M%S")
    except (ValueError, OverflowError):
        return None
