"""Profiles that this server checks beyond R4: rules as data, judged where a resource claims one (domain §4.1, §4.2).

A rule that the published builds of a guide agree on is an error, any other a warning. Invariants of the guides have no
expression, and are not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import orjson

from fhir_server.errors import Issue

PDSM: Final = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/"
DOCUMENT: Final = f"{PDSM}pdsm-comprehensive-document-reference"
SIMPLIFIED: Final = f"{PDSM}pdsm-simplified-publish"
SUBMISSION_SET: Final = f"{PDSM}pdsm-submissionset-comprehensive"
FOLDER: Final = f"{PDSM}pdsm-folder-comprehensive"
PROVIDE: Final = f"{PDSM}pdsm-comprehensive-provide-document-bundle"


class Rule(NamedTuple):
    """What a profile says of one element. `min` and `max`: how many there are in each of its parents that is there, of
    extensions those of `url`; `values`: what it may say; `coding`: a coding it has; `contained`: a reference into
    the resource itself."""

    path: tuple[str, ...]
    severity: str = "error"
    min: int = 0
    max: int | None = None
    url: str = ""
    values: tuple[str, ...] = ()
    coding: tuple[str, str] | None = None
    contained: bool = False


class Profile(NamedTuple):
    """The type of resource that a profile is of, and its rules."""

    type: str
    rules: tuple[Rule, ...]


@cache
def profiles() -> Mapping[str, Profile]:
    """Every profile that is checked, by its canonical."""
    table = orjson.loads(files("profiles").joinpath("pdsm", "profiles.json").read_bytes())
    return {url: Profile(each["type"], tuple(_rule(rule) for rule in each["rules"])) for url, each in table.items()}


def claimed(resource: Mapping[str, Any]) -> list[str]:
    """The profiles that a resource says it is of, without their versions."""
    meta = resource.get("meta")
    named = meta.get("profile", ()) if isinstance(meta, Mapping) else ()
    return [str(each).partition("|")[0] for each in named]


def breaches(resource: Mapping[str, Any], profile: str) -> Iterator[Issue]:
    """What a resource that R4 finds valid lacks, or has too much, for that profile; nothing for an unknown one."""
    known = profiles().get(profile)
    if known is None or known.type != resource.get("resourceType"):
        return
    for rule in known.rules:
        for place, parent in _parents(resource, rule.path[:-1], known.type):
            text = _breach(rule, parent)
            if text:
                code = "required" if rule.min else "business-rule"
                yield Issue(code, f"{text} ({profile.rpartition('/')[2]})", f"{place}.{rule.path[-1]}", rule.severity)


def _breach(rule: Rule, parent: Mapping[str, Any]) -> str:
    """What is wrong in one parent, in words; "" when nothing is."""
    found = _values(parent, rule.path[-1])
    if rule.url:
        found = [each for each in found if each.get("url") == rule.url]
    if len(found) < rule.min:
        return f"The extension {rule.url.rpartition('/')[2]} is required." if rule.url else "This element is required."
    if rule.max is not None and len(found) > rule.max:
        return f"At most {rule.max} of this." if rule.max else "This element is not used here."
    if rule.values and not {*rule.values}.issuperset(found):
        return f"Expected is {' or '.join(rule.values)}."
    if rule.coding and not any(rule.coding in _codings(each) for each in found):
        return f"The code {rule.coding[1]} is expected."
    if rule.contained and not all(str(each.get("reference", "")).startswith("#") for each in found):
        return "A contained resource is expected."
    return ""


def _codings(concept: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(each.get("system", ""), each.get("code", "")) for each in concept.get("coding", ())}


def _values(parent: Mapping[str, Any], name: str) -> list[Any]:
    value = parent.get(name)
    return value if isinstance(value, list) else [] if value is None else [value]


def _parents(value: Mapping[str, Any], path: tuple[str, ...], place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The elements at the end of a path, each with its place."""
    if not path:
        yield place, value
        return
    name, *rest = path
    many = isinstance(value.get(name), list)
    for index, each in enumerate(_values(value, name)):
        if isinstance(each, Mapping):
            yield from _parents(each, tuple(rest), f"{place}.{name}[{index}]" if many else f"{place}.{name}")


def _rule(told: Mapping[str, Any]) -> Rule:
    coding = told.get("coding")
    return Rule(
        path=tuple(told["path"].split(".")),
        severity=told.get("severity", "error"),
        min=told.get("min", 0),
        max=told.get("max"),
        url=told.get("url", ""),
        values=tuple(told.get("in", ())),
        coding=(coding[0], coding[1]) if coding else None,
        contained=told.get("contained", False),
    )
