"""From the parameters of a search request to a Query (https://hl7.org/fhir/R4/search.html).

What is not understood is never silently dropped: an unknown parameter, or one that is not built, is an error under
`Prefer: handling=strict` and otherwise left out with a warning, absent from the self link, as R4 allows. An answer can
thereby be wider than what was asked for, never wider than what the caller may see; interactions in which that would do
harm (conditional create, update, delete) parse strictly. A known parameter with an unreadable value, and a modifier
that its parameter does not have, are errors always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from fhir_server.errors import Issue, Malformed
from fhir_server.search.kinds import date
from fhir_server.search.kinds.asked import Asked, malformed, split, unescape
from fhir_server.search.kinds.bounds import LONGEST
from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    Eq,
    Or,
    Predicate,
    Present,
    RefersTo,
    conj,
    disj,
    negate,
    one_of,
)
from fhir_server.search.query import Query
from fhir_server.search.registry import FROM_THE_ROW, Parameter, SearchRegistry

# Negotiation reads these (https://hl7.org/fhir/R4/http.html#parameters).
_PASSED_OVER: Final = frozenset({"_format", "_pretty"})
# What R4 has besides, and this server not yet; `_has:…` and chains are told by their form.
_NOT_BUILT: Final = frozenset({"_include", "_revinclude", "_elements", "_contained", "_containedType", "_list", "_has"})
_RESULT: Final = ("_type", "_sort", "_count", "_total", "_summary")
_SORTS: Final = {
    "_lastUpdated": Sort("_lastUpdated"),
    "-_lastUpdated": Sort("_lastUpdated", descending=True),
    "_id": Sort("_id"),
    "-_id": Sort("_id", descending=True),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one search may hold: parameters, values joined by commas in all of them together, characters of a value.

    No value can be longer than what the index has.
    """

    parameters: int = 50
    values: int = 200
    length: int = LONGEST


def parse(
    registry: SearchRegistry,
    types: Sequence[str],
    pairs: Iterable[tuple[str, str]],
    *,
    strict: bool,
    base_url: str,
    default_count: int = 20,
    max_count: int = 500,
    limits: Limits = Limits(),
    compartment: tuple[str, str] | None = None,
) -> Query:
    """The search of resources of `types` that the decoded `pairs` ask for.

    `base_url`: this server's FHIR base without a trailing slash. `compartment`: ("Patient", id) of a compartment
    search. Raises Malformed with every error found, each naming its parameter and none repeating a value.
    """
    given = list(islice(pairs, limits.parameters + 1))
    _check(given, limits)
    parser = _Parser(registry, tuple(types), strict, base_url, default_count, max_count)
    if compartment:
        parser.confine(*compartment)
    for name, value in sorted(given, key=_order):
        parser.read(name, value)
    return parser.query()


def _check(pairs: list[tuple[str, str]], limits: Limits) -> None:
    if len(pairs) > limits.parameters:
        raise Malformed(issues=[Issue("too-costly", f"More than {limits.parameters} parameters.")])
    # What can be counted is counted first: to take millions of values apart costs a hundred times their length.
    _check_count(sum(1 + value.count(",") - value.count("\\,") for _, value in pairs), limits)
    for name, value in pairs:
        _check_length(name, value, limits.values * (limits.length + 1))
    values = [(name, text) for name, value in pairs for text in split(value, ",")]
    _check_count(len(values), limits)
    for name, text in values:
        _check_length(name, text, limits.length)


def _check_count(values: int, limits: Limits) -> None:
    if values > limits.values:
        raise Malformed(issues=[Issue("too-costly", f"More than {limits.values} values.")])


