"""One reading connection, with what asks through it and what is known of it."""

from __future__ import annotations

import sqlite3

from fhir_server.storage.cipher import Cipher
from fhir_server.storage.sqlite.functions import Questions
from fhir_server.storage.sqlite.links import Links
from fhir_server.storage.sqlite.names import Known, Names
from fhir_server.storage.sqlite.remembered import Remembered


class Reader:
    """Used by one snapshot at a time. `known` and `remembered` are shared by all readers of a store."""

    def __init__(
        self, connection: sqlite3.Connection, known: Known, remembered: Remembered, cipher: Cipher | None = None
    ) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.remembered = remembered
        self.cipher = cipher
        self.names = Names(connection, known)
        self.links = Links(connection, self.names)
        self.questions = Questions(connection, self.names)
