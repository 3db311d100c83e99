"""The HL7 v2 data types inside XDS metadata: CX, XCN, XON and coded values, read and written.

Components are separated by `^`, subcomponents by `&`; in a text both are written with the escapes of HL7 v2 (`\\S\\`,
`\\T\\`), which are read back. The reader takes a missing `ISO`, stray blanks and bare values.
Source: IHE ITI TF-3 table 4.2.3.1.7-2, importers-tables §6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from importers.metadata import Code, Identifier, Institution, Person

_ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}
_WRITTEN = {character: f"\\{letter}\\" for letter, character in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\([FSTRE])\\").sub
_RESERVED = re.compile(r"[|^&~\\]").sub


def identifier(written: str) -> Identifier | None:
    """A CX: `value^^^&oid&ISO^NH`; None without a value."""
    parts = _components(written)
    value = _text(parts[0])
    return Identifier(value, _authority(parts[3]), _text(parts[4])) if value else None


def write_identifier(each: Identifier) -> str:
    """A CX."""
    return _joined([_escaped(each.value), "", "", _written_authority(each.authority), _escaped(each.kind)])


def person(written: str) -> Person | None:
    """A XCN: `id^family^given^second^suffix^prefix^^^&oid&ISO^D^^^type`; None where it names nobody."""
    parts = _components(written)
    value = _text(parts[0])
    given = Identifier(value, _authority(parts[8]), _text(parts[12])) if value else None
    family, first, second, suffix, prefix = map(_text, parts[1:6])
    found = Person(given, family, first, second, suffix, prefix, _text(parts[9]))
    return None if found == Person() else found


def write_person(each: Person) -> str:
    """A XCN."""
    key = each.identifier or Identifier("")
    names = [each.family, each.given, each.second, each.suffix, each.prefix]
    authority = _written_authority(key.authority)
    tail = ["", "", authority, _escaped(each.name_type), "", "", _escaped(key.kind)]
    return _joined([_escaped(key.value), *map(_escaped, names), *tail])


def institution(written: str) -> Institution | None:
    """A XON: `name^^^^^&oid&ISO^type^^^id`; None where it names nothing."""
    parts = _components(written)
    value = _text(parts[9])
    key = Identifier(value, _authority(parts[5]), _text(parts[6])) if value else None
    found = Institution(_text(parts[0]), key)
    return None if found == Institution() else found


def write_institution(each: Institution) -> str:
    """A XON."""
    key = each.identifier or Identifier("")
    authority = _written_authority(key.authority)
    return _joined([_escaped(each.name), "", "", "", "", authority, _escaped(key.kind), "", "", _escaped(key.value)])


def code(written: str) -> Code | None:
    """A role or a specialty: `code^display^oid` (French), `code^^^&oid&ISO` (IHE), or a bare value."""
    parts = _components(written)
    value = _text(parts[0])
    return Code(value, _text(parts[2]) or _authority(parts[3]), _text(parts[1])) if value else None


def write_code(each: Code) -> str:
    """A role or a specialty as French systems write it."""
    return _joined([_escaped(each.code), _escaped(each.display), _escaped(each.system)])


def components(written: str) -> list[str | None]:
    """What each component of a value says, thirteen of them or more; None where it is blank."""
    return [_text(each) for each in _components(written)]


def joined(said: Sequence[str | None]) -> str:
    """A value of those components."""
    return _joined([_escaped(each) for each in said])


def _components(written: str) -> list[str]:
    """The components, as many as any of these types has."""
    return [*written.split("^"), *[""] * 13]


def _text(component: str) -> str | None:
    """What a component says; None where it is blank."""
    return _ESCAPED(lambda found: _ESCAPES[found[1]], component).strip(" \t\r\n") or None


def _authority(component: str) -> str | None:
    """The OID of an assigning authority: `&oid&ISO`, `name&oid&ISO`, `&oid`, or the OID alone."""
    parts = component.split("&")
    return _text(parts[1]) if len(parts) > 1 else _text(component)


def _written_authority(oid: str | None) -> str:
    return f"&{_escaped(oid)}&ISO" if oid else ""


def _escaped(text: str | None) -> str:
    return _RESERVED(lambda found: _WRITTEN[found[0]], text) if text else ""


def _joined(components: list[str]) -> str:
    return "^".join(components).rstrip("^")
