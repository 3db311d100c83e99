"""What the tests of the search share: the definitions of R4 and one registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.search.registry import SearchRegistry


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture(scope="session")
def registry(definitions: Definitions) -> SearchRegistry:
    return SearchRegistry(definitions)


@pytest.fixture
def r4_examples(r4_package: Path, definitions: Definitions) -> Iterator[dict[str, Any]]:
    """Every fifth example resource of R4."""
    return (
        orjson.loads(path.read_bytes())
        for path in sorted(r4_package.glob("*-*.json"))[::5]
        if path.name.partition("-")[0] in definitions.resource_types
    )
