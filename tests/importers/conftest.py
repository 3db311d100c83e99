"""The documents the importer tests read: three written for them, whose people do not exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.binary import Binary
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.patient import Patient

from fhir_server.fhir.definitions import load_definitions
from fhir_server.validation.validator import Validator

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def level1() -> bytes:
    """A consultation report of level 1: a PDF in a full header, which replaces another one."""
    return (FIXTURES / "consultation_level1.xml").read_bytes()


@pytest.fixture(scope="session")
def level3() -> bytes:
    """A vaccination note of level 3 with a bare header: two entries in two sections."""
    return (FIXTURES / "vaccination_level3.xml").read_bytes()


@pytest.fixture(scope="session")
def wrapped() -> bytes:
    """The vaccination note inside a stylesheet, its elements prefixed."""
    return (FIXTURES / "vaccination_wrapped.xml").read_bytes()


@pytest.fixture(scope="session")
def imported_at() -> datetime:
    """When the tests import."""
    return datetime(2026, 1, 6, 8, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
def is_r4() -> Callable[[dict[str, Any]], None]:
    """A check that a resource is valid R4 for two judges: the server's own validator and fhir.resources."""
    validator = Validator(load_definitions())
    models = {each.__name__: each for each in (Binary, DocumentReference, Patient)}

    def check(resource: dict[str, Any]) -> None:
        assert validator.validate(resource) == []
        models[resource["resourceType"]].model_validate(resource)

    return check
