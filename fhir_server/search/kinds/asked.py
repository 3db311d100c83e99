"""What a search asks of one parameter, and how its text is taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final

from fhir_server.errors import Issue, Malformed

_ESCAPED: Final = re.compile(r"\\([\\,|$])")
_PREFIXED: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """One parameter of a search: `name` as the client wrote it, `param` its code in the index.

    `types`: the FHIR types that the parameter indexes; `targets`: the resource types that a reference may lead to.
    `system`: the one that R4 binds the elements to, "" where it is not one; `base_url`: this server's FHIR base;
    `zone`: where dates without an offset are read.
    """

    name: str
    param: str
    modifier: str = ""
    types: tuple[str, ...] = ()
    targets: frozenset[str] = field(default_factory=frozenset)
    system: str = ""
    base_url: str = ""
    zone: tzinfo = UTC

    def malformed(self, text: str) -> Malformed:
        """The error to raise; it names the parameter and never repeats the value."""
        return malformed(self.name, text)


def malformed(name: str, text: str) -> Malformed:
    """The error of one parameter; `text` says what was expected."""
    return Malformed(issues=[Issue("value", text, name[:100])])


def split(text: str, separator: str) -> list[str]:
    """The parts of `text` between the separators that no backslash precedes; escapes stay as they are."""
    if "\\" not in text:
        return text.split(separator)
    parts, start = [], 0
    for found in re.finditer(rf"\\.|{re.escape(separator)}", text, re.DOTALL):
        if found.group() == separator:
            parts.append(text[start : found.start()])
            start = found.end()
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    r"""The text meant by `\\,` `\\|` `\\$` and `\\\\`; any other backslash stands for itself."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def prefixed(text: str) -> tuple[str, str]:
    """The comparison prefix (eq where there is none) and the value after it."""
    found = _PREFIXED.fullmatch(text)
    prefix, value = found.groups() if found else (None, text)
    return prefix or "eq", value
