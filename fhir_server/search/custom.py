"""SearchParameter resources of one's own (https://hl7.org/fhir/R4/searchparameter.html), as parameters to search by."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.fhir.path import PathError, compile_path
from fhir_server.search.kinds import SORTABLE
from fhir_server.search.parameter import Parameter, ProjectParameter

# What R4 lets a code be made of, and what the language of a search keeps for itself.
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9\-_]{0,63}", re.ASCII)
_ABSTRACT: Final = ("Resource", "DomainResource")


def parameter_of(resource: dict[str, Any], definitions: Definitions | None = None) -> ProjectParameter:
    """The parameter that a SearchParameter resource defines. `definitions`: those of R4, read when not given.

    Raises Invalid with every reason why it cannot be indexed, each with its place: what is not said, a code that R4 has
    for one of its types, a type that is none, composites and specials, an expression that does not compile or leads to
    no value that its kind knows, or xpath without an expression.
    """
    known = definitions or _definitions()
    found = _Found(resource)
    base = _bases(found, known)
    parameter = Parameter(
        code=_code(found, base, known),
        type=_type(found),
        url=found.text("url"),
        expression=_expression(found),
        targets=frozenset(found.texts("target", known.resource_types)),
    )
    if not found.issues:
        _check(found, parameter, base, known)
    if found.issues:
        raise Invalid(issues=found.issues)
    return ProjectParameter(base, parameter)


class _Found:
    """What is read of the resource, and what is wrong with it."""

    def __init__(self, resource: dict[str, Any]) -> None:
        self.resource = resource
        self.issues: list[Issue] = []
        if resource.get("resourceType") != "SearchParameter":
            self.wrong("", "A SearchParameter is expected.")

    def wrong(self, name: str, text: str, code: str = "invalid") -> None:
        place = f"SearchParameter.{name}" if name else "SearchParameter"
        self.issues.append(Issue(code, text, place))

    def text(self, name: str) -> str:
        value = self.resource.get(name)
        if type(value) is not str or not value.strip():
            self.wrong(name, f"An element {name} is needed.", "required")
            return ""
        return value.strip()

    def texts(self, name: str, allowed: frozenset[str]) -> list[str]:
        values = self.resource.get(name, [])
        if type(values) is not list or not all(type(each) is str and each in allowed for each in values):
            self.wrong(name, "Names of resource types are expected.")
            return []
        return values


def _bases(found: _Found, definitions: Definitions) -> tuple[str, ...]:
    names = found.texts("base", definitions.resource_types.union(_ABSTRACT))
    if not names and not found.issues:
        found.wrong("base", "An element base is needed.", "required")
    wanted = set(names)
    return tuple(
        type_ for type_ in sorted(definitions.resource_types) if not wanted.isdisjoint(definitions.ancestry(type_))
    )


def _code(found: _Found, base: tuple[str, ...], definitions: Definitions) -> str:
    code = found.text("code")
    if code and not _CODE.fullmatch(code):
        found.wrong("code", "A code is a letter, followed by letters, digits, hyphens and underscores.")
    taken = [type_ for type_ in base if code in definitions.search_parameters(type_)]
    if taken:
        found.wrong("code", f"R4 has a parameter of this code for {taken[0]}.", "duplicate")
    return code


def _type(found: _Found) -> str:
    type_ = found.text("type")
    if type_ and type_ not in SORTABLE:
        found.wrong("type", f"Parameters of one's own are {', '.join(sorted(SORTABLE))}.", "not-supported")
    return type_


def _expression(found: _Found) -> str:
    if "expression" not in found.resource and "xpath" in found.resource:
        found.wrong("xpath", "An expression in FHIRPath is needed; XPath is not supported.", "not-supported")
        return ""
    return found.text("expression")


def _check(found: _Found, parameter: Parameter, base: tuple[str, ...], definitions: Definitions) -> None:
    """Whether the expression compiles, for one type after the other, and its kind knows what it leads to."""
    leads: set[str] = set()
    for type_ in base:
        try:
            leads.update(compile_path(parameter.expression, definitions, type_).types)
        except PathError as error:
            found.wrong("expression", f"For {type_}: {error}.")
            return
    if not leads:
        found.wrong("expression", "It leads to nothing in any of the base types.")
    elif leads.isdisjoint(parameter.kind.add):
        # Of an open element, such as the value of an extension, the kind takes what it knows.
        found.wrong("expression", f"It leads to {min(leads)}, which no {parameter.type} parameter is made of.")


@cache
def _definitions() -> Definitions:
    return load_definitions()
