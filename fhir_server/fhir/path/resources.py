"""What FHIR R4 adds to FHIRPath (https://hl7.org/fhir/R4/fhirpath.html#functions), and the clock; fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from fhir_server.fhir.narrative import narrative_problems
from fhir_server.fhir.path.arithmetic import computed
from fhir_server.fhir.path.frame import Collection, Environment, Frame, Run
from fhir_server.fhir.path.functions import Function, Functions, boolean, single
from fhir_server.fhir.path.moments import Moment
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.strings import text_of
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.references import parse_reference

_PROFILES: Final = "http://hl7.org/fhir/StructureDefinition/"


def resolve(environment: Environment, items: Collection) -> Collection:
    """What references lead to inside the resource: contained resources and entries of the same Bundle."""
    found: Collection = []
    for item in items:
        literal = item.value.get("reference") if type(item.value) is dict else item.value
        if type(literal) is str:
            found += _inside(environment, literal)[:1]
    return found


def _inside(environment: Environment, literal: str) -> Collection:
    schema, root = environment.schema, environment.root
    if literal.startswith("#"):
        if literal == "#":
            return [root]
        contained = schema.member(root, "contained")
        return [each for each in contained if type(each.value) is dict and each.value.get("id") == literal[1:]]
    if root.type != "Bundle":
        return []
    entries = schema.member(root, "entry")
    environment.spend(len(entries))
    said = parse_reference(literal)
    plain = literal.partition("/_history/")[0]
    return [
        resource
        for entry in entries
        for resource in schema.member(entry, "resource")
        if entry.value.get("fullUrl") == plain
        or (said.kind == "relative" and resource.type == said.type and resource.value.get("id") == said.id)
    ]


def html_checks(environment: Environment, items: Collection) -> Collection:
    """`htmlChecks()`: whether each is XHTML that a narrative may hold (txt-1, txt-2)."""
    return boolean(all(type(item.value) is str and not narrative_problems(item.value) for item in items))


def conforms_to(environment: Environment, items: Collection, profile: Collection) -> Collection:
    """`conformsTo()` a type of R4 itself: whether the item has it. PathError for a profile, which is not known here."""
    item, url = single(items, "conformsTo()"), text_of(profile)
    if item is None or url is None:
        return []
    name = url.removeprefix(_PROFILES)
    if name == url or name not in environment.schema.definitions.resource_types:
        raise PathError("the profile is not known here")
    return boolean(name in environment.schema.ancestors(item.type))


def member_of(environment: Environment, items: Collection, value_set: Collection) -> Collection:
    """`memberOf()` of a value set that R4 requires somewhere; PathError for another, whose codes are not known here."""
    item, url = single(items, "memberOf()"), text_of(value_set)
    if item is None or url is None:
        return []
    codes = environment.schema.definitions.codes(url)
    if codes is None or None in codes.values():
        raise PathError("the codes of the value set are not known here")
    return boolean(any(_is_coded(coding, codes) for coding in _codings(item)))


def _codings(item: Node) -> Iterator[tuple[str | None, Any]]:
    """(system, code) of a code, a Coding or a CodeableConcept; None where a code says no system."""
    if type(item.value) is not dict:
        yield None, item.value
        return
    listed = item.value.get("coding") if item.type == "CodeableConcept" else [item.value]
    for coding in listed if type(listed) is list else []:
        if type(coding) is dict:
            yield str(coding.get("system", "")), coding.get("code")


def _is_coded(coding: tuple[str | None, Any], codes: Any) -> bool:
    system, code = coding
    if type(code) is not str:
        return False
    return any(code in known for of, known in codes.items() if system is None or system == of)


def check_modifiers(environment: Environment, items: Collection, *known: Collection) -> Collection:
    """`checkModifiers()`: the items; PathError if one has a modifier extension that is not one of these."""
    urls = {text_of(each) for each in known}
    for item in items:
        for extension in environment.schema.member(item, "modifierExtension"):
            if type(extension.value) is not dict or extension.value.get("url") not in urls:
                raise PathError("an item has a modifier extension that is not expected")
    return items


def trace(frame: Frame, items: Collection, name: Run, projection: Run | None = None) -> Collection:
    """The items: what is traced could be anyone's health, so it is written nowhere."""
    return items


def now(environment: Environment, items: Collection) -> Collection:
    """The moment of the evaluation, to the millisecond."""
    return computed(Moment("DateTime", (*_day(environment), *_clock(environment)), _offset(environment.instant())))


def today(environment: Environment, items: Collection) -> Collection:
    """The day of the evaluation."""
    return computed(Moment("Date", _day(environment)))


def time_of_day(environment: Environment, items: Collection) -> Collection:
    """The time of the evaluation, to the millisecond."""
    return computed(Moment("Time", (0, 0, 0, *_clock(environment))))


def _day(environment: Environment) -> tuple[int, int, int]:
    instant = environment.instant()
    return instant.year, instant.month, instant.day


def _clock(environment: Environment) -> tuple[int, int, Decimal]:
    instant = environment.instant()
    return instant.hour, instant.minute, Decimal(instant.second * 1000 + instant.microsecond // 1000).scaleb(-3)


def _offset(instant: datetime) -> int:
    ahead = instant.utcoffset()
    return int(ahead.total_seconds() // 60) if ahead else 0


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "resolve": Function(resolve),
        "htmlChecks": Function(html_checks, gives="Boolean"),
        "conformsTo": Function(conforms_to, 1, 1, "Boolean"),
        "memberOf": Function(member_of, 1, 1, "Boolean"),
        "checkModifiers": Function(check_modifiers, 0, 20, "same"),
        "trace": Function(trace, 1, 2, "same", lazy=True),
        "now": Function(now, gives="DateTime"),
        "today": Function(today, gives="Date"),
        "timeOfDay": Function(time_of_day, gives="Time"),
    }
)
