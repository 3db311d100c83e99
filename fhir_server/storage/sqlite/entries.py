"""What each search leaf asks of one index table, whose row is `k`: a condition and whether the primary key leads to it.

How values compare is the table in `search/match.py`; entries have low <= high, which lets `low` be bounded from above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server.search.predicate import (
    DateIs,
    NumberIs,
    Predicate,
    QuantityIs,
    RefersTo,
    StringIs,
    TokenIs,
    UriIs,
)
from fhir_server.storage.sqlite.clauses import EVERY, Clause, all_of, among
from fhir_server.storage.sqlite.names import Names


class Entry(NamedTuple):
    """The entries of search parameter `param` in `table` that satisfy `condition`.

    `point`: the primary key leads from the condition and a rid to the row.
    """

    param: str
    table: str
    condition: Clause
    point: bool = False


EntryLeaf: TypeAlias = TokenIs | StringIs | DateIs | NumberIs | QuantityIs | RefersTo | UriIs

_RANGED: Final = ("token", "string", "span", "number", "quantity", "uri")

# For each prefix a condition and, in the order of its question marks, which bound of the search value each takes.
_SPANS: Final = {
    "eq": ("k.low >= ? AND k.low <= ? AND k.high <= ?", "LHH"),
    "ne": ("NOT (k.low >= ? AND k.high <= ?)", "LH"),
    "gt": ("k.high > ?", "H"),
    "lt": ("k.low < ?", "L"),
    "ge": ("(k.high > ? OR k.low >= ?)", "HL"),
    "le": ("(k.low < ? OR k.high <= ?)", "LH"),
    "sa": ("k.low >= ?", "H"),
    "eb": ("k.high <= ? AND k.low <= ?", "LL"),
    "ap": ("k.low < ? AND k.high > ?", "HL"),
}
_RANGES: Final = {
    "eq": ("k.low >= ? AND k.low < ? AND k.high < ?", "LHH"),
    "ne": ("NOT (k.low >= ? AND k.high < ?)", "LH"),
    "gt": ("k.high > ?", "H"),
    "lt": ("k.low < ?", "L"),
    "ge": ("k.high >= ?", "L"),
    "le": ("k.low <= ?", "H"),
    "sa": ("k.low > ?", "H"),
    "eb": ("k.high < ? AND k.low < ?", "LL"),
    "ap": ("k.low <= ? AND k.high >= ?", "HL"),
}


def entry_of(leaf: EntryLeaf, names: Names) -> Entry:
    """What the leaf asks for. Raises ValueError for a prefix or a manner that the algebra does not have."""
    return _ENTRIES[type(leaf)](leaf, names)


def any_of(param: str) -> list[Entry]:
    """Every entry of a parameter, whatever its kind."""
    return [*(Entry(param, table, EVERY) for table in _RANGED), Entry(param, "link", EVERY, point=True)]


def merged(parts: Iterable[Predicate], names: Names) -> Iterator[Predicate | Entry]:
    """The parts of an Or, those that ask one parameter for a code or a target brought together in one entry."""
    alike: dict[tuple[Any, ...], list[Any]] = {}
    for part in parts:
        match part:
            case TokenIs(param, system, str()):
                alike.setdefault((TokenIs, param, system), []).append(part)
            case RefersTo(param):
                alike.setdefault((RefersTo, param), []).append(part)
            case _:
                yield part
    for (kind, *_), leaves in alike.items():
        yield _tokens(leaves, names) if kind is TokenIs else _references(leaves, names)


def _token(leaf: TokenIs, names: Names) -> Entry:
    if leaf.code is not None:
        return _tokens([leaf], names)
    return Entry(leaf.param, "token", _in_system(leaf.system, names))


def _tokens(leaves: Sequence[TokenIs], names: Names) -> Entry:
    """Tokens of one parameter and system with any of several codes."""
    codes = among("k.code", [leaf.code for leaf in leaves])
    system = leaves[0].system
    condition = codes if system is None else all_of(codes, _in_system(system, names))
    return Entry(leaves[0].param, "token", condition, point=True)


def _in_system(system: str | None, names: Names) -> Clause:
    if system is None:
        return EVERY
    return Clause("k.system = ?", (names.symbol(system) if system else 0,))


def _string(leaf: StringIs, names: Names) -> Entry:
    match leaf.how:
        case "starts":
            condition = _prefixed("k.normal", leaf.value)
        case "contains":
            condition = Clause("instr(k.normal, ?) > 0", (leaf.value,)) if leaf.value else EVERY
        case "equals":
            condition = Clause("k.normal = ?", (leaf.value,))
        case "exact":
            condition = Clause("k.exact = ?", (leaf.value,))
        case _:
            raise ValueError("strings are compared by starts, contains, equals or exact")
    return Entry(leaf.param, "string", condition)


def _prefixed(column: str, prefix: str) -> Clause:
    """The column begins with `prefix`, as a range of the index."""
    after = prefix.rstrip("\U0010ffff")
    if not after:
        return Clause(f"substr({column}, 1, ?) = ?", (len(prefix), prefix)) if prefix else EVERY
    point = ord(after[-1]) + 1
    end = after[:-1] + chr(0xE000 if point == 0xD800 else point)
    return Clause(f"{column} >= ? AND {column} < ?", (prefix, end))


def _date(leaf: DateIs, names: Names) -> Entry:
    return Entry(leaf.param, "span", _compared(_SPANS, leaf))


def _number(leaf: NumberIs, names: Names) -> Entry:
    return Entry(leaf.param, "number", _compared(_RANGES, leaf))


def _quantity(leaf: QuantityIs, names: Names) -> Entry:
    condition = _compared(_RANGES, leaf)
    if leaf.system is not None:
        condition = all_of(condition, _in_system(leaf.system, names))
    if leaf.code is not None:
        condition = all_of(condition, Clause("k.code = ?", (leaf.code,)))
    return Entry(leaf.param, "quantity", condition)


def _compared(table: dict[str, tuple[str, str]], leaf: DateIs | NumberIs | QuantityIs) -> Clause:
    if leaf.prefix not in table:
        raise ValueError("ranges are compared by eq, ne, gt, lt, ge, le, sa, eb or ap")
    text, bounds = table[leaf.prefix]
    return Clause(text, tuple(leaf.low if bound == "L" else leaf.high for bound in bounds))


def _reference(leaf: RefersTo, names: Names) -> Entry:
    return _references([leaf], names)


def _references(leaves: Sequence[RefersTo], names: Names) -> Entry:
    """References of one parameter to any of several targets."""
    targets = among("k.target", [names.symbol(leaf.target) for leaf in leaves])
    return Entry(leaves[0].param, "link", targets, point=True)


def _uri(leaf: UriIs, names: Names) -> Entry:
    match leaf.how:
        case "exact":
            return Entry(leaf.param, "uri", Clause("k.value = ?", (leaf.value,)), point=True)
        case "below":
            return Entry(leaf.param, "uri", _prefixed("k.value", leaf.value))
        case "above":
            return Entry(leaf.param, "uri", Clause("k.value <= ? AND instr(?, k.value) = 1", (leaf.value,) * 2))
    raise ValueError("uris are compared by exact, below or above")


_ENTRIES: Final[dict[type, Callable[[Any, Names], Entry]]] = {
    TokenIs: _token,
    StringIs: _string,
    DateIs: _date,
    NumberIs: _number,
    QuantityIs: _quantity,
    RefersTo: _reference,
    UriIs: _uri,
}
