"""`_filter` (https://hl7.org/fhir/R4/search_filter.html): a language of its own for what the other parameters ask.

    given eq "peter" and birthdate ge 2014-10-10
    not(status eq final) or subject.name co pet

`and` and `or` are read from the left, neither binding tighter, as R4 has it. What a test means: `filter_meaning.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import orjson

from fhir_server.errors import Malformed
from fhir_server.search.criteria import Criteria
from fhir_server.search.filter_meaning import OPERATORS, meaning_of
from fhir_server.search.kinds.asked import malformed
from fhir_server.search.limits import Limits, too_costly
from fhir_server.search.predicate import Predicate, conj, disj, negate

NAME: Final = "_filter"

_DEPTH: Final = 10
_BLANK: Final = re.compile(r"\s*")
_LOGICAL: Final = re.compile(r"\s+(and|or)(?=[\s(])|(?<=\))\s*(and|or)(?=[\s(])")
_NOT: Final = re.compile(r"not\s*(?=\()")
_PATH: Final = re.compile(r"[A-Za-z_][\w\-.:]*", re.ASCII)
_OPERATOR: Final = re.compile(r"\s+([a-z]{2})\s+")
_VALUE: Final = re.compile(r'("(?:[^"\\]|\\.)*")|[^\s")\]][^\s)\]]*', re.DOTALL)


def filtered(criteria: Criteria, types: Sequence[str], text: str, limits: Limits) -> Predicate:
    """What the filter means for resources of all of `types`.

    Raises Malformed for what is no filter or cannot be answered, criteria.Unknown for a parameter that is not known.
    """
    return _Parser(criteria, types, text, limits).whole()


class _Parser:
    def __init__(self, criteria: Criteria, types: Sequence[str], text: str, limits: Limits) -> None:
        self._criteria = criteria
        self._types = types
        self._text = text
        self._limits = limits
        self._at = 0
        self._tests = 0

    def whole(self) -> Predicate:
        asked = self._filter(0)
        self._taken(_BLANK)
        if self._at < len(self._text):
            raise self._malformed()
        return asked

    def _malformed(self, text: str = "") -> Malformed:
        return malformed(NAME, text or 'A filter is expected, such as: given eq "peter" and birthdate ge 2014-10-10.')

    def _taken(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _filter(self, depth: int) -> Predicate:
        if depth > _DEPTH:
            raise too_costly(f"More than {_DEPTH} brackets within each other.", NAME)
        asked = self._one(depth)
        while found := self._taken(_LOGICAL):
            join = conj if "and" in found.groups() else disj
            asked = join(asked, self._one(depth))
        return asked

    def _one(self, depth: int) -> Predicate:
        self._taken(_BLANK)
        if self._taken(_NOT):
            return negate(self._bracketed(depth))
        if self._text.startswith("(", self._at):
            return self._bracketed(depth)
        return self._test()

    def _bracketed(self, depth: int) -> Predicate:
        self._at += 1
        asked = self._filter(depth + 1)
        self._taken(_BLANK)
        if not self._text.startswith(")", self._at):
            raise self._malformed()
        self._at += 1
        return asked

    def _test(self) -> Predicate:
        self._tests += 1
        if self._tests > self._limits.values:
            raise too_costly(f"More than {self._limits.values} tests.", NAME)
        path = self._taken(_PATH)
        if path and self._text.startswith("[", self._at):
            raise self._malformed("Filters within a path are not supported.")
        operator = self._taken(_OPERATOR) if path else None
        value = self._taken(_VALUE) if operator else None
        if not (path and operator and value):
            raise self._malformed()
        if operator[1] not in OPERATORS:
            raise self._malformed(f"The operators are {' '.join(OPERATORS)}.")
        test = meaning_of(operator[1], self._string(value[1]) if value[1] else value[0])
        return self._criteria.tested(self._types, path[0], NAME, test)

    def _string(self, text: str) -> str:
        """A JSON string."""
        try:
            found: str = orjson.loads(text)
        except ValueError:
            raise self._malformed() from None
        return found
