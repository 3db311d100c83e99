"""One vocabulary of errors, one table to HTTP."""

from __future__ import annotations

import inspect

import pytest

from fhir_server import errors
from fhir_server.fhir.definitions import load_definitions
from fhir_server.interactions.status import STATUS, status_of
from fhir_server.storage.interface import Stale, Taken

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.FhirServerError) and kind is not errors.FhirServerError
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_a_message_and_a_code_of_fhir(kind: type[errors.FhirServerError]) -> None:
    """Its docstring is its message, its code is of issue-type, its status is in the table."""
    error = kind()
    assert kind in STATUS
    assert 400 <= status_of(error) < 600
    assert error.issues[0].text == (kind.__doc__ or "").strip()
    codes = load_definitions().codes("http://hl7.org/fhir/ValueSet/issue-type")
    assert codes is not None
    assert kind.code in codes["http://hl7.org/fhir/issue-type"]  # type: ignore[operator]


def test_what_the_store_raises_is_a_conflict() -> None:
    """A write that lost a race answers 409."""
    assert status_of(Stale()) == 409
    assert status_of(Taken("key", "Patient/1")) == 409
    assert "Patient/1" not in str(Taken("key", "Patient/1"))
