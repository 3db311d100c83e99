"""Compile the facts of the R4 package `hl7.fhir.r4.examples` into the tables beside this script.

    python profiles/r4/compile.py PATH.tgz

The same package always gives the same bytes. Only facts are kept (names, cardinalities, types, bindings, expressions,
codes), no prose. README.md says what each table holds.
"""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TERMINOLOGIES = HERE.parents[1] / "terminologies" / "r4"
FHIR = "http://hl7.org/fhir/"
DEFINITION = FHIR + "StructureDefinition/"
SEARCH_PARAMETER = FHIR + "SearchParameter/"
FHIR_TYPE = DEFINITION + "structuredefinition-fhir-type"
MAX_VALUE_SET = DEFINITION + "elementdefinition-maxValueSet"
TOO_COSTLY = DEFINITION + "valueset-toocostly"
FHIRPATH = "http://hl7.org/fhirpath/System."

DEFINING = (
    "StructureDefinition-",
    "SearchParameter-",
    "CompartmentDefinition-",
    "OperationDefinition-",
    "Bundle-valueset-expansions.",
)

CURRENCIES = "urn:iso:std:iso:4217"
# ISO 4217 amendments after the expansion of 2018 that the package holds; SOURCES.md gives their years.
LATER_CURRENCIES = ("SLE", "UYW", "VED", "VES", "XCG", "ZWG")

# Said once, on Element and on Extension; every snapshot repeats them on every element.
EVERYWHERE = {"ele-1": "Element", "ext-1": "Extension"}

Json = dict[str, Any]


def main(package: str) -> None:
    """Write the tables of the package."""
    for path, text in tables(package):
        path.write_text(text, encoding="utf-8", newline="\n")


def tables(package: str) -> Iterator[tuple[Path, str]]:
    """Each table as (where it is kept, its text)."""
    resources = list(read(package))
    types = {d["type"]: d for d in resources if is_type(d)}
    elements = {path: row for name in sorted(types) for path, row in type_rows(types[name])}
    yield HERE / "elements.json", lines(elements)
    yield HERE / "invariants.json", lines(dict(invariants(types.values())))
    yield HERE / "search_parameters.json", lines({r["id"]: search_parameter(r) for r in resources if is_search(r)})
    yield HERE / "compartments.json", lines({r["code"]: compartment(r) for r in resources if is_compartment(r)})
    yield HERE / "operations.json", lines({r["id"]: operation(r) for r in resources if is_operation(r)})
    yield TERMINOLOGIES / "codes.json", lines(required_codes(resources, elements))


def read(package: str) -> Iterator[Json]:
    """Every resource of the package that defines something, ordered by file name."""
    with tarfile.open(package) as archive:
        members = {Path(name).name: name for name in archive.getnames()}
        for name in sorted(members):
            if name.startswith(DEFINING):
                file = archive.extractfile(members[name])
                assert file is not None, f"{name} is not a file"
                yield json.load(file)


def lines(table: Json) -> str:
    """One entry a line, keys sorted, so that a change of the table reads as a diff."""
    return "{\n" + ",\n".join(f"{quoted(key)}:{quoted(table[key])}" for key in sorted(table)) + "\n}\n"


