"""What the tests of validation share: the definitions and one validator of them."""

from __future__ import annotations

import pytest

from fhir_server.fhir.definitions import Definitions, load_definitions
from fhir_server.validation.validator import Validator


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    """R4."""
    return load_definitions()


@pytest.fixture(scope="session")
def validator(definitions: Definitions) -> Validator:
    """A validator against R4."""
    return Validator(definitions)
