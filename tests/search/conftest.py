"""What the tests of the search share: the definitions of R4 and one registry."""

from __future__ import annotations

import pytest

from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.search.registry import SearchRegistry


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture(scope="session")
def registry(definitions: Definitions) -> SearchRegistry:
    return SearchRegistry(definitions)
