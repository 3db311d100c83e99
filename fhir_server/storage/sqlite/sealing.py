"""The bodies of one group on their way into an encrypted file: whose data key each is sealed by.

That is the record that the resource is in. A Binary is in none itself: its record is that of the document that it is
the content of, which may be written with it, have been written before, or come later; till then it is the store's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from fhir_server.search.facts import Facts
from fhir_server.storage.cipher import STORE, Cipher, header
from fhir_server.storage.sqlite.decide import Step
from fhir_server.storage.sqlite.statements import select_in

_CONTENT: Final = "Binary/"
_HOLDERS: Final = (
    "SELECT s.text, p.text FROM symbol AS s JOIN link AS l ON l.target = s.sid AND l.pid = 0"
    " JOIN resource AS r ON r.rid = l.rid JOIN symbol AS p ON p.sid = r.cid WHERE s.text"
)
_VERSIONS: Final = (
    "SELECT r.key, v.vid, v.version FROM resource AS r JOIN version AS v ON v.rid = r.rid WHERE v.deleted = 0 AND r.key"
)
_BODY: Final = "SELECT body FROM version WHERE vid = ? AND substr(body, 1, ?) <> ?"


class Sealing:
    """Seals what a group writes. After `body` has sealed them all and they are in the file comes `take_over`."""

    def __init__(self, cursor: sqlite3.Cursor, cipher: Cipher, steps: Sequence[Step]) -> None:
        self._cursor = cursor
        self._cipher = cipher
        self._named = {link: each.made.facts.patient for each in steps for link in contents(each.made.facts)}
        alone = [each.key for each in steps if each.key.startswith(_CONTENT) and each.key not in self._named]
        self._owners = {**holders(cursor, alone), **self._named}
        cipher.ready(self._owner(each.made.facts) for each in steps)

    def body(self, step: Step) -> bytes:
        """The body of a version as it is kept."""
        made = step.made
        if made.deleted:
            return b""
        return self._cipher.wrap(made.body, owner=self._owner(made.facts), place=step.key, version=made.version)

    def take_over(self) -> None:
        """Have what was sealed by the store's key before its record was known sealed by the key of that."""
        named = sorted(self._named)
        for key, vid, version in list(select_in(self._cursor, _VERSIONS, named)) if named else ():
            owner = self._named[key] or STORE
            own = header(owner)
            found = self._cursor.execute(_BODY, (vid, len(own), own)).fetchone()
            if found:
                body = self._cipher.unwrap(found[0], place=key, version=version)
                sealed = self._cipher.wrap(body, owner=owner, place=key, version=version)
                self._cursor.execute("UPDATE version SET body = ? WHERE vid = ?", (sealed, vid))

    def _owner(self, facts: Facts) -> str:
        return facts.patient or self._owners.get(f"{facts.rtype}/{facts.id}") or STORE


def contents(facts: Facts) -> Iterable[str]:
    """The Binaries that a resource of a record points to."""
    return [link for link in facts.links if link.startswith(_CONTENT)] if facts.patient else ()


def holders(cursor: sqlite3.Cursor, keys: Sequence[str]) -> dict[str, str]:
    """For each of these Binaries the patient in whose record it is pointed to."""
    found = select_in(cursor, _HOLDERS, keys) if keys else ()
    return {key: patient.removeprefix("Patient/") for key, patient in found}