def _check_length(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise Malformed(issues=[Issue("too-long", f"More than {most} characters.", name[:100])])


def _order(pair: tuple[str, str]) -> tuple[int, str, str]:
    """`_type`, which says what is known; the criteria by name and value; what shapes the result."""
    name, value = pair
    if name == "_type":
        return -1, name, value
    return (_RESULT.index(name) if name in _RESULT else 0), name, value


class _Parser:
    """The state of one parse; `read` takes the parameters in the order of the self link."""

    def __init__(
        self, registry: SearchRegistry, types: tuple[str, ...], strict: bool, base_url: str, count: int, most: int
    ) -> None:
        self._registry = registry
        self._types = types
        self._strict = strict
        self._base_url = base_url
        self._limit = count
        self._most = most
        self._where: list[Predicate] = []
        self._patients: tuple[str, ...] | None = None
        self._ids: tuple[str, ...] = ()
        self._sort = Sort()
        self._total = "none"
        self._used: list[tuple[str, str]] = []
        self._warnings: list[Issue] = []
        self._errors: list[Issue] = []

    def query(self) -> Query:
        if self._errors:
            raise Malformed(issues=self._errors)
        plan = Plan(self._types, conj(*self._where), self._patients, self._sort, limit=self._limit)
        return Query(plan, tuple(self._used), tuple(self._warnings), self._total, self._ids)

    def confine(self, name: str, id: str) -> None:
        """Only what is in the compartment of one resource. A Patient compartment is also the record it is in."""
        member = {type_: self._member(name, id, type_) for type_ in self._types}
        self._where.append(_by_type(member))
        if name == "Patient":
            self._where.append(Eq("patient", id))
            self._patients = (id,)

    def _member(self, name: str, id: str, type_: str) -> Predicate:
        codes = self._registry.compartment(name, type_)
        itself = Eq("id", id) if type_ == name else FALSE
        return disj(itself, *(RefersTo(code, f"{name}/{id}") for code in codes if code != "{def}"))

    def read(self, name: str, value: str) -> None:
        if name in _PASSED_OVER:
            return
        try:
            if not value.strip():
                self._warn(name, "This parameter has no value and was left out of account.")
            elif name in _RESULT:
                self._shape(name, value)
            else:
                self._criterion(name, value)
        except Malformed as error:
            self._errors += error.issues

    def _warn(self, name: str, text: str) -> None:
        self._warnings.append(Issue("not-supported", text, name[:100], severity="warning"))

    def _leave_out(self, name: str, what: str) -> None:
        """An error for the strict, a warning for the others."""
        if self._strict:
            raise Malformed(issues=[Issue("not-supported", f"{what}.", name[:100])])
        self._warn(name, f"{what} and was left out of account.")

    # What shapes the result

    def _shape(self, name: str, value: str) -> None:
        if any(name == used for used, _ in self._used):
            raise malformed(name, "This parameter was given more than once.")
        read: dict[str, Callable[[str], str | None]] = {
            "_type": self._read_type,
            "_sort": self._read_sort,
            "_count": self._read_count,
            "_total": self._read_total,
            "_summary": self._read_summary,
        }
        used = read[name](value)
        if used is not None:
            self._used.append((name, used))

    def _read_type(self, value: str) -> str | None:
        if len(self._types) == 1:
            self._leave_out("_type", "This search is of one type: the parameter is not supported")
            return None
        wanted = value.split(",")
        if not self._registry.resource_types.issuperset(wanted):
            raise malformed("_type", "Names of resource types are expected.")
        self._types = tuple(type_ for type_ in self._types if type_ in wanted)
        return value

    def _read_sort(self, value: str) -> str | None:
        if value not in _SORTS:
            self._leave_out("_sort", "Sorting is supported by _lastUpdated or _id alone")
            return None
        self._sort = _SORTS[value]
        return value

    def _read_count(self, value: str) -> str:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise malformed("_count", "A whole number is expected.")
        self._limit = min(int(value), self._most)
        return str(self._limit)

    def _read_total(self, value: str) -> str:
        if value not in ("none", "estimate", "accurate"):
            raise malformed("_total", "none, estimate or accurate is expected.")
        self._total = value
        return value

    def _read_summary(self, value: str) -> str | None:
        if value == "count":
            self._limit = 0
        elif value not in ("false", "true", "text", "data"):
            raise malformed("_summary", "count or false is expected.")
        elif value != "false":
            self._leave_out("_summary", "No summary other than count is supported")
            return None
        return value

    # Criteria

    def _criterion(self, name: str, value: str) -> None:
        code, _, modifier = name.partition(":")
        found = {type_: self._registry.find(type_, code.partition(".")[0]) for type_ in self._types}
        known = {type_: parameter for type_, parameter in found.items() if parameter is not None}
        if code in _NOT_BUILT or (known and "." in name) or any(not each.built for each in known.values()):
            self._leave_out(name, "This parameter is not supported by this server")
        elif len(known) < len(self._types) or not known:
            self._leave_out(name, "This parameter is not known for this type")
        else:
            texts = self._texts(name, value)
            parts = {type_: self._asked(name, modifier, parameter, texts) for type_, parameter in known.items()}
            self._where.append(_by_type(parts))
            self._used.append((name, value))
            self._note(code, modifier, texts, parts)

    def _texts(self, name: str, value: str) -> list[str]:
        texts = [text for text in split(value, ",") if text.strip()]
        if not texts:
            raise malformed(name, "A value is expected.")
        return texts

    def _asked(self, name: str, modifier: str, parameter: Parameter, texts: list[str]) -> Predicate:
        if modifier == "missing":
            return _missing(name, parameter, texts)
        typed = parameter.type == "reference" and modifier in parameter.targets
        if modifier not in parameter.kind.modifiers and not typed:
            raise malformed(name, "This modifier is not supported for this parameter.")
        asked = Asked(
            name,
            parameter.code,
            modifier,
            parameter.types,
            parameter.targets,
            parameter.system,
            self._base_url,
            self._registry.zone,
        )
        matching = disj(*(_where(parameter, asked, text) for text in texts))
        return negate(matching) if modifier == "not" else matching

    def _note(self, code: str, modifier: str, texts: list[str], parts: dict[str, Predicate]) -> None:
        """What the criterion says of the ids and of the records that the answer is confined to.

        Every such criterion confines the answer by itself, so one of them is enough.
        """
        if code == "_id" and not modifier:
            self._ids = self._ids or tuple(unescape(text) for text in texts)
            if self._types == ("Patient",):
                self._patients = self._patients or self._ids
        elif all(code in self._registry.holders(type_) for type_ in self._types):
            held = [_patients(predicate) for predicate in parts.values()]
            ids = frozenset(id for each in held if each for id in each)
            if None not in held:
                self._patients = self._patients or tuple(sorted(ids))


def _where(parameter: Parameter, asked: Asked, text: str) -> Predicate:
    """What one value asks for; the id and the time of the last change are not in the index."""
    if parameter.code == "_id":
        return Eq("id", unescape(text))
    if parameter.code == "_lastUpdated":
        return date.updated(asked, text)
    return parameter.kind.where(asked, text)


def _missing(name: str, parameter: Parameter, texts: list[str]) -> Predicate:
    if texts not in (["true"], ["false"]):
        raise malformed(name, "true or false is expected.")
    present = disj(*(Present(parameter.code + part) for part in parameter.kind.parts))
    if parameter.code in FROM_THE_ROW:
        present = TRUE
    return negate(present) if texts == ["true"] else present


def _by_type(parts: dict[str, Predicate]) -> Predicate:
    """What holds for each type, said once where it is the same for all."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    types: dict[Predicate, list[str]] = {}
    for type_, predicate in parts.items():
        types.setdefault(predicate, []).append(type_)
    if len(types) == 1:
        return next(iter(types))
    return disj(*(conj(one_of("rtype", names), predicate) for predicate, names in types.items()))


def _patients(predicate: Predicate) -> frozenset[str] | None:
    """The ids of the Patients that a criterion asks for, None when it asks for anything else."""
    leaves = predicate.of if isinstance(predicate, Or) else (predicate,)
    targets = [leaf.target.partition("/") for leaf in leaves if isinstance(leaf, RefersTo)]
    ids = frozenset(id for type_, _, id in targets if type_ == "Patient")
    return ids if len(ids) == len(leaves) else None
