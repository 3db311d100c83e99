"""What one criterion of a search means: its parameter, its modifier, and the chain that leads to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.search import composite, valuesets
from fhir_server.search.hops import hops
from fhir_server.search.kinds import date
from fhir_server.search.kinds.asked import Asked, malformed, split, unescape
from fhir_server.search.kinds.bounds import GUESSED
from fhir_server.search.limits import Limits, too_costly
from fhir_server.search.parameter import FILTER, FROM_THE_ROW, SPECIAL, Parameter
from fhir_server.search.predicate import (
    TRUE,
    Chained,
    Eq,
    Predicate,
    Present,
    Referred,
    conj,
    disj,
    negate,
    one_of,
)
from fhir_server.search.registry import SearchRegistry

_ID: Final = re.compile(r"[A-Za-z0-9.\-]{1,64}", re.ASCII)
_HAS: Final = "_has"
_LIST: Final = "_list"


# What a test of a `_filter` means for the parameter that its path leads to.
Test: TypeAlias = Callable[[Parameter, Asked, Definitions], Predicate]


class Unknown(Exception):
    """The criterion is not understood; it may be left out of account. The text says what it is."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion as the client wrote it, while its chain is followed.

    `test`: what is asked at the end instead of `value`. `parts`: what the rest of the chain means for a type, by (type,
    rest), None where the type does not know it.
    """

    name: str
    value: str
    test: Test | None = None
    parts: dict[tuple[str, str], Predicate | None] = field(default_factory=dict)

    def malformed(self, text: str) -> Malformed:
        """The error that names it."""
        return malformed(self.name, text)

    def texts(self) -> list[str]:
        """The values between the commas, without empty ones."""
        texts = [text for text in split(self.value, ",") if text.strip()]
        if not texts:
            raise self.malformed("A value is expected.")
        return texts


class Criteria:
    """Reads criteria for resources of given types."""

    def __init__(self, registry: SearchRegistry, base_url: str, limits: Limits) -> None:
        self._registry = registry
        self._base_url = base_url
        self._limits = limits

    def parts(self, types: Sequence[str], name: str, value: str) -> dict[str, Predicate]:
        """type → what the criterion means for it. Raises Unknown unless every type knows it, Malformed for a value that
        cannot be read."""
        return self._parts(types, name, Criterion(name, value), 0)

    def meaning(self, types: Sequence[str], name: str, value: str) -> Predicate:
        """The same in one predicate."""
        return by_type(self.parts(types, name, value))

    def tested(self, types: Sequence[str], path: str, name: str, test: Test) -> Predicate:
        """The test of the parameter that a path leads to; errors are of the parameter `name`."""
        return by_type(self._parts(types, path, Criterion(name, "", test), 0))

    def _parts(self, types: Sequence[str], path: str, of: Criterion, hop: int) -> dict[str, Predicate]:
        if hop > self._limits.hops:
            raise too_costly(f"More than {self._limits.hops} hops.", of.name)
        if path.startswith(_HAS + ":"):
            return dict.fromkeys(types, self._referred(types, path, of, hop))
        head, dot, rest = path.partition(".")
        code, _, modifier = head.partition(":")
        if code == _LIST and not dot and of.test is None:
            return dict.fromkeys(types, self._listed(modifier, of))
        parameters = {type_: self._find(type_, code) for type_ in types}
        if dot:
            return {type_: self._chained(each, modifier, rest, of, hop) for type_, each in parameters.items()}
        return {type_: self._asked(type_, each, modifier, of) for type_, each in parameters.items()}

    def _find(self, type_: str, code: str) -> Parameter:
        parameter = self._registry.find(type_, code)
        if parameter is None:
            raise Unknown("This parameter is not known for this type")
        if not parameter.built:
            raise Unknown("This parameter is not supported by this server")
        return parameter

    # Hops

    def _chained(self, parameter: Parameter, modifier: str, rest: str, of: Criterion, hop: int) -> Predicate:
        """`parameter.rest`, `parameter:Type.rest`: what it leads to satisfies the rest."""
        if parameter.type != "reference":
            raise of.malformed("A chain follows references only.")
        if not parameter.leads:
            raise Unknown("This parameter leads to no resource: the chain is not supported")
        targets = self._targets(parameter, modifier, of)
        known = {type_: asked for type_ in targets if (asked := self._of_target(type_, rest, of, hop)) is not None}
        if not known:
            raise Unknown("This chain is not known for this type")
        if len(known) > GUESSED:
            raise of.malformed("A type is needed in this chain, as in subject:Patient.name.")
        chain = disj(*(Chained(parameter.code, types, asked) for asked, types in _alike(known).items()))
        return self._bounded(chain, of)

    def _targets(self, parameter: Parameter, modifier: str, of: Criterion) -> Iterable[str]:
        possible = parameter.targets or self._registry.resource_types
        if not modifier:
            return sorted(possible)
        if modifier not in possible:
            raise of.malformed("A type that the reference can lead to is expected before the dot.")
        return (modifier,)

    def _of_target(self, type_: str, rest: str, of: Criterion, hop: int) -> Predicate | None:
        """What the rest of a chain means for one type, None if the type does not know it."""
        key = (type_, f"{hop} {rest}")
        if key not in of.parts:
            try:
                of.parts[key] = self._parts((type_,), rest, of, hop + 1)[type_]
            except Unknown:
                of.parts[key] = None
        return of.parts[key]

    def _referred(self, types: Sequence[str], path: str, of: Criterion, hop: int) -> Predicate:
        """`_has:Type:parameter:rest`: a resource of the type that refers here satisfies the rest."""
        parts = path.split(":", 3)
        if len(parts) != 4 or parts[1] not in self._registry.resource_types:
            raise of.malformed("_has:Type:reference:parameter is expected, as in _has:Observation:patient:code.")
        _, type_, code, rest = parts
        parameter = self._find(type_, code)
        if not parameter.leads:
            raise of.malformed("The reference of _has must lead to resources.")
        if parameter.targets and parameter.targets.isdisjoint(types):
            raise of.malformed("The reference of _has does not lead to this type.")
        by = self._parts((type_,), rest, of, hop + 1)[type_]
        return self._bounded(Referred(type_, parameter.code, by), of)

    def _listed(self, modifier: str, of: Criterion) -> Predicate:
        """`_list=id`: in one of those Lists."""
        texts = [text.removeprefix("List/") for text in of.texts()]
        if modifier or not all(map(_ID.fullmatch, texts)):
            raise of.malformed("The id of a List is expected; lists by name are not supported.")
        return Referred("List", "item", disj(*(Eq("id", text) for text in texts)))

    def _bounded(self, chain: Predicate, of: Criterion) -> Predicate:
        if sum(1 for _, _ in zip(hops(chain), range(self._limits.turns + 1), strict=False)) > self._limits.turns:
            raise too_costly("This chain has too many ways to go: name the types that it leads to.", of.name)
        return chain

    # Values

    def _asked(self, type_: str, parameter: Parameter, modifier: str, of: Criterion) -> Predicate:
        if modifier and (parameter.type == "composite" or parameter.code in SPECIAL):
            raise of.malformed("This parameter has no modifiers.")
        if parameter.code == FILTER:
            raise Unknown("A filter within a chain is not supported")
        if of.test:
            if modifier:
                raise of.malformed("There are no modifiers in a filter.")
            return of.test(parameter, self._put(parameter, "", of), self._registry.definitions)
        if modifier == "missing":
            return _missing(parameter, of)
        asked = self._put(parameter, modifier, of)
        if modifier in ("in", "not-in"):
            matching = disj(*(valuesets.where(self._registry.definitions, asked, text) for text in of.texts()))
        else:
            matching = disj(*(where(parameter, asked, text) for text in of.texts()))
        return negate(matching) if modifier in ("not", "not-in") else matching

    def _put(self, parameter: Parameter, modifier: str, of: Criterion) -> Asked:
        typed = parameter.type == "reference" and modifier in (parameter.targets or self._registry.resource_types)
        if modifier and modifier not in parameter.kind.modifiers and not typed:
            hierarchy = modifier in ("above", "below") and parameter.type == "token"
            without = "Hierarchies of codes are not supported: ask for the codes themselves."
            raise of.malformed(without if hierarchy else "This modifier is not supported for this parameter.")
        return Asked(
            of.name,
            parameter.code,
            modifier,
            parameter.types,
            parameter.targets,
            parameter.system,
            self._base_url,
            self._registry.zone,
        )


def by_type(parts: Mapping[str, Predicate]) -> Predicate:
    """What holds for each type, said once where it is the same for all."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    alike = _alike(parts)
    if len(alike) == 1:
        return next(iter(alike))
    return disj(*(conj(one_of("rtype", types), predicate) for predicate, types in alike.items()))


def _alike(parts: Mapping[str, Predicate]) -> dict[Predicate, tuple[str, ...]]:
    """The types that each predicate is meant for."""
    types: dict[Predicate, tuple[str, ...]] = {}
    for type_, predicate in parts.items():
        types[predicate] = (*types.get(predicate, ()), type_)
    return types


def where(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    """What one value asks for; the id and the time of the last change are not in the index."""
    if parameter.code == "_id":
        return Eq("id", unescape(text))
    if parameter.code == "_lastUpdated":
        return date.updated(asked, text)
    if parameter.type == "composite":
        return composite.where(parameter, asked, text)
    return parameter.kind.where(asked, text)


def _missing(parameter: Parameter, of: Criterion) -> Predicate:
    if of.texts() not in (["true"], ["false"]):
        raise of.malformed("true or false is expected.")
    return negate(present(parameter)) if of.texts() == ["true"] else present(parameter)


def present(parameter: Parameter) -> Predicate:
    """There is a value of a parameter, neither composite nor special."""
    if parameter.code in FROM_THE_ROW:
        return TRUE
    return disj(*(Present(parameter.code + part) for part in parameter.kind.parts))
