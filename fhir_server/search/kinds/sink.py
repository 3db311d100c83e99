"""Where the index entries of one resource are collected while it is looked through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from itertools import chain
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from fhir_server.search.entries import Amount, Entries, Number, Ref, Span, Text, Token, Uri
from fhir_server.search.kinds.bounds import MOST


class _Entry(Protocol):
    @property
    def param(self) -> str: ...


E = TypeVar("E", bound=_Entry)


class Found(Generic[E]):
    """The entries of one kind, each once, in the order found; of one parameter the first 1,000."""

    __slots__ = ("_params",)

    def __init__(self) -> None:
        self._params: dict[str, dict[E, None]] = {}

    def append(self, entry: E) -> None:
        """Adds the entry, unless it is there already or its parameter has no room."""
        entries = self._params.setdefault(entry.param, {})
        if len(entries) < MOST:
            entries[entry] = None

    def entries(self) -> tuple[E, ...]:
        """What was found, parameter by parameter."""
        return tuple(chain.from_iterable(self._params.values()))


class Sink:
    """The entries found so far. `base_url`: this server's FHIR base; `zone`: where dates without an offset are read."""

    __slots__ = ("base_url", "dates", "numbers", "quantities", "references", "strings", "tokens", "uris", "zone")

    def __init__(self, base_url: str, zone: tzinfo) -> None:
        self.base_url = base_url
        self.zone = zone
        self.tokens: Found[Token] = Found()
        self.strings: Found[Text] = Found()
        self.dates: Found[Span] = Found()
        self.numbers: Found[Number] = Found()
        self.quantities: Found[Amount] = Found()
        self.references: Found[Ref] = Found()
        self.uris: Found[Uri] = Found()

    def entries(self) -> Entries:
        """All that was found."""
        return Entries(
            self.tokens.entries(),
            self.strings.entries(),
            self.dates.entries(),
            self.numbers.entries(),
            self.quantities.entries(),
            self.references.entries(),
            self.uris.entries(),
        )


# Adds the entries of one value for a parameter; passes over values of a shape that R4 does not allow.
Add: TypeAlias = Callable[[str, Any, Sink], None]


def passed_over(param: str, value: Any, sink: Sink) -> None:
    """Adds nothing: for types that the expressions of a kind can lead to but that the kind has no use for."""
