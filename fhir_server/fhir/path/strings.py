"""Functions of FHIRPath on strings (§5.6)."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path.filtering import number_of
from fhir_server.fhir.path.frame import LONGEST, Collection, Environment
from fhir_server.fhir.path.functions import Function, Functions, boolean, integer, single, string
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.values import STRINGS, atom


def text_of(items: Collection, what: str = "this function") -> str | None:
    """The only item, a String; None of an empty collection; PathError for anything else."""
    item = single(items, what)
    value = None if item is None else atom(item)
    if item is None or (value is None and type(item.value) is not dict):
        return None
    if not isinstance(value, str):
        raise PathError(f"{what} is for strings")
    return value


def _asking(ask: Callable[[str, str], bool]) -> Callable[..., Collection]:
    def asked(environment: Environment, items: Collection, argument: Collection) -> Collection:
        text, part = text_of(items), text_of(argument)
        if text is None or part is None:
            return []
        environment.write(len(text))
        return boolean(ask(text, part))

    return asked


def _finding(find: Callable[[str, str], int]) -> Callable[..., Collection]:
    def found(environment: Environment, items: Collection, argument: Collection) -> Collection:
        text, part = text_of(items), text_of(argument)
        if text is None or part is None:
            return []
        environment.write(len(text))
        return integer(find(text, part))

    return found


def _changing(change: Callable[[str], str]) -> Callable[..., Collection]:
    def changed(environment: Environment, items: Collection) -> Collection:
        text = text_of(items)
        if text is None:
            return []
        environment.write(len(text))
        return string(change(text))

    return changed


def substring(
    environment: Environment, items: Collection, start: Collection, length: Collection | None = None
) -> Collection:
    """The part that begins at the position, of the length; empty where it begins outside."""
    text, first = text_of(items), number_of(start, "the start of substring()")
    if text is None or first is None or not 0 <= first < len(text):
        return []
    environment.write(len(text))
    size = number_of(length, "the length of substring()") if length else None
    return string(text[first:] if size is None else text[first : first + max(size, 0)])


def replace(environment: Environment, items: Collection, pattern: Collection, by: Collection) -> Collection:
    """The text with each occurrence of the pattern replaced."""
    text, old, new = text_of(items), text_of(pattern), text_of(by)
    if text is None or old is None or new is None:
        return []
    occurrences = text.count(old)
    environment.write(len(text) + occurrences * len(new))
    return string(text.replace(old, new))


def matches(environment: Environment, items: Collection, pattern: Collection) -> Collection:
    """Whether some part of the text matches the regular expression."""
    text, regular = text_of(items), text_of(pattern)
    if text is None or regular is None:
        return []
    return boolean(environment.regular(regular).search(text, environment.spend) is not None)


def matches_full(environment: Environment, items: Collection, pattern: Collection) -> Collection:
    """Whether the text as a whole matches the regular expression."""
    text, regular = text_of(items), text_of(pattern)
    if text is None or regular is None:
        return []
    return boolean(environment.regular(f"^(?:{regular})$").search(text, environment.spend) is not None)


def replace_matches(environment: Environment, items: Collection, pattern: Collection, by: Collection) -> Collection:
    """The text with each match of the regular expression replaced; `$1` in what replaces it is a group."""
    text, regular, new = text_of(items), text_of(pattern), text_of(by)
    if text is None or regular is None or new is None:
        return []
    if not regular:
        return string(text)
    changed = environment.regular(regular).replace(text, new, LONGEST, environment.spend)
    environment.write(len(changed))
    return string(changed)


def length(environment: Environment, items: Collection) -> Collection:
    """How many characters the text has."""
    text = text_of(items)
    return [] if text is None else integer(len(text))


def characters(environment: Environment, items: Collection) -> Collection:
    """`toChars()`: each character as a string."""
    text = text_of(items)
    environment.spend(len(text or ""))
    return [Node(character, "System.String") for character in text or ""]


def split(environment: Environment, items: Collection, separator: Collection) -> Collection:
    """The parts between the separators."""
    text, between = text_of(items), text_of(separator)
    if text is None or between is None:
        return []
    parts = text.split(between) if between else list(text)
    environment.spend(len(parts))
    return [Node(part, "System.String") for part in parts]


def join(environment: Environment, items: Collection, separator: Collection | None = None) -> Collection:
    """The strings one after the other, the separator between them."""
    between = (text_of(separator) if separator else None) or ""
    texts = [text for item in items if (text := text_of([item])) is not None]
    environment.write(sum(map(len, texts)) + len(between) * len(texts))
    return string(between.join(texts)) if items else []


def _on_strings(call: Callable[..., Collection], least: int = 0, most: int = 0, gives: str = "String") -> Function:
    return Function(call, least, most or least, gives, STRINGS)


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "indexOf": _on_strings(_finding(str.find), 1, gives="Integer"),
        "lastIndexOf": _on_strings(_finding(str.rfind), 1, gives="Integer"),
        "substring": _on_strings(substring, 1, 2),
        "startsWith": _on_strings(_asking(str.startswith), 1, gives="Boolean"),
        "endsWith": _on_strings(_asking(str.endswith), 1, gives="Boolean"),
        "contains": _on_strings(_asking(str.__contains__), 1, gives="Boolean"),
        "upper": _on_strings(_changing(str.upper)),
        "lower": _on_strings(_changing(str.lower)),
        "trim": _on_strings(_changing(str.strip)),
        "replace": _on_strings(replace, 2),
        "matches": _on_strings(matches, 1, gives="Boolean"),
        "matchesFull": _on_strings(matches_full, 1, gives="Boolean"),
        "replaceMatches": _on_strings(replace_matches, 2),
        "length": _on_strings(length, gives="Integer"),
        "toChars": _on_strings(characters),
        "split": _on_strings(split, 1),
        "join": _on_strings(join, 0, 1),
    }
)
