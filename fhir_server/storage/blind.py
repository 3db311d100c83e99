"""A blind index for national health identities: they are searched by, and their numbers stand nowhere (spec access §9).

In place of the value of an identifier stands its HMAC, in what is kept and in what is asked alike, so that two readers
of one question agree, `:not` and `:missing` included; order says nothing. It is done to tokens of an INS system, to all
of `:of-type`, whose system is that of the type, and to whatever has the form and the key of an INS, whatever it says of
its system; and to words of that form in texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from fhir_server.fhir.identity import INS_SYSTEMS, ins_faults, normal_ins
from fhir_server.search.entries import Entries, Prose, Token
from fhir_server.search.kinds.token import OF_TYPE
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import (
    AllRefs,
    And,
    AnyRef,
    Chained,
    Not,
    Or,
    Predicate,
    Referred,
    Together,
    TokenIs,
    Words,
    disj,
)

Blind: TypeAlias = Callable[[str], str]

_LENGTH: Final = 15
_BARE: Final = frozenset(system.removeprefix("urn:oid:") for system in INS_SYSTEMS)
_SYSTEMS: Final = INS_SYSTEMS | _BARE


def blinded(entries: Entries, blind: Blind) -> Entries:
    """The entries as they are kept; themselves when there is nothing to hide."""
    changes: dict[str, Any] = {}
    if any(_hides(token.param, token.system, token.code) for token in entries.tokens):
        changes["tokens"] = tuple(_token(token, blind) for token in entries.tokens)
    prose = tuple(Prose(each.param, _text(each.words, blind)) for each in entries.prose)
    if prose != entries.prose:
        changes["prose"] = prose
    combined = tuple(each._replace(entries=blinded(each.entries, blind)) for each in entries.combinations)
    if combined != entries.combinations:
        changes["combinations"] = combined
    return replace(entries, **changes) if changes else entries


def asked(predicate: Predicate, blind: Blind) -> Predicate:
    """The question that finds in entries that are `blinded` what `predicate` finds in those that are not; itself when
    it is the same."""
    change = _CHANGES.get(type(predicate))
    return predicate if change is None else change(predicate, blind)


def asked_plan(plan: Plan, blind: Blind) -> Plan:
    """The plan of that question."""
    where = asked(plan.where, blind)
    return plan if where is plan.where else replace(plan, where=where)


def _hides(param: str, system: str | None, code: str) -> bool:
    return system in _SYSTEMS or param.endswith(OF_TYPE) or _is_ins(code)


def _is_ins(text: str) -> bool:
    """Whether it can be the number of somebody, blanks set aside."""
    return len(text) >= _LENGTH and text.lstrip()[:1].isdigit() and not ins_faults(normal_ins(text))


def _token(token: Token, blind: Blind) -> Token:
    return token._replace(code=blind(token.code)) if _hides(*token) else token


def _text(words: str, blind: Blind) -> str:
    if len(words) < _LENGTH:
        return words
    return " ".join([blind(word) if len(word) == _LENGTH and _is_ins(word) else word for word in words.split(" ")])


def _asked_token(p: TokenIs, blind: Blind) -> Predicate:
    if p.code is None:
        return p
    hidden = TokenIs(p.param, p.system, blind(p.code))
    if _hides(p.param, p.system, p.code):
        return hidden
    # Under no named system it may also be a number that an INS system holds though it is none.
    return disj(p, hidden) if p.system is None else p


def _asked_words(p: Words, blind: Blind) -> Predicate:
    words = tuple(sorted(_text(word, blind) for word in p.words))
    return p if words == p.words else Words(p.param, words)


def _asked_together(p: Together, blind: Blind) -> Predicate:
    of: Any = tuple(asked(leaf, blind) for leaf in p.of)
    return p if _same(of, p.of) else Together(p.param, of)


def _asked_many(p: And | Or, blind: Blind) -> Predicate:
    of = tuple(asked(part, blind) for part in p.of)
    return p if _same(of, p.of) else type(p)(of)


def _asked_not(p: Not, blind: Blind) -> Predicate:
    of = asked(p.of, blind)
    return p if of is p.of else Not(of)


def _asked_all(p: AllRefs, blind: Blind) -> Predicate:
    each = asked(p.each, blind)
    return p if each is p.each else AllRefs(each)


def _asked_any(p: AnyRef, blind: Blind) -> Predicate:
    some = asked(p.some, blind)
    return p if some is p.some else AnyRef(some)


def _asked_chain(p: Chained, blind: Blind) -> Predicate:
    to, visible = asked(p.to, blind), p.visible and asked(p.visible, blind)
    return p if to is p.to and visible is p.visible else Chained(p.param, p.types, to, visible)


def _asked_referred(p: Referred, blind: Blind) -> Predicate:
    by, visible = asked(p.by, blind), p.visible and asked(p.visible, blind)
    return p if by is p.by and visible is p.visible else Referred(p.type, p.param, by, visible)


def _same(of: tuple[Predicate, ...], before: tuple[Predicate, ...]) -> bool:
    return all(one is other for one, other in zip(of, before, strict=True))


_CHANGES: Final[Mapping[type, Callable[[Any, Blind], Predicate]]] = {
    TokenIs: _asked_token,
    Words: _asked_words,
    Together: _asked_together,
    And: _asked_many,
    Or: _asked_many,
    Not: _asked_not,
    AllRefs: _asked_all,
    AnyRef: _asked_any,
    Chained: _asked_chain,
    Referred: _asked_referred,
}
