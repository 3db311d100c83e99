"""From the text of a regular expression to a program of seven instructions."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, Final

from fhir_server.fhir.path.tokens import PathError

CHARACTER, SPLIT, JUMP, SAVE, MATCH, BEGIN, END, BOUNDARY = range(8)

Instruction = tuple[int, Any, int]
"""CHARACTER (test); SPLIT (first choice, second); JUMP (where); SAVE (slot); BOUNDARY (whether there is one); …"""

Test = Callable[[str], bool]

MAX_PROGRAM: Final = 2_000
MAX_REPEAT: Final = 1_000
_DEPTH: Final = 50

_PLAIN: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_CLASSES: Final[dict[str, Test]] = {
    "d": lambda character: "0" <= character <= "9",
    "w": lambda character: character.isalnum() or character == "_",
    "s": str.isspace,
}


def compile_pattern(text: str) -> tuple[list[Instruction], int]:
    """The program and how many groups it has; PathError for what is no regular expression, or none of these."""
    parser = _Pattern(text)
    body = parser.alternatives(0)
    if parser.at < len(text):
        raise PathError("the regular expression has a ) too many")
    program: list[Instruction] = [(SAVE, 0, 0), *_moved(body, 1)]
    return [*program, (SAVE, 1, 0), (MATCH, None, 0)], parser.groups


def _moved(program: list[Instruction], by: int) -> list[Instruction]:
    """The same instructions at another place; the targets of SPLIT and JUMP are absolute."""
    return [
        (code, first + by, second + by) if code == SPLIT else (code, first + by if code == JUMP else first, 0)
        for code, first, second in program
    ]


class _Pattern:
    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self.groups = 0

    def alternatives(self, depth: int) -> list[Instruction]:
        """`a|b|c`."""
        if depth > _DEPTH:
            raise PathError("the regular expression is nested too deeply")
        program = self._sequence(depth)
        while self._taken("|"):
            other = self._sequence(depth)
            split: Instruction = (SPLIT, 1, len(program) + 2)
            jump: Instruction = (JUMP, len(program) + len(other) + 2, 0)
            program = [split, *_moved(program, 1), jump, *_moved(other, len(program) + 2)]
        return program

    def _sequence(self, depth: int) -> list[Instruction]:
        program: list[Instruction] = []
        while self.at < len(self._text) and self._text[self.at] not in "|)":
            program += _moved(self._repeated(depth), len(program))
            if len(program) > MAX_PROGRAM:
                raise PathError("the regular expression is too large")
        return program

    def _repeated(self, depth: int) -> list[Instruction]:
        one = self._atom(depth)
        while (bounds := self._quantifier()) is not None:
            one = _repeat(one, *bounds, lazy=self._taken("?"))
        return one

    def _quantifier(self) -> tuple[int, int | None] | None:
        """How often at least and at most (None: without end) what stands before is repeated."""
        for symbol, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._taken(symbol):
                return bounds
        if not self._taken("{"):
            return None
        inside, closed, _ = self._text[self.at :].partition("}")
        low, comma, high = inside.partition(",")
        if not closed or not _is_count(low) or (high and not _is_count(high)):
            raise PathError("the regular expression has a repetition that is none")
        self.at += len(inside) + 1
        return int(low), int(high) if high else None if comma else int(low)

    def _atom(self, depth: int) -> list[Instruction]:
        character = self._take()
        match character:
            case "(":
                return self._group(depth)
            case "[":
                return [(CHARACTER, self._set(), 0)]
            case ".":
                return [(CHARACTER, lambda character: True, 0)]
            case "^":
                return [(BEGIN, None, 0)]
            case "$":
                return [(END, None, 0)]
            case "\\" if self._text[self.at : self.at + 1] in ("b", "B"):
                return [(BOUNDARY, self._take() == "b", 0)]
            case "\\":
                return [(CHARACTER, self._escape(), 0)]
            case "*" | "+" | "?":
                raise PathError("the regular expression repeats nothing")
        return [(CHARACTER, character.__eq__, 0)]

    def _group(self, depth: int) -> list[Instruction]:
        slot = 0
        if self._taken("?"):
            if not self._taken(":"):
                raise PathError("the regular expression looks around or back, which is not offered")
        else:
            self.groups += 1
            slot = 2 * self.groups
        inside = self.alternatives(depth + 1)
        if not self._taken(")"):
            raise PathError("the regular expression has a ( that is not closed")
        return [(SAVE, slot, 0), *_moved(inside, 1), (SAVE, slot + 1, 0)] if slot else inside

    def _set(self) -> Test:
        """`[a-z\\d]`, `[^…]`."""
        negated = self._taken("^")
        tests: list[Test] = []
        first = True
        while first or self._text[self.at : self.at + 1] != "]":
            first = False
            tests.append(self._range())
        self.at += 1
        return lambda character: any(test(character) for test in tests) is not negated

    def _range(self) -> Test:
        low = self._take()
        if low == "\\":
            test = self._escape()
            low = getattr(test, "__self__", "")  # the character itself, if the escape is one character
            if not isinstance(low, str) or len(low) != 1:
                return test
        ahead = self._text[self.at : self.at + 2]
        if not ahead.startswith("-") or ahead == "-]":
            return low.__eq__
        self.at += 1
        high = self._take()
        if high == "\\":
            high = getattr(self._escape(), "__self__", "")
        if not isinstance(high, str) or len(high) != 1 or high < low:
            raise PathError("the regular expression has a range that is none")
        return lambda character: low <= character <= high

    def _escape(self) -> Test:
        """What follows a backslash: a class, or the `__eq__` of one character."""
        letter = self._take()
        if letter.lower() in _CLASSES:
            test = _CLASSES[letter.lower()]
            return (lambda character: not test(character)) if letter.isupper() else test
        if letter in _PLAIN:
            return _PLAIN[letter].__eq__
        if letter in ("u", "x"):
            return self._hexadecimal(4 if letter == "u" else 2).__eq__
        if letter in ("p", "P"):
            return self._category(letter == "p")
        if letter.isalnum():
            raise PathError("the regular expression has an escape that is not offered")
        return letter.__eq__

    def _hexadecimal(self, digits: int) -> str:
        text = self._text[self.at : self.at + digits]
        self.at += digits
        if len(text) < digits or not all(character in "0123456789abcdefABCDEF" for character in text):
            raise PathError("the regular expression has an escape that is none")
        return chr(int(text, 16))

    def _category(self, expected: bool) -> Test:
        """`\\p{Lu}`: a category of Unicode, or the first letter of some."""
        inside, closed, _ = self._text[self.at :].partition("}")
        if not inside.startswith("{") or not closed:
            raise PathError("the regular expression has an escape that is none")
        self.at += len(inside) + 1
        name = inside[1:]
        return lambda character: unicodedata.category(character).startswith(name) is expected

    def _take(self) -> str:
        if self.at >= len(self._text):
            raise PathError("the regular expression ends too early")
        self.at += 1
        return self._text[self.at - 1]

    def _taken(self, symbol: str) -> bool:
        if self._text.startswith(symbol, self.at):
            self.at += len(symbol)
            return True
        return False


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= MAX_REPEAT


def _repeat(one: list[Instruction], low: int, high: int | None, *, lazy: bool) -> list[Instruction]:
    if high is not None and high < low:
        raise PathError("the regular expression has a repetition that is none")
    copies = high if high is not None else low + 1
    if len(one) * copies > MAX_PROGRAM:
        raise PathError("the regular expression is too large")
    program: list[Instruction] = []
    for _ in range(low):
        program += _moved(one, len(program))
    if high is None:
        return [*program, *_moved(_loop(one, lazy=lazy), len(program))]
    # Who takes no more copies leaves them all: the splits lead to the very end.
    rest = (high - low) * (len(one) + 1)
    for taken in range(high - low):
        end = rest - taken * (len(one) + 1)
        program += _moved([(SPLIT, end, 1) if lazy else (SPLIT, 1, end), *_moved(one, 1)], len(program))
    return program


def _loop(one: list[Instruction], *, lazy: bool) -> list[Instruction]:
    end = len(one) + 2
    return [(SPLIT, end, 1) if lazy else (SPLIT, 1, end), *_moved(one, 1), (JUMP, 0, 0)]