def quoted(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def present(**row: object) -> Json:
    """The row without what has nothing to say; the reader knows the defaults."""
    return {key: value for key, value in row.items() if value not in (None, "", [], {}, False, 0)}


# Types and their elements


def is_type(resource: Json) -> bool:
    """Whether this defines a type of its own: not a profile of one, not a logical model."""
    return (
        resource["resourceType"] == "StructureDefinition"
        and resource.get("derivation") != "constraint"
        and resource["kind"] != "logical"
    )


def type_rows(definition: Json) -> Iterator[tuple[str, Json]]:
    """The type and each backbone element in it, as (path, row)."""
    name, kind = definition["type"], definition["kind"]
    root, *elements = definition["snapshot"]["element"]
    parents = {e["path"].rpartition(".")[0] for e in elements}
    own = [e for e in elements if e["base"]["path"] == e["path"]]
    if kind == "primitive-type":
        own = []
    yield (
        root["path"],
        present(
            kind=kind,
            abstract=definition["abstract"],
            base=definition.get("baseDefinition", "").removeprefix(DEFINITION),
            elements=[element(e) for e in own if e["path"].count(".") == 1],
        ),
    )
    for backbone in (e for e in own if e["path"] in parents and e["path"] != name):
        path = backbone["path"]
        yield (
            path,
            present(
                kind="backbone",
                base=backbone["type"][0]["code"],
                elements=[element(e) for e in own if e["path"].rpartition(".")[0] == path],
            ),
        )


def element(definition: Json) -> Json:
    """One element of a type: its name, how often it occurs, what it holds."""
    types = definition.get("type", [])
    names = [type_name(definition["path"], t) for t in types]
    if definition["max"] not in ("1", "*"):
        raise ValueError(f"{definition['path']}: a max of {definition['max']} has no place in the table")
    return present(
        name=definition["path"].rpartition(".")[2],
        type=names[0] if len(names) == 1 else names,
        min=definition["min"],
        many=definition["max"] == "*",
        content=definition.get("contentReference", "").removeprefix("#"),
        targets=sorted(targets(types)),
        simple=any(DEFINITION + "SimpleQuantity" in t.get("profile", ()) for t in types),
        binding=binding(definition.get("binding")),
        modifier=definition["isModifier"],
        summary=definition.get("isSummary"),
        attribute="xmlAttr" in definition.get("representation", ()),
    )


def type_name(path: str, declared: Json) -> str:
    """The FHIR type of a declared type. The snapshots give `Resource.id` as string, its text and regex as id."""
    if path == "Resource.id":
        return "id"
    if not declared["code"].startswith(FHIRPATH):
        return str(declared["code"])
    return next(str(x["valueUrl"]) for x in declared["extension"] if x["url"] == FHIR_TYPE)


def targets(types: Iterable[Json]) -> set[str]:
    """The resource types a Reference may point to; none where it may point to any."""
    urls = {u for t in types if t["code"] == "Reference" for u in t.get("targetProfile", ())}
    names = {u.removeprefix(DEFINITION) for u in urls}
    return set() if "Resource" in names else names


def binding(bound: Json | None) -> list[str]:
    """[strength, value set] or [strength, value set, the widest value set allowed]."""
    if not bound or "valueSet" not in bound:
        return []
    widest = [x["valueCanonical"] for x in bound.get("extension", ()) if x["url"] == MAX_VALUE_SET]
    return [bound["strength"], unversioned(bound["valueSet"]), *widest]


def unversioned(canonical: str) -> str:
    """The canonical without its version."""
    return canonical.partition("|")[0]


def invariants(definitions: Iterable[Json]) -> Iterator[tuple[str, Json]]:
    """(path, {key: [severity, FHIRPath]}), each rule where it is first said."""
    for definition in definitions:
        for e in definition["snapshot"]["element"]:
            rules = {
                c["key"]: [c["severity"], c["expression"]] for c in e.get("constraint", ()) if is_own(c, e, definition)
            }
            if rules:
                yield e["path"], rules


def is_own(constraint: Json, element: Json, definition: Json) -> bool:
    """Whether the rule is said here, not repeated from the base or from the type of the element."""
    key, path = constraint["key"], element["path"]
    if key in EVERYWHERE:
        return bool(path == EVERYWHERE[key])
    inherited = constraint.get("source", definition["url"]) != definition["url"]
    return "expression" in constraint and not inherited and element["base"]["path"] == path


# Search, compartments, operations


def is_search(resource: Json) -> bool:
    """Whether this is a search parameter of R4 itself, not an example or one of an extension."""
    return bool(resource["resourceType"] == "SearchParameter" and not resource["experimental"])


def search_parameter(resource: Json) -> Json:
    """Facts of one search parameter, keyed by its id; its url is `http://hl7.org/fhir/SearchParameter/<id>`."""
    if resource["url"] != SEARCH_PARAMETER + resource["id"]:
        raise ValueError(f"{resource['id']}: the url does not end with the id")
    usage = resource.get("xpathUsage", "normal")
    return present(
        code=resource["code"],
        base=resource["base"],
        type=resource["type"],
        expression=resource.get("expression"),
        targets=resource.get("target"),
        components=[
            [c["definition"].removeprefix(SEARCH_PARAMETER), c["expression"]] for c in resource.get("component", ())
        ],
        comparators=resource.get("comparator"),
        modifiers=resource.get("modifier"),
        usage=usage if usage != "normal" else None,
    )


def is_compartment(resource: Json) -> bool:
    """Whether this is one of the five compartments of R4."""
    return bool(resource["resourceType"] == "CompartmentDefinition" and resource["id"] != "example")


def compartment(resource: Json) -> Json:
    """{resource type: [search parameter]} of the types that belong to the compartment."""
    return {r["code"]: r["param"] for r in resource["resource"] if r.get("param")}


def is_operation(resource: Json) -> bool:
    """Whether this is an operation of R4."""
    return bool(resource["resourceType"] == "OperationDefinition" and resource["id"] != "example")


def operation(resource: Json) -> Json:
    """Facts of one operation, keyed by its id; its url is `http://hl7.org/fhir/OperationDefinition/<id>`."""
    return present(
        code=resource["code"],
        kind=resource["kind"],
        affects=resource.get("affectsState"),
        resources=resource.get("resource"),
        system=resource["system"],
        type=resource["type"],
        instance=resource["instance"],
        parameters=[parameter(p) for p in resource.get("parameter", ())],
    )


def parameter(declared: Json) -> Json:
    """One parameter of an operation."""
    return present(
        name=declared["name"],
        use=declared["use"],
        min=declared["min"],
        max=declared["max"],
        type=declared.get("type"),
        search=declared.get("searchType"),
        targets=[t.removeprefix(DEFINITION) for t in declared.get("targetProfile", ())],
        parts=[parameter(p) for p in declared.get("part", ())],
    )


# Codes of the required bindings


def required_codes(resources: list[Json], elements: Json) -> Json:
    """{value set: {system: [code]}}; null for a system whose codes the package does not list."""
    bindings = [e["binding"] for row in elements.values() for e in row.get("elements", ()) if "binding" in e]
    required = {b[1] for b in bindings if b[0] == "required"}
    expansions = next(r for r in resources if r["resourceType"] == "Bundle" and r["id"] == "valueset-expansions")
    value_sets = {e["resource"]["url"]: e["resource"] for e in expansions["entry"]}
    return {url: codes(value_sets[url]) for url in required if url in value_sets}


def codes(value_set: Json) -> Json:
    """{system: [code]} of one expanded value set."""
    expansion = value_set.get("expansion", {})
    if any(x["url"] == TOO_COSTLY for x in expansion.get("extension", ())):
        return {include["system"]: None for include in value_set["compose"]["include"]}
    table: dict[str, set[str]] = {}
    for system, code in concepts(expansion["contains"]):
        table.setdefault(system, set()).add(code)
    if CURRENCIES in table:
        table[CURRENCIES].update(LATER_CURRENCIES)
    return {system: sorted(found) for system, found in table.items()}


def concepts(contains: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """(system, code) of what may be used in an instance, at any depth."""
    for concept in contains:
        if not concept.get("abstract"):
            yield concept["system"], concept["code"]
        yield from concepts(concept.get("contains", ()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
