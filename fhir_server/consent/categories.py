"""What kind of medical data a resource is: its document class and type, and its sensitivity (spec access §10, COD-11).

The tables are data, in `terminologies/access`; they are read when first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import orjson

CLASSES: Final = frozenset(
    {
        "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument",
        "1.2.250.1.213.1.1.4.1",
        "urn:oid:1.2.250.1.213.1.1.4.1",
    }
)
MHD_LIST_TYPES: Final = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
FOLDERS: Final = frozenset({"submissionset", "folder"})
"""Lists that hold documents, as IHE MHD codes them: the `type_code` of such a List."""
SENSITIVITIES: Final = frozenset({"PSY", "ETH", "SDV", "HIV"})


class Category(NamedTuple):
    """A document class or category, and a document type; None where the resource has none."""

    class_code: str | None
    type_code: str | None


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables, ready for use. `kinds`: name to codings; `rows`: resource type to (kind or "", category); `codes`
    and `starts`: system to what its codes, or the beginnings of its codes, bring."""

    names: Mapping[str, str]
    kinds: Mapping[str, frozenset[tuple[str, str]]]
    rows: Mapping[str, tuple[tuple[str, Category], ...]]
    classes: Mapping[str, str]
    by_author: Mapping[str, Mapping[str, str]]
    cross_border: frozenset[str]
    codes: Mapping[str, Mapping[str, str]]
    starts: Mapping[str, tuple[tuple[str, str], ...]]


@cache
def tables() -> Tables:
    """The packaged tables."""
    resources, classes, sensitivity = read_table("categories"), read_table("type-to-class"), read_table("sensitivity")
    rows: dict[str, list[tuple[str, Category]]] = {}
    for row in resources["resources"]:
        category = Category(row.get("class"), row.get("type"))
        rows.setdefault(row["resource"], []).append((row.get("kind", ""), category))
    return Tables(
        names=resources["categories"],
        kinds={
            name: frozenset((system, code) for system, codes in systems.items() for code in codes)
            for name, systems in resources["kinds"].items()
        },
        rows={name: tuple(each) for name, each in rows.items()},
        classes={code: name for name, codes in classes["classes"].items() for code in codes},
        by_author=classes["by_author"],
        cross_border=frozenset(resources["cross_border"]),
        codes=_codes(sensitivity["rows"]),
        starts=_starts(sensitivity["rows"]),
    )


def category_of(resource: Mapping[str, Any], *, by_patient: bool) -> Category:
    """The class and type of a resource. `by_patient`: the patient or a representative is its author (COD-12)."""
    type_ = resource.get("resourceType")
    if type_ == "DocumentReference":
        return _document(resource, by_patient)
    if type_ == "List":
        held = (code for system, code in _codings(resource, ("code",)) if system == MHD_LIST_TYPES and code in FOLDERS)
        return Category(None, next(held, None))
    for kind, category in tables().rows.get(str(type_), ()):
        if not kind or any(coding in tables().kinds[kind] for coding in _codings(resource, ("category", "code"))):
            return category
    return Category(None, None)


def sensitivities(codings: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The sensitivity labels that codings, as (system, code), bring to the resource that holds them."""
    found = set()
    codes, starts = tables().codes, tables().starts
    for system, code in codings:
        if system in codes and code in codes[system]:
            found.add(codes[system][code])
        if system in starts:
            found.update(label for start, label in starts[system] if code.startswith(start))
    return frozenset(found)


def classes_of(type: str) -> frozenset[str] | None:
    """Every class that resources of that type can have; None for any (documents). Of no class: the empty set."""
    if type == "DocumentReference":
        return None
    return frozenset(category.class_code for _, category in tables().rows.get(type, ()) if category.class_code)


def _document(resource: Mapping[str, Any], by_patient: bool) -> Category:
    types = [code for _, code in _codings(resource, ("type",))]
    known = [code for code in types if code in tables().classes or code in tables().by_author]
    type_code = next(iter(known or types), None)
    named = [code for system, code in _codings(resource, ("category",)) if system in CLASSES]
    if named:
        return Category(named[0], type_code)
    authored = tables().by_author.get(type_code or "", {}).get("patient" if by_patient else "other")
    return Category(authored or tables().classes.get(type_code or ""), type_code)


def _codings(resource: Mapping[str, Any], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The codings of CodeableConcept elements, single or repeated, as (system, code)."""
    for name in names:
        value = resource.get(name, ())
        for concept in value if isinstance(value, list) else (value,):
            for coding in concept.get("coding", ()) if isinstance(concept, Mapping) else ():
                if isinstance(coding.get("code"), str):
                    yield str(coding.get("system", "")), coding["code"]


def _codes(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        for system in row["systems"]:
            found.setdefault(system, {}).update(dict.fromkeys(row.get("codes", ()), row["label"]))
    return found


def _starts(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for system in row["systems"]:
            found.setdefault(system, []).extend((start, row["label"]) for start in row.get("starts", ()))
    return {system: tuple(each) for system, each in found.items()}


def read_table(name: str) -> dict[str, Any]:
    """One packaged table of `terminologies/access`."""
    table: dict[str, Any] = orjson.loads(files("terminologies").joinpath("access", f"{name}.json").read_bytes())
    return table
