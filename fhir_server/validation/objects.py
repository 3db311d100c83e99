"""JSON objects and arrays of FHIR (https://hl7.org/fhir/R4/json.html): names, cardinalities, choices, extensions.

A check gives None where all is well, so a valid object costs one look-up and one call a property; the paths and texts
are built on the way back from a finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from fhir_server.validation.findings import MAX_DEPTH, MAX_FINDINGS, Check, Finding, Findings, Scope, below, one

_NULL = "Null stands only in an array whose partner, the array of extensions, has an object in its place."
_NOTHING = "An element has a value, an extension or a child (ele-1)."
_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch


@dataclass(frozen=True, slots=True)
class Shape:
    """The properties a JSON object of one type may have, under their JSON names.

    `options` are those of choice elements, each with a bit for its element; `needed` are the bits that must be there.
    `companions` are the properties that hold the id and the extensions of primitive values: name → whether the value
    repeats. `segments` are the FHIRPath segments that are not simply the name.
    """

    is_element: bool
    required: frozenset[str] = frozenset()
    needed: int = 0
    properties: dict[str, Check] = field(default_factory=dict)
    options: dict[str, tuple[int, Check]] = field(default_factory=dict)
    choices: dict[int, str] = field(default_factory=dict)
    companions: dict[str, bool] = field(default_factory=dict)
    segments: dict[str, str] = field(default_factory=dict)

    def segment(self, name: str) -> str:
        """The property as a step of FHIRPath; nothing for a name that could be anything, even a person's."""
        plain = name.removeprefix("_")
        if plain in self.segments:
            return self.segments[plain]
        return f".{plain}" if _identifier(plain) else ""


def object_check(shape: Shape, extensions: Check, rule: Check | None) -> Check:
    """The check of an object of the shape. `extensions` checks a companion, `rule` the object as a whole."""
    properties, options, required, needed = shape.properties, shape.options, shape.required, shape.needed
    is_element = shape.is_element

    def check(value: Any, scope: Scope) -> Findings:
        if type(value) is not dict:
            return one("structure", "A JSON object is expected.")
        if scope.depth >= MAX_DEPTH:
            return one("too-long", f"At most {MAX_DEPTH} objects may lie in one another.")
        scope.depth += 1
        found: list[Finding] | None = None
        seen, repeated = 0, False
        for name, child in value.items():
            inner = properties.get(name)
            if inner is None:
                option = options.get(name)
                if option is None:
                    trouble = _companion(shape, extensions, value, name, child, scope)
                    repeated = repeated or bool(shape.options)
                else:
                    bit, inner = option
                    repeated = repeated or seen & bit != 0
                    seen |= bit
                    trouble = inner(child, scope)
            else:
                trouble = inner(child, scope)
            if trouble is not None:
                found = _add(found, _placed(shape, value, name, trouble))
                if len(found) >= MAX_FINDINGS:
                    break
        scope.depth -= 1
        unsettled = repeated or seen & needed != needed or (required and not required <= value.keys())
        if unsettled or (len(value) < 2 and is_element and (not value or "id" in value)):
            found = _add(found, _as_a_whole(shape, value))
        if rule is not None:
            found = _add(found, rule(value, scope) or [])
        return found or None

    return check


def array_check(check: Check) -> Check:
    """The check of an element that repeats, each item of which satisfies `check`."""

    def check_items(value: Any, scope: Scope) -> Findings:
        if type(value) is not list:
            return one("structure", "This element repeats: a JSON array is expected.")
        if not value:
            return one("structure", "An array has at least one item.")
        found: list[Finding] | None = None
        for index, item in enumerate(value):
            trouble = check(item, scope)
            if trouble is not None:
                if item is None:
                    trouble = one("structure", _NULL)
                found = _add(found, below(f"[{index}]", trouble))
                if len(found) >= MAX_FINDINGS:
                    break
        return found

    return check_items


def _add(found: list[Finding] | None, more: list[Finding]) -> list[Finding]:
    """Both lists in one."""
    if found is None:
        return more
    found.extend(more)
    return found


def _placed(shape: Shape, owner: dict[str, Any], name: str, trouble: list[Finding]) -> list[Finding]:
    """The findings of a property as findings of its owner; nulls are judged with the companion where there is one."""
    if "_" + name in owner:
        trouble = [finding for finding in trouble if finding[2] != _NULL]
    return below(shape.segment(name), trouble)


def _companion(shape: Shape, extensions: Check, owner: dict[str, Any], name: str, child: Any, scope: Scope) -> Findings:
    """A property that is neither an element nor an option: the id and extensions of a primitive, or a stranger."""
    repeats = shape.companions.get(name)
    if repeats is None:
        return _stranger(shape, name)
    value = owner.get(name[1:])
    if not repeats:
        return _extended(extensions, child, value is not None, scope)
    if type(child) is not list:
        return one("structure", "This element repeats: a JSON array is expected.")
    values = value if type(value) is list else [None] * len(child)
    if not child or len(values) != len(child):
        return one("structure", "The arrays of the values and of their extensions have the same length.")
    found: list[Finding] | None = None
    for index, (item, extended) in enumerate(zip(values, child, strict=True)):
        if extended is not None:
            trouble = _extended(extensions, extended, item is not None, scope)
        else:
            trouble = one("structure", _NULL) if item is None else None
        if trouble is not None:
            found = _add(found, below(f"[{index}]", trouble))
            if len(found) >= MAX_FINDINGS:
                break
    return found


def _extended(extensions: Check, companion: Any, has_value: bool, scope: Scope) -> Findings:
    """The object beside one primitive value, which may hold an id alone only where there is a value."""
    found = extensions(companion, scope)
    if found is None and "extension" not in companion and not (has_value and companion):
        return one("invariant", _NOTHING)
    return found


def _stranger(shape: Shape, name: str) -> list[Finding]:
    """A property R4 does not have here."""
    if any(name.removeprefix("_") == choice for choice in shape.choices.values()):
        return one("structure", "The name of this element ends with the type of its value.")
    if any(name.removeprefix("_").startswith(choice) for choice in shape.choices.values()):
        return one("structure", "R4 has no such element here, or its value may not be of that type.")
    return one("structure", "R4 has no such element here.")


def _as_a_whole(shape: Shape, value: dict[str, Any]) -> list[Finding]:
    """What no property alone tells: choices given twice, elements that are missing, an element with nothing in it."""
    found = _choices(shape, value)
    missing = (name for name in shape.required if name not in value and "_" + name not in value)
    found += (_required(name) for name in sorted(missing))
    if shape.is_element and not value.keys() - {"id"}:
        found += one("invariant", _NOTHING)
    return found


def _choices(shape: Shape, value: dict[str, Any]) -> list[Finding]:
    """Choice elements given twice, or not at all where one is needed; with its extensions, a value counts once."""
    given: dict[int, set[str]] = {bit: set() for bit in shape.choices}
    for name in value:
        plain = name[1:] if name in shape.companions else name
        if plain in shape.options:
            given[shape.options[plain][0]].add(plain)
    found: list[Finding] = []
    for bit, choice in shape.choices.items():
        if len(given[bit]) > 1:
            found += one("structure", "Of the types this element may have, one is given at most.", f".{choice}")
        elif not given[bit] and bit & shape.needed:
            found.append(_required(choice))
    return found


def _required(name: str) -> Finding:
    """An element that must be there and is not, with neither value nor extension."""
    return f".{name}", "required", "This element is required.", "error"
