"""The search expressions of R4 on the official examples: another FHIRPath engine finds the same nodes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.fhir.definitions import Definitions
from fhir_server.fhir.path import compile_path
from fhir_server.search.extract import extract
from fhir_server.search.registry import SearchRegistry

EXAMPLES = 8
# Where the other engine differs, and why we stay: (parameter, nodes here, nodes there).
ARGUED = {
    # A canonical is a uri (its base type in R4), so `source as uri` keeps sourceCanonical.
    "ConceptMap-source-uri": (1, 0),
    "ConceptMap-target-uri": (1, 0),
}
# Parameters that the other engine stumbles over: a list of primitives without extensions beside it.
STUMBLES = {"InsurancePlan-name"}


@pytest.fixture(scope="module")
def examples(r4_package: Path, definitions: Definitions) -> dict[str, list[dict[str, Any]]]:
    """A few examples of every resource type."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(r4_package.glob("*-*.json")):
        resource_type = path.name.partition("-")[0]
        if resource_type in definitions.resource_types and len(found[resource_type]) < EXAMPLES:
            found[resource_type].append(orjson.loads(path.read_bytes()))
    return found


def in_other_words(expression: str, resource_type: str) -> str:
    """The branches for one type, without what the other engine lacks.

    It knows neither `Resource` as the root nor resolve(), and its `as` refuses several items.
    """
    branches = [each for each in expression.split(" | ") if re.match(rf"\(?({resource_type}|\w*Resource)\b", each)]
    text = re.sub(r"\b(Domain)?Resource\.", f"{resource_type}.", " | ".join(branches))
    text = re.sub(r"resolve\(\) is (\w+)", r"reference.startsWith('\1/') or reference.contains('/\1/')", text)
    return re.sub(r"\(([\w.]+) as (\w+)\)", r"\1.ofType(\2)", re.sub(r"\.as\((\w+)\)", r".ofType(\1)", text))


def plain(value: Any) -> Any:
    """Decimals as floats, all the way down."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.r4_package
def test_another_engine_finds_the_same_nodes(
    definitions: Definitions, examples: dict[str, list[dict[str, Any]]]
) -> None:
    """fhirpathpy and our closures agree on every parameter with an expression, node by node, in order."""
    fhirpathpy = pytest.importorskip("fhirpathpy")
    model = pytest.importorskip("fhirpathpy.models").models["r4"]
    compared: Counter[str] = Counter()
    differing: dict[str, tuple[int, int]] = {}
    for resource_type, resources in examples.items():
        for parameter in definitions.search_parameters(resource_type).values():
            if not parameter.expression or parameter.id in STUMBLES:
                continue
            ours = compile_path(parameter.expression, definitions, resource_type)
            theirs = fhirpathpy.compile(in_other_words(parameter.expression, resource_type), model)
            for resource in resources:
                found = [value for _, value in ours.run(resource)] if ours.paired else ours.run(resource)
                expected = theirs(resource)
                compared["nodes"] += len(expected)
                if plain(found) != plain(expected):
                    differing[parameter.id] = (len(found), len(expected))
    assert differing == ARGUED
    assert compared["nodes"] > 5000


@pytest.mark.r4_package
def test_every_example_is_indexed(registry: SearchRegistry, r4_package: Path, definitions: Definitions) -> None:
    """No example makes the extraction raise, and each entry is of a parameter of its type and kind, once."""
    count = 0
    for path in sorted(r4_package.glob("*-*.json"))[::5]:
        resource_type = path.name.partition("-")[0]
        if resource_type not in definitions.resource_types:
            continue
        entries = extract(registry, resource_type, orjson.loads(path.read_bytes()), "http://localhost/fhir")
        kinds = {
            "token": entries.tokens,
            "string": entries.strings,
            "date": entries.dates,
            "number": entries.numbers,
            "quantity": entries.quantities,
            "reference": entries.references,
            "uri": entries.uris,
        }
        parameters = registry.parameters(resource_type)
        for kind, found in kinds.items():
            assert len(set(found)) == len(found)
            for each in found:
                code, _, part = each.param.partition(":")
                assert parameters[code].type == kind or part in ("text", "identifier", "canonical")
                assert part in ("", "text", "identifier", "of-type", "canonical", "ucum")
        count += 1
    assert count > 500
