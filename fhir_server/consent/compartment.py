"""Whose record a resource is in, and what else of this server it points to (https://hl7.org/fhir/R4/compartmentdefinition-patient.html).

A resource is in the record of exactly one Patient: the one it is about. Only where it leaves that element out do its
other ties to a Patient count (a questionnaire's author), so that what a mother measured on her child, named by an
identifier that is not resolved, does not land in the mother's record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fhir_server.consent.keys import link_of
from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.definitions import Definitions

# What a resource is about, before every other parameter that places it in a compartment.
_ABOUT: Final = ("patient", "subject", "beneficiary", "individual")
# Types that R4 leaves out of the compartment although they can name their patient.
_BESIDE: Final[Mapping[str, str]] = {
    "Device": "patient",
    "Task": "for",
    "Contract": "subject",
    "GuidanceResponse": "subject",
}
_PATIENT_ONLY: Final = ".where(resolve() is Patient)"


def patient_of(definitions: Definitions, resource: Mapping[str, Any], *, base: str = "") -> str | None:
    """The id of the one Patient that the resource says it belongs to, None when it names none.

    `base`: the FHIR base url of this server. Raises Invalid, naming the place, when it names two.
    """
    type_ = str(resource.get("resourceType"))
    if type_ == "Bundle":
        return _only(_of_entries(definitions, resource, base), "Bundle.entry")
    for paths in _paths(definitions, type_):
        named = [each for path in paths for each in values_at(resource, path)]
        if named:
            return _only({id_ for each in named if (id_ := _patient(each, base))}, f"{type_}.{paths[0]}")
    return None


def patient_place(definitions: Definitions, type_: str) -> str:
    """Where a resource of that type says whose it is, as a FHIRPath."""
    for paths in _paths(definitions, type_):
        return f"{type_}.{paths[0]}"
    return type_


class Said(NamedTuple):
    """What the JSON objects of a resource say of others, and in codes.

    `references`: those objects that have one; `urls`: that may lead to content; `codings`: as (system, code).
    """

    references: list[Mapping[str, Any]]
    urls: list[str]
    codings: list[tuple[str, str]]


def said_in(resource: object) -> Said:
    """All of it, at any depth, in one walk."""
    said = Said([], [], [])
    # What the walk comes to, it goes through in its turn: no stack grows, and a list costs less than a generator.
    values = [resource]
    for each in values:
        if type(each) is list:
            values += each
        elif type(each) is dict:
            values += each.values()
            if "reference" in each:
                said.references.append(each)
            if "url" in each and "Binary/" in str(each["url"]):
                said.urls.append(each["url"])
            if "system" in each and type(each.get("code")) is type(each["system"]) is str:
                said.codings.append((each["system"], each["code"]))
    return said


def links_of(said: Said, *, base: str = "") -> frozenset[str]:
    """Every resource of this server that is pointed to by a literal reference or an attachment's url, as "Type/id".

    `base`: the FHIR base url of this server.
    """
    texts = [each["reference"] for each in said.references] + said.urls
    return frozenset([link for text in texts if (link := link_of(text, base))])


def values_at(value: Any, path: str) -> Iterator[Any]:
    """The values at the end of a path of plain element names, lists taken apart."""
    head, _, rest = path.partition(".")
    found = value.get(head) if isinstance(value, Mapping) else None
    for each in found if isinstance(found, list) else () if found is None else (found,):
        if rest:
            yield from values_at(each, rest)
        else:
            yield each


@lru_cache(maxsize=512)
def _paths(definitions: Definitions, type_: str) -> tuple[tuple[str, ...], ...]:
    """The elements that place the type in the compartment, those that say what it is about apart and first."""
    if type_ in _BESIDE:
        return ((_BESIDE[type_],),)
    parameters = definitions.search_parameters(type_)
    known = {
        code: parameters[code].expression if code in parameters else ""
        for code in definitions.compartment("Patient").get(type_, ())
    }
    about = [code for code in _ABOUT if code in known]
    groups = [
        tuple(dict.fromkeys(path for code in part for path in _elements(type_, known[code])))
        for part in (about, [code for code in known if code not in about])
    ]
    return tuple(paths for paths in groups if paths)


def _elements(type_: str, expression: str) -> Iterator[str]:
    for part in expression.split("|"):
        path = part.strip().removesuffix(_PATIENT_ONLY)
        if path.startswith(f"{type_}.") and path.replace(".", "").isalpha():
            yield path.removeprefix(f"{type_}.")


def _patient(reference: Any, base: str) -> str | None:
    link = link_of(reference.get("reference"), base) if isinstance(reference, Mapping) else None
    type_, _, id_ = (link or "").partition("/")
    return id_ if type_ == "Patient" else None


def _of_entries(definitions: Definitions, bundle: Mapping[str, Any], base: str) -> set[str]:
    """The patients of a Bundle's entries; a Patient inside, which has an id of its own world, is not asked."""
    resources = [entry.get("resource") for entry in bundle.get("entry", ()) if isinstance(entry, Mapping)]
    others = [each for each in resources if isinstance(each, Mapping) and each.get("resourceType") != "Patient"]
    return {found for each in others if (found := patient_of(definitions, each, base=base))}


def _only(found: set[str], place: str) -> str | None:
    if len(found) > 1:
        raise Invalid(issues=[Issue("business-rule", "A resource belongs to the record of one patient.", place)])
    return next(iter(found), None)
