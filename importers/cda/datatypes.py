"""The HL7 v3 data types of a header as FHIR: II, TS, IVL_TS, CD and CE, PN, AD, TEL.

A `nullFlavor` yields nothing: what is optional is left out. What cannot be read is left out and noted.
Source: HL7 v3 Data Types R1 and https://hl7.org/fhir/R4/datatypes.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from lxml import etree

from fhir_server.fhir import dates
from importers.cda.elements import V3, attribute, child, folded, text
from importers.cda.texts import Texts
from importers.issues import Notes
from importers.tables import table

URI: Final = "urn:ietf:rfc:3986"

_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+", re.ASCII).fullmatch
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII).fullmatch
_TS = re.compile(
    r"(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d+)?)?)?)?(?:([+-])(\d\d):?(\d\d)?|(Z))?", re.ASCII
).fullmatch


_TRANSLATION: Final = V3 + "translation"
_ORIGINAL_TEXT: Final = V3 + "originalText"

DATA_ABSENT_REASON: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
DATA_ABSENT_REASONS: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

_ABSENCES: Final = {
    "NAV": "temp-unknown",
    "NASK": "not-asked",
    "ASKU": "asked-unknown",
    "NA": "not-applicable",
    "MSK": "masked",
    "NINF": "negative-infinity",
    "PINF": "positive-infinity",
}


class Key(NamedTuple):
    """What an instance identifier says, as FHIR writes it."""

    system: str
    value: str

    def identifier(self) -> dict[str, Any]:
        """The key as an Identifier."""
        return {"system": self.system, "value": self.value}


@lru_cache(maxsize=4096)
def urn(root: str) -> str | None:
    """An II root or OID as a URN: `urn:oid:…`, or `urn:uuid:…` in small letters; None if it is neither."""
    if _OID(root):
        return f"urn:oid:{root}"
    return f"urn:uuid:{root.lower()}" if _UUID(root) else None


def absence(element: etree._Element | None) -> str:
    """The data-absent-reason that a nullFlavor stands for; `unknown` for UNK, NI and where there is no word of it."""
    return _ABSENCES.get("" if element is None else element.get("nullFlavor", ""), "unknown")


def absent(element: etree._Element | None) -> dict[str, Any]:
    """What stands in the place of a required value that the element does not give: the extension data-absent-reason."""
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": absence(element)}]}


def key(element: etree._Element | None, notes: Notes) -> Key | None:
    """An II; a root without extension is itself the value. A root that is no OID nor UUID is left out and noted."""
    if element is None or element.get("nullFlavor"):
        return None
    root = folded(element.get("root"))
    if root is None:
        return None
    system, extension = urn(root), folded(element.get("extension"))
    if system is None:
        notes.add("bad-oid", element)
        return None
    return Key(system, extension) if extension else Key(URI, system)


def date_time(element: etree._Element | None, notes: Notes) -> str | None:
    """A TS as a FHIR dateTime of the same precision and offset.

    Minutes get seconds `:00`; an hour alone is left out, since R4 has no such precision; a time without offset is one
    of Europe/Paris on that day.
    """
    if element is None:
        return None
    value = folded(element.get("value"))
    if value is None or element.get("nullFlavor"):
        return None
    moment, in_paris = _date_time(value)
    if in_paris:
        notes.add("no-timezone", element)
    if moment is None:
        notes.add("bad-date", element)
    return moment


def date(element: etree._Element | None, notes: Notes) -> str | None:
    """A TS as a FHIR date: its time of day, if any, is left out."""
    moment = date_time(element, notes)
    return moment[:10] if moment else None


@lru_cache(maxsize=4096)
def _date_time(value: str) -> tuple[str | None, bool]:
    """A TS as a FHIR dateTime, or None; and whether its offset is that of Paris, since it has none."""
    found = _TS(value)
    moment, in_paris = _written(found) if found else (None, False)
    return (moment if moment and dates.is_date_time(moment) else None), in_paris


def _written(found: re.Match[str]) -> tuple[str | None, bool]:
    year, month, day, hour, minute, second, fraction, sign, off_hour, off_minute, zulu = found.groups()
    days = "-".join(part for part in (year, month, day) if part)
    if minute is None:
        return days, False
    clock = f"{hour}:{minute}:{second or '00'}{fraction or ''}"
    if zulu:
        return f"{days}T{clock}Z", False
    if sign:
        return f"{days}T{clock}{sign}{off_hour}:{off_minute or '00'}", False
    offset = _offset_of_paris(f"{days}T{hour}:{minute}")
    return (f"{days}T{clock}{offset}", True) if offset else (None, False)


def _offset_of_paris(minute: str) -> str | None:
    try:
        offset = datetime.fromisoformat(minute).replace(tzinfo=ZoneInfo("Europe/Paris")).utcoffset()
    except ValueError:
        return None
    hours, minutes = divmod((offset or timedelta()) // timedelta(minutes=1), 60)
    return f"+{hours:02d}:{minutes:02d}"


def period(element: etree._Element | None, notes: Notes) -> dict[str, str]:
    """An IVL_TS as a Period, empty when nothing is known; a value alone is both its ends.

    An end before the start, which R4 forbids (per-1), is left out and noted.
    """
    start = end = None
    if element is not None and len(element):
        start, end = date_time(child(element, "low"), notes), date_time(child(element, "high"), notes)
    if start is None and end is None:
        start = end = date_time(element, notes)
    if start and end and start != end and precedes(end, start):
        notes.add("bad-period", element)
        end = None
    return {name: value for name, value in (("start", start), ("end", end)) if value}


def precedes(one: str, other: str) -> bool:
    """Whether the whole of one FHIR dateTime lies before the other."""
    return dates.date_range(one)[1] <= dates.date_range(other)[0]


def concept(
    element: etree._Element | None, notes: Notes, texts: Texts | None = None, name: str | None = None
) -> dict[str, Any] | None:
    """A CD or CE as a CodeableConcept: its code, then each translation, then a text.

    The text is the original text (with `texts`, what its reference leads to), else `name`, else the display name of the
    first coding; None where all of it is missing.
    """
    if element is None:
        return {"text": name} if name else None
    own = coding(element, notes)
    codings = [own] if own else []
    wording = None
    if len(element):
        original = None
        for each in element:
            tag = each.tag
            if tag == _TRANSLATION:
                if found := coding(each, notes):
                    codings.append(found)
            elif tag == _ORIGINAL_TEXT and original is None:
                original = each
        wording = text(original) if texts is None else texts.of(original)
    wording = wording or name or folded(element.get("displayName"))
    if not wording:
        wording = next((each["display"] for each in codings if "display" in each), None)
    made: dict[str, Any] = {"coding": codings} if codings else {}
    if wording:
        made["text"] = wording
    return made or None


def coding(element: etree._Element, notes: Notes) -> dict[str, Any] | None:
    """A CD or CE as one Coding; None without a code, or where its code system is not an OID (then noted)."""
    code = folded(element.get("code"))
    if code is None:
        return None
    oid, display = folded(element.get("codeSystem")), folded(element.get("displayName"))
    found: dict[str, Any] = {}
    if oid:
        system = system_of(oid, element, notes)
        if system is None:
            return None
        found["system"] = system
    found["code"] = code
    if display:
        found["display"] = display
    return found


def system_of(oid: str, element: etree._Element, notes: Notes) -> str | None:
    """The URI of a code system: of the table, else `urn:oid:…` noted as unknown; None (noted) if it is not an OID."""
    systems = table("code_systems")
    known: str | None = systems["uris"].get(oid)
    if known:
        return known
    misprint = systems["misprints"].get(oid)
    if misprint and attribute(element, "codeSystemName") == misprint.get("named", attribute(element, "codeSystemName")):
        notes.add("misprinted-oid", element)
        oid = misprint["is"]
        if oid in systems["uris"]:
            return str(systems["uris"][oid])
    system = urn(oid)
    if system is None:
        notes.add("bad-oid", element)
    elif oid not in systems["withoutUri"]:
        notes.unknown_system(oid, element)
    return system


_NAME_USES: Final = {"L": "official", "C": "usual", "P": "nickname", "A": "nickname", "I": "usual"}
_USES: Final = {"H": "home", "HP": "home", "HV": "home", "WP": "work", "DIR": "work", "PUB": "work", "TMP": "temp"}
_TELECOM_USES: Final = {**_USES, "MC": "mobile"}
_SCHEMES: Final = {"tel": "phone", "fax": "fax", "mailto": "email", "http": "url", "https": "url", "ftp": "url"}
_STREET: Final = ("houseNumber", "houseNumberNumeric", "streetNameType", "streetName", "streetNameBase")
_LINES: Final = ("streetAddressLine", "unitID", "additionalLocator", "deliveryAddressLine", "postBox")
_PLACES: Final = (
    ("city", "city"),
    ("county", "district"),
    ("state", "state"),
    ("postalCode", "postalCode"),
    ("country", "country"),
)


class Parts:
    """The parts of a name or an address, by local name: texts in their order, those with a nullFlavor left out."""

    __slots__ = ("_found",)

    def __init__(self, element: etree._Element) -> None:
        """Read the children of a PN or AD."""
        self._found: dict[str, list[tuple[str, list[str]]]] = {}
        for part in element:
            wording = None if part.get("nullFlavor") else text(part)
            if wording:
                qualifier = part.get("qualifier")
                self._found.setdefault(part.tag, []).append((wording, qualifier.split() if qualifier else []))

    def __call__(self, name: str, qualifier: str | None = None) -> list[str]:
        """The texts of that part; with a qualifier, of those that bear it, or (`""`) of those that bear none."""
        found = self._found.get(V3 + name, [])
        if qualifier is None:
            return [wording for wording, _ in found]
        return [wording for wording, borne in found if (qualifier in borne if qualifier else not borne)]

    def of(self, names: Iterable[str]) -> list[str]:
        """The texts of the parts of those names, in the order of the names."""
        return [wording for name in names for wording, _ in self._found.get(V3 + name, ())]


def human_name(element: etree._Element | None) -> dict[str, Any] | None:
    """A PN as a HumanName; its text when it has no parts; None when it is empty."""
    if element is None or element.get("nullFlavor"):
        return None
    parts = Parts(element)
    family = " ".join(parts("family"))
    name: dict[str, Any] = {"family": family} if family else {}
    name.update({each: found for each in ("given", "prefix", "suffix") if (found := parts(each))})
    if not name and (whole := text(element)):
        name["text"] = whole
    use = _mapped(element, _NAME_USES)
    return {**({"use": use} if use else {}), **name} if name else None


def address(element: etree._Element) -> dict[str, Any] | None:
    """An AD as an Address; its text when it has no parts; None when it is empty."""
    if element.get("nullFlavor"):
        return None
    parts = Parts(element) if len(element) else None
    found: dict[str, Any] = {}
    if parts:
        street = " ".join(parts.of(_STREET))
        lines = [*([street] if street else []), *parts.of(_LINES)]
        if lines:
            found["line"] = lines
        found.update({place: " ".join(said) for name, place in _PLACES if (said := parts(name))})
    if not found and (whole := text(element)):
        found["text"] = whole
    use = _mapped(element, _USES)
    return {**({"use": use} if use else {}), **found} if found else None


def contact_point(element: etree._Element) -> dict[str, Any] | None:
    """A TEL as a ContactPoint; None when it is empty."""
    url = attribute(element, "value")
    if element.get("nullFlavor") or url is None:
        return None
    scheme, colon, rest = url.partition(":")
    if not colon:
        system, value = ("email" if "@" in url else "phone"), url
    else:
        system = _SCHEMES.get(scheme.lower(), "other")
        value = url if system in ("url", "other") else rest.strip()
    use = _mapped(element, _TELECOM_USES)
    return {"system": system, "value": value, **({"use": use} if use else {})} if rest or not colon else None


def _mapped(element: etree._Element, uses: dict[str, str]) -> str | None:
    written = element.get("use")
    if not written:
        return None
    # Several uses may stand in one attribute: a mobile number says more than where it rings.
    said = [uses[each] for each in written.split() if each in uses]
    return "mobile" if "mobile" in said else next(iter(said), None)


def present(values: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Those of the values that are there, each once."""
    found: list[dict[str, Any]] = []
    for value in values:
        if value and value not in found:
            found.append(value)
    return found
