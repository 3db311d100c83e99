"""What the servers of the suite write to their logs, and whether it names anybody (spec access §9)."""

from __future__ import annotations

import io
import re
import sys
from contextlib import suppress
from threading import Lock

from fhir_server import logs
from fhir_server.demo.family import PATIENTS, PROFESSIONALS

_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")


class LogWatch(io.StringIO):
    """A log that is kept, with all that must never stand in it."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._forbidden: dict[str, str] = {}
        self.lines = 0
        for person in PATIENTS:
            self.forbid("an INS", person.ins)
            self.forbid("a name", person.family, *person.given_names.replace("-", " ").split())
            self.forbid("a birth date", person.born, _DATE.sub(r"\1\2\3", person.born))
        for professional in PROFESSIONALS:
            self.forbid("a name", professional.family)

    def forbid(self, kind: str, *texts: str) -> None:
        """Have these texts never stand in the log, however they are written; `kind` is what is told of them."""
        self._forbidden.update({text.lower(): kind for text in texts if len(text) > 3})

    def write(self, text: str) -> int:
        """One line, or several."""
        with self._lock:
            self.lines += text.count("\n")
            super().write(text)
        # Where a server writes it: for tests that read it, and for who reads why one failed.
        with suppress(ValueError):
            sys.stderr.write(text)
        return len(text)

    def told(self) -> list[tuple[str, str]]:
        """What of it stands in the log written since this was last asked, and in which line."""
        with self._lock:
            written = self.getvalue().lower()
            self.seek(0)
            self.truncate()
        if not written:
            return []
        forbidden = re.compile(r"(?<![a-z0-9_-])(" + "|".join(map(re.escape, self._forbidden)) + r")(?![a-z0-9_-])")
        return [
            (self._forbidden[found[1]], line) for line in written.splitlines() for found in forbidden.finditer(line)
        ]


WATCH = LogWatch()


def watch() -> None:
    """Have all that is logged in this process from now on, in the form and the words of a server's log, be kept."""
    logs.configure("debug", WATCH)
