"""Index entries: what a search can find a resource by, extracted from it when it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Token(NamedTuple):
    """`system` None when the source had none. Logical references are tokens of the parameter `<code>:identifier`."""

    param: str
    system: str | None
    code: str


class Text(NamedTuple):
    """`normal` is the text without accents, lower-cased, blanks folded; `exact` as sent."""

    param: str
    normal: str
    exact: str


class Span(NamedTuple):
    """A date as a half-open range of microseconds since 1970 UTC; an open end is -2**62 or 2**62."""

    param: str
    low: int
    high: int


class Number(NamedTuple):
    """A number as the closed range it stands for; equal ends for an exact one."""

    param: str
    low: float
    high: float


class Amount(NamedTuple):
    """A quantity with its unit's system and code ("" where absent)."""

    param: str
    system: str
    code: str
    low: float
    high: float


class Ref(NamedTuple):
    """`target` is "Type/id" for a resource of this server, else the absolute url or canonical as sent."""

    param: str
    target: str


class Uri(NamedTuple):
    """A uri as sent."""

    param: str
    value: str


class Prose(NamedTuple):
    """Words, normal forms, each once, joined by single blanks: `param` "_text" those of the narrative, "_content" those
    that are only elsewhere. What asks for `_content` asks for both."""

    param: str
    words: str


class Combination(NamedTuple):
    """One combination of values of a composite parameter: the entries of its components, whose own `param` is the
    place of the component as text, "0", "1" …; their `combinations` and `prose` are empty."""

    param: str
    entries: Entries


@dataclass(frozen=True, slots=True)
class Entries:
    """All index entries of one resource version, without duplicates, in extraction order."""

    tokens: tuple[Token, ...] = ()
    strings: tuple[Text, ...] = ()
    dates: tuple[Span, ...] = ()
    numbers: tuple[Number, ...] = ()
    quantities: tuple[Amount, ...] = ()
    references: tuple[Ref, ...] = ()
    uris: tuple[Uri, ...] = ()
    combinations: tuple[Combination, ...] = ()
    prose: tuple[Prose, ...] = ()
