"""From the parameters of a search request to a Query (https://hl7.org/fhir/R4/search.html).

What is not understood is never silently dropped: an unknown parameter, or one that is not built, is an error under
`Prefer: handling=strict` and otherwise left out with a warning, absent from the self link, as R4 allows. An answer can
thereby be wider than what was asked for, never wider than what the caller may see; interactions in which that would do
harm (conditional create, update, delete) parse strictly. A known parameter with an unreadable value, and a modifier
that its parameter does not have, are errors always.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from fhir_server.errors import Issue, Malformed
from fhir_server.search.criteria import Criteria, Unknown, by_type
from fhir_server.search.filter import filtered
from fhir_server.search.hops import hops
from fhir_server.search.kinds.asked import malformed, split, unescape
from fhir_server.search.limits import LIMITS, Limits, check, check_length, too_costly
from fhir_server.search.parameter import FILTER
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import FALSE, Eq, Or, Predicate, RefersTo, TokenIs, conj, disj
from fhir_server.search.query import Query
from fhir_server.search.registry import SearchRegistry
from fhir_server.search.shape import SHAPING, Shape

__all__ = ["Limits", "parse"]

# Negotiation reads these (https://hl7.org/fhir/R4/http.html#parameters).
_PASSED_OVER: Final = frozenset({"_format", "_pretty"})
_REPEATED: Final = frozenset(name for name in SHAPING if "include" in name)


def parse(
    registry: SearchRegistry,
    types: Sequence[str],
    pairs: Iterable[tuple[str, str]],
    *,
    strict: bool,
    base_url: str,
    default_count: int = 20,
    max_count: int = 500,
    limits: Limits = LIMITS,
    compartment: tuple[str, str] | None = None,
) -> Query:
    """The search of resources of `types` that the decoded `pairs` ask for.

    `base_url`: this server's FHIR base without a trailing slash. `compartment`: ("Patient", id) of a compartment
    search, or another compartment of R4; KeyError for an unknown one. Raises Malformed with every error found, each
    naming its parameter and none repeating a value.
    """
    given = list(islice(pairs, limits.parameters + 1))
    check(given, limits)
    shape = Shape(registry, tuple(types), default_count, max_count, limits)
    parser = _Parser(registry, shape, strict, Criteria(registry, base_url, limits), limits)
    for name, value in sorted(given, key=_order):
        parser.read(name, value)
    return parser.query(compartment)


def _order(pair: tuple[str, str]) -> tuple[int, str, str]:
    """`_type`, which says what is known; the criteria by name and value; what shapes the result."""
    name, value = pair
    if name == "_type":
        return -1, name, value
    return (SHAPING.index(name) if name in SHAPING else 0), name, value


class _Parser:
    """The state of one parse; `read` takes the parameters in the order of the self link."""

    def __init__(
        self, registry: SearchRegistry, shape: Shape, strict: bool, criteria: Criteria, limits: Limits
    ) -> None:
        self._registry = registry
        self._shape = shape
        self._strict = strict
        self._criteria = criteria
        self._limits = limits
        self._where: list[Predicate] = []
        self._patients: tuple[str, ...] | None = None
        self._ids: tuple[str, ...] = ()
        self._named: Predicate | None = None
        self._used: list[tuple[str, str]] = []
        self._warnings: list[Issue] = []
        self._errors: list[Issue] = []

    def query(self, compartment: tuple[str, str] | None) -> Query:
        try:
            self._shape.check()
        except Malformed as error:
            self._errors += error.issues
        if self._errors:
            raise Malformed(issues=self._errors)
        shape, patients = self._shape, self._patients
        where = [*self._confined(*compartment), *self._where] if compartment else self._where
        if compartment and compartment[0] == "Patient":
            patients = compartment[1:]
        asked = conj(*where)
        if sum(1 for _ in islice(hops(asked), self._limits.turns + 1)) > self._limits.turns:
            raise too_costly(f"More than {self._limits.turns} hops in all chains together.")
        plan = Plan(shape.types, asked, patients, shape.sort, limit=shape.limit)
        return Query(
            plan,
            tuple(self._used),
            tuple(self._warnings),
            shape.total,
            self._ids,
            shape.includes,
            shape.summary,
            shape.elements,
            self._named,
        )

    def _confined(self, name: str, id: str) -> list[Predicate]:
        """Only what is in the compartment of one resource. A Patient compartment is also the record it is in."""
        member = by_type({type_: self._member(name, id, type_) for type_ in self._shape.types} or {"": FALSE})
        return [member, Eq("patient", id)] if name == "Patient" else [member]

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
            elif name in SHAPING:
                self._read_shape(name, value)
            else:
                self._read_criterion(name, value)
        except Unknown as unknown:
            self._leave_out(name, str(unknown))
        except Malformed as error:
            self._errors += error.issues

    def _warn(self, name: str, text: str) -> None:
        self._warnings.append(Issue("not-supported", text, name[:100], severity="warning"))

    def _leave_out(self, name: str, what: str) -> None:
        """An error for the strict, a warning for the others."""
        if self._strict:
            self._errors.append(Issue("not-supported", f"{what}.", name[:100]))
        else:
            self._warn(name, f"{what} and was left out of account.")

    def _read_shape(self, name: str, value: str) -> None:
        if name not in _REPEATED and any(name == used for used, _ in self._used):
            raise malformed(name, "This parameter was given more than once.")
        self._used.append((name, self._shape.read(name, value)))

    def _read_criterion(self, name: str, value: str) -> None:
        types = self._shape.types
        if name == FILTER:
            check_length(name, value, self._limits.filter)
            parts = {"": filtered(self._criteria, types, value, self._limits)}
        else:
            parts = self._criteria.parts(types, name, value)
        self._where.append(by_type(parts or {"": FALSE}))
        self._used.append((name, value))
        self._note(name, value, parts)

    def _note(self, name: str, value: str, parts: dict[str, Predicate]) -> None:
        """What the criterion says of the ids and of the records that the answer is confined to.

        Every such criterion confines the answer by itself, so one of them is enough.
        """
        head, _, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if name == "_id":
            self._ids = self._ids or tuple(unescape(text) for text in split(value, ",") if text.strip())
            if self._shape.types == ("Patient",):
                self._patients = self._patients or self._ids
        elif name == "identifier" and self._shape.types == ("Patient",):
            self._named = self._named or self._by_identifier(value)
        elif not self._holds(code):
            return
        elif not rest:
            held = [_patients(predicate) for predicate in parts.values()]
            ids = frozenset(id for each in held if each for id in each)
            if None not in held:
                self._patients = self._patients or tuple(sorted(ids))
        elif rest == "identifier" and "Patient" in (code.capitalize(), modifier):
            self._named = self._named or self._by_identifier(value)

    def _holds(self, code: str) -> bool:
        return bool(self._shape.types) and all(
            parameter is not None and parameter.code in self._registry.holders(type_)
            for type_ in self._shape.types
            for parameter in [self._registry.find(type_, code)]
        )

    def _by_identifier(self, value: str) -> Predicate | None:
        """The Patient with one identifier that is given with its system; None where it is anything less."""
        asked = self._criteria.meaning(("Patient",), "identifier", value)
        leaves = asked.of if isinstance(asked, Or) else (asked,)
        whole = all(isinstance(leaf, TokenIs) and leaf.system and leaf.code for leaf in leaves)
        return asked if whole and len(split(value, ",")) == 1 else None


def _patients(predicate: Predicate) -> frozenset[str] | None:
    """The ids of the Patients that a criterion asks for, None when it asks for anything else."""
    leaves = predicate.of if isinstance(predicate, Or) else (predicate,)
    targets = [leaf.target.partition("/") for leaf in leaves if isinstance(leaf, RefersTo)]
    ids = frozenset(id for type_, _, id in targets if type_ == "Patient")
    return ids if len(ids) == len(leaves) else None
