"""Where the index entries of one resource are collected while it is looked through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, TypeAlias

from fhir_server.search.entries import Amount, Entries, Number, Ref, Span, Text, Token, Uri


class Sink:
    """The entries found so far. `base_url`: this server's FHIR base; `zone`: where dates without an offset are read."""

    __slots__ = ("base_url", "dates", "numbers", "quantities", "references", "strings", "tokens", "uris", "zone")

    def __init__(self, base_url: str, zone: tzinfo) -> None:
        self.base_url = base_url
        self.zone = zone
        self.tokens: list[Token] = []
        self.strings: list[Text] = []
        self.dates: list[Span] = []
        self.numbers: list[Number] = []
        self.quantities: list[Amount] = []
        self.references: list[Ref] = []
        self.uris: list[Uri] = []

    def entries(self) -> Entries:
        """What was found, each entry once."""
        return Entries(
            tuple(dict.fromkeys(self.tokens)),
            tuple(dict.fromkeys(self.strings)),
            tuple(dict.fromkeys(self.dates)),
            tuple(dict.fromkeys(self.numbers)),
            tuple(dict.fromkeys(self.quantities)),
            tuple(dict.fromkeys(self.references)),
            tuple(dict.fromkeys(self.uris)),
        )


# Adds the entries of one value for a parameter; passes over values of a shape that R4 does not allow.
Add: TypeAlias = Callable[[str, Any, Sink], None]


def passed_over(param: str, value: Any, sink: Sink) -> None:
    """Adds nothing: for types that the expressions of a kind can lead to but that the kind has no use for."""
