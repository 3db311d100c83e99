"""The documents the importer tests read: three written for them, whose people do not exist."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fhir.resources.R4B import get_fhir_model_class

from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.json import dump_exact
from fhir_server.validation.validator import Validator
from importers.cda.document import Conversion, convert, read
from importers.cda.entries.dispatch import Outcome

NAMESPACES = " ".join(
    (
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"',
        'xmlns:sdtc="urn:hl7-org:sdtc"',
        'xmlns:pharm="urn:hl7-org:pharm"',
    )
)


def with_body(document: bytes, content: str) -> bytes:
    """The document with other content in its structuredBody."""
    head, _, rest = document.decode().partition("<structuredBody>")
    tail = rest.partition("</structuredBody>")[2]
    return f"{head}<structuredBody {NAMESPACES}>{content}</structuredBody>{tail}".encode()


class Converted(NamedTuple):
    """What one entry became."""

    resources: list[dict[str, Any]]
    outcome: Outcome
    whole: Conversion


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
def synthesis(level3: bytes) -> bytes:
    """A synthesis of level 3: an entry of every kind the importer has a handler for, below the same bare header."""
    return with_body(level3, (FIXTURES / "synthesis_body.xml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def imported_at() -> datetime:
    """When the tests import."""
    return datetime(2026, 1, 6, 8, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
def is_r4() -> Callable[[dict[str, Any]], None]:
    """A check that a resource is valid R4 for two judges: the server's own validator and fhir.resources."""
    validator = Validator(load_definitions())

    def check(resource: dict[str, Any]) -> None:
        written = dump_exact(resource)
        assert validator.validate(json.loads(written)) == []
        get_fhir_model_class(resource["resourceType"]).model_validate_json(written)

    return check


@pytest.fixture(scope="session")
def body_of(level3: bytes) -> Callable[..., Conversion]:
    """Converts one body: the content of a structuredBody put into the header of the vaccination note.

    Default namespace `urn:hl7-org:v3`, prefixes `xsi`, `sdtc` and `pharm`.
    """

    def build(content: str, subject: str = "Patient/p1") -> Conversion:
        moment = datetime(2026, 1, 6, 8, 30, tzinfo=UTC)
        return convert(read(with_body(level3, content)), subject=subject, imported_at=moment)

    return build


@pytest.fixture(scope="session")
def entry_of(body_of: Callable[..., Conversion], is_r4: Callable[[dict[str, Any]], None]) -> Callable[..., Converted]:
    """Converts one clinical statement as the only entry of a section: its resources (all valid) and its outcome.

    `narrative` is the content of the section's text, `section` its LOINC code.
    """

    def build(statement: str, narrative: str = "", section: str = "48765-2") -> Converted:
        code = f'<code code="{section}" codeSystem="2.16.840.1.113883.6.1"/>'
        entry = f"<entry>{statement}</entry>"
        found = body_of(
            f"<component><section>{code}<title>S</title><text>{narrative}</text>{entry}</section></component>"
        )
        for resource in found.resources:
            is_r4(resource)
        (outcome,) = found.report.outcomes
        return Converted(list(found.discrete), outcome, found)

    return build
