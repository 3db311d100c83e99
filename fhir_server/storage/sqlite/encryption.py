"""Whether a file is encrypted at rest, and with which keys: what is asked when it is opened."""

from __future__ import annotations

import sqlite3

from fhir_server.storage.cipher import Cipher, Keks
from fhir_server.storage.sqlite.key_file import KeyFile


class Refused(ValueError):
    """The store is not opened: the keys given do not fit what it is."""


def open_cipher(connection: sqlite3.Connection, path: str, keks: Keks | None, key_store: str = "") -> Cipher | None:
    """What seals the file at `path`, None for one that is not encrypted; a new file is, if `keks` are given.

    `key_store`: the file of data keys, "" for the one beside it. Raises Refused: without the keys, with the wrong ones,
    for a file that was filled without encryption, and for one whose encryption has not ended.
    """
    known = connection.execute("SELECT keys, reached FROM encryption").fetchone()
    if keks is None:
        if known:
            raise Refused("this store is encrypted: FHIR_SERVER_KEK_FILE must name the key that encrypts its keys")
        return None
    if known is None and not _is_empty(connection):
        raise Refused("this store is not encrypted yet: run `fhir-server keys encrypt`, or unset FHIR_SERVER_KEK_FILE")
    cipher = cipher_of(connection, path, keks, key_store)
    if known and known[1] is not None:
        raise Refused("the encryption of this store has begun and not ended: run `fhir-server keys encrypt` again")
    # What is deleted or rewritten in clear text is not to be found in free pages afterwards.
    connection.execute("PRAGMA secure_delete = ON").close()
    return cipher


def cipher_of(connection: sqlite3.Connection, path: str, keks: Keks, key_store: str = "") -> Cipher:
    """The cipher of a file; one that was not encrypted is marked as to be encrypted, wholly so when it is empty."""
    known = connection.execute("SELECT keys FROM encryption").fetchone()
    keys = KeyFile(key_store or f"{path}.keys", make=known is None)
    try:
        cipher = Cipher(keys, keks)
        if known is None:
            reached = None if _is_empty(connection) else 0
            connection.execute("INSERT INTO encryption VALUES (1, ?, ?)", (cipher.name, reached))
        elif known[0] != cipher.name:
            raise Refused("the file of data keys belongs to another store")
    except BaseException:
        keys.close()
        raise
    return cipher


def _is_empty(connection: sqlite3.Connection) -> bool:
    filled = "SELECT (SELECT vid + seq FROM head) + (SELECT count(*) FROM (SELECT 1 FROM ledger LIMIT 1))"
    return not connection.execute(filled).fetchone()[0]
