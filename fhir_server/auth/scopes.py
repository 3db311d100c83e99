"""SMART scopes: `patient/Observation.rs?category=laboratory`, read, printed, and turned into rights (spec access §2).

Grammar: `(patient|user|system)/(Type|*).[c][r][u][d][s][?param=value&…]`. The v1 words (`.read`, `.write`, `.*`) and
the EU spellings (`.search`, `.create` …) are read, and printed as letters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlencode

from fhir_server.auth.actor import Actor
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AnyRef,
    Eq,
    Predicate,
    TokenIs,
    conj,
    disj,
    negate,
    one_of,
)

PARAMETERS: Final = ("category", "type", "code", "_security")
OTHERS: Final = frozenset(
    {"openid", "fhirUser", "profile", "launch", "launch/patient", "offline_access", "online_access"}
)
"""Scopes that are not about resources."""

MOST: Final = 100
"""Scopes of one request or registration: each is a part of the predicate of every later request."""

_SHAPE: Final = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.([a-z]+|\*)(?:\?(.+))?", re.ASCII)
_LETTERS: Final = re.compile(r"c?r?u?d?s?")
_WORDS: Final = {
    "read": "rs",
    "write": "cud",
    "*": "cruds",
    "search": "s",
    "create": "c",
    "update": "u",
    "delete": "d",
}


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """One scope on resources. `type`: a resource type or `*`; `letters`: of c r u d s, in that order; `criteria`:
    search parameters that the rows satisfy, all of them, as (code, value)."""

    level: str
    type: str
    letters: str
    criteria: tuple[tuple[str, str], ...] = ()

    def covers(self, type: str, letter: str) -> bool:
        """Whether it gives that right on that type; a right to write is not given by a scope with criteria."""
        return self.type in ("*", type) and letter in self.letters and (not self.criteria or letter in "rs")


@lru_cache(maxsize=1024)
def parse_scope(text: str) -> ResourceScope:
    """The scope that a text is; raises ValueError for what is not a scope on resources."""
    found = _SHAPE.fullmatch(text)
    if not found:
        raise ValueError("not a scope on resources")
    level, type_, rights, query = found.groups()
    letters = _WORDS.get(rights, rights)
    if not letters or not _LETTERS.fullmatch(letters):
        raise ValueError("the rights of a scope are letters of cruds, in that order")
    criteria = tuple(parse_qsl(query or "", keep_blank_values=True, strict_parsing=bool(query)))
    if any(name not in PARAMETERS or not value or "," in value for name, value in criteria):
        raise ValueError("a scope may be narrowed by category, type, code and _security only")
    return ResourceScope(level, type_, letters, criteria)


def print_scope(scope: ResourceScope) -> str:
    """The scope in its one normal spelling."""
    query = f"?{urlencode(scope.criteria)}" if scope.criteria else ""
    return f"{scope.level}/{scope.type}.{scope.letters}{query}"


def is_scope(text: str) -> bool:
    """Whether this server knows what the text asks for."""
    try:
        return text in OTHERS or bool(parse_scope(text))
    except ValueError:
        return False


def are_scopes(asked: Collection[str]) -> bool:
    """Whether something is asked for, all of it is known here, and it is not too much."""
    return 0 < len(asked) <= MOST and all(map(is_scope, asked))


def granted(asked: Iterable[str], allowed: Iterable[str]) -> tuple[str, ...]:
    """What of the scopes asked for lies within those allowed, in normal spelling: each right that both give.

    Raises ValueError for a scope that is none. Scopes on resources meet within one level; criteria add up.
    """
    allowed = tuple(allowed)
    bounds = resource_scopes(allowed)
    found: dict[str, None] = {}
    for text in asked:
        if text in OTHERS:
            found |= {text: None} if text in allowed else {}
            continue
        met = [meeting for bound in bounds if (meeting := _meet(parse_scope(text), bound))]
        found |= dict.fromkeys(print_scope(each) for each in met if not any(_within(each, o) for o in met if o != each))
    return tuple(found)


def lies_within(asked: Iterable[str], allowed: Iterable[str]) -> bool:
    """Whether the scopes asked for give no right that the allowed ones do not give."""
    allowed = tuple(allowed)
    bounds = resource_scopes(allowed)
    return all(
        text in allowed if text in OTHERS else any(_within(parse_scope(text), bound) for bound in bounds)
        for text in asked
    )


def _meet(one: ResourceScope, other: ResourceScope) -> ResourceScope | None:
    """The rights that both give."""
    if one.level != other.level or ("*" not in (one.type, other.type) and one.type != other.type):
        return None
    letters = "".join(each for each in one.letters if each in other.letters)
    criteria = (*one.criteria, *(each for each in other.criteria if each not in one.criteria))
    type_ = other.type if one.type == "*" else one.type
    return ResourceScope(one.level, type_, letters, criteria) if letters else None


def _within(one: ResourceScope, other: ResourceScope) -> bool:
    """Whether every right of one scope is one of the other."""
    return (
        one.level == other.level
        and other.type in ("*", one.type)
        and set(one.letters) <= set(other.letters)
        and set(other.criteria) <= set(one.criteria)
    )


def resource_scopes(scopes: Iterable[str]) -> tuple[ResourceScope, ...]:
    """Those that are about resources; others (`openid`, `launch/patient` …) give no right to any."""
    found = []
    for text in scopes:
        try:
            found.append(parse_scope(text))
        except ValueError:
            continue
    return tuple(found)


def allows(scopes: tuple[str, ...], actor: Actor, type: str, letter: str) -> bool:
    """Whether the scopes cover a right (c r u d s) on a type, from the token alone.

    No scopes at all: what the role may do (a first-party session). `patient/` without a patient in the token covers
    nothing. `type` "*" asks for every type.
    """
    if not scopes:
        return True
    return any(each.covers(type, letter) and _placed(each, actor) for each in resource_scopes(scopes))


def scope_predicate(actor: Actor, letters: str) -> Predicate:
    """The rows on which the caller's scopes give any of the rights `letters`: the consent decision is and-ed to it."""
    if not actor.scopes:
        return TRUE
    return disj(
        *(
            conj(_typed(each), _criteria(each), _of_level(each, actor))
            for each in resource_scopes(actor.scopes)
            if not set(each.letters).isdisjoint(letters) and _placed(each, actor)
        )
    )


def _placed(scope: ResourceScope, actor: Actor) -> bool:
    return scope.level != "patient" or bool(actor.patients)


def _typed(scope: ResourceScope) -> Predicate:
    return TRUE if scope.type == "*" else Eq("rtype", scope.type)


def _criteria(scope: ResourceScope) -> Predicate:
    """All criteria; a value is `code`, `system|code`, `|code` or `system|`, as in a search."""
    return conj(*(_token(name, value) for name, value in scope.criteria))


def _token(name: str, value: str) -> Predicate:
    system, bar, code = value.rpartition("|")
    if not code and not system:
        return FALSE
    return TokenIs(name, system if bar else None, code or None)


def _of_level(scope: ResourceScope, actor: Actor) -> Predicate:
    """`patient/`: the record of the token's patient, the content of its documents, and what is nobody's."""
    if scope.level != "patient":
        return TRUE
    record = one_of("patient", actor.patients)
    content = conj(Eq("rtype", "Binary"), disj(AnyRef(record), negate(AnyRef(TRUE))))
    return disj(Eq("kind", "public"), record, content)
