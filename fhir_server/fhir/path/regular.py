"""Regular expressions in a time that grows with text times pattern, and never faster, whoever wrote them.

Python's own `re` can take longer than the age of the universe on thirty characters. This one is a backtracking matcher
that never tries a place of the pattern at a place of the text twice: what failed once fails again. So there are no
look-arounds and no back-references, which would make that untrue.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from fhir_server.fhir.path.pattern import BEGIN, BOUNDARY, CHARACTER, END, JUMP, MATCH, SAVE, SPLIT, compile_pattern
from fhir_server.fhir.path.tokens import PathError

MAX_PATTERN: Final = 1_000
"""How many characters a regular expression may have."""

Spend = Callable[[int], None]
Groups = list[int]
"""Start and end of the match, then of each group; -1 where a group took no part."""

_reference = re.compile(r"\\(.)|\$(\d)", re.DOTALL)


class Regular:
    """A regular expression of FHIRPath: case-sensitive, `.` matches a line end too, `^` and `$` are those of the text.

    PathError for one that is none, is too long, or needs what there is not (see the module).
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN:
            raise PathError(f"a regular expression has at most {MAX_PATTERN} characters")
        self._program, self._groups = compile_pattern(pattern)
        self.size = len(self._program)

    def search(self, text: str, spend: Spend, start: int = 0) -> Groups | None:
        """The first match at or after `start`; None without one. `spend` is told the steps taken, and may raise."""
        visited: set[int] = set()
        for at in range(start, len(text) + 1):
            found = self._match(text, at, visited, spend)
            if found is not None:
                return found
        return None

    def replace(self, text: str, by: str, longest: int, spend: Spend) -> str:
        """The text with all matches replaced; PathError where it gets longer than `longest`."""
        parts: list[str] = []
        at, size = 0, 0
        while at <= len(text) and (found := self.search(text, spend, at)) is not None:
            parts += [text[at : found[0]], _filled(by, text, found)]
            if found[1] == found[0]:
                parts.append(text[found[0] : found[0] + 1])
            at = found[1] + (found[1] == found[0])
            size += sum(map(len, parts[-3:]))
            if size > longest:
                raise PathError(f"a string has at most {longest} characters")
        return "".join(parts) + text[at:]

    def _match(self, text: str, start: int, visited: set[int], spend: Spend) -> Groups | None:
        """The match that begins exactly there, the one a backtracking matcher finds first."""
        program, width = self._program, len(text) + 1
        known = len(visited)
        saved = [-1] * (2 * self._groups + 2)
        waiting: list[tuple[int, int, int]] = [(0, start, -1)]  # instruction, position; or slot to put back, its value
        while waiting:
            at, position, undo = waiting.pop()
            if undo >= 0:
                saved[undo] = position
                continue
            while True:
                place = at * width + position
                if place in visited:
                    break
                visited.add(place)
                code, first, second = program[at]
                if code == CHARACTER:
                    if position >= len(text) or not first(text[position]):
                        break
                    at, position = at + 1, position + 1
                elif code == SPLIT:
                    waiting.append((second, position, -1))
                    at = first
                elif code == JUMP:
                    at = first
                elif code == SAVE:
                    waiting.append((0, saved[first], first))
                    saved[first] = position
                    at += 1
                elif code == MATCH:
                    spend(len(visited) - known)
                    return saved
                elif _stands(code, first, text, position):
                    at += 1
                else:
                    break
            if len(visited) - known > 1_000:
                spend(len(visited) - known)
                known = len(visited)
        spend(len(visited) - known + 1)
        return None


def _stands(code: int, expected: bool, text: str, position: int) -> bool:
    """Whether an assertion holds there."""
    if code == BEGIN:
        return position == 0
    if code == END:
        return position == len(text)
    assert code == BOUNDARY
    before = position > 0 and _is_word(text[position - 1])
    after = position < len(text) and _is_word(text[position])
    return (before != after) == expected


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _filled(by: str, text: str, found: Groups) -> str:
    """What replaces a match: `$1` is a group, `\\$` a dollar."""

    def one(reference: re.Match[str]) -> str:
        if reference[1]:
            return reference[1]
        slot = 2 * int(reference[2])
        if slot >= len(found):
            raise PathError(f"the regular expression has no group {reference[2]}")
        return text[found[slot] : found[slot + 1]] if found[slot] >= 0 else ""

    return _reference.sub(one, by)
