"""The formats of primitive values: https://hl7.org/fhir/R4/datatypes.html#primitive."""

from __future__ import annotations

import pytest

from fhir_server.validation.validator import Validator

OID = "urn:oid:1.2.250.1.213.1.4.8"
UUID = "urn:uuid:0b5903af-a008-4780-8179-52c268784af8"

RIGHT: dict[str, list[object]] = {
    "base64Binary": ["AAAA", "AA==", "AAA=", "AA AA\nAA=="],
    "boolean": [True, False],
    "canonical": ["http://example.org/x|1.0", UUID],
    "code": ["a", "a b", "é", "http://x"],
    "date": ["2024", "2024-02", "2024-02-29", "0001-01-01", "9999-12-31"],
    "dateTime": ["2024", "2024-02", "2024-02-29", "2024-02-29T10:00:00Z", "2024-02-29T23:59:60.123456789+14:00"],
    "decimal": [0, -1, 1.5, 1e-7, 10**30],
    "id": ["a", "A.b-9", "x" * 64],
    "instant": ["2024-02-29T10:00:00Z", "2024-02-29T10:00:00.123+02:00"],
    "integer": [0, -(2**31), 2**31 - 1],
    "markdown": ["# a\n\nb\t"],
    "oid": [OID, "urn:oid:2.0"],
    "positiveInt": [1, 2**31 - 1],
    "string": ["a", " a ", "a\r\n\tb", "x" * 1024 * 1024, "é\u00a0ß", "\u007f", "👩"],
    "time": ["10:00:00", "23:59:60", "00:00:00.000"],
    "unsignedInt": [0, 2**31 - 1],
    "uri": ["http://example.org", "x", OID, "#a", "é"],
    "url": ["http://example.org", "mailto:a@example.org"],
    "uuid": [UUID],
}
WRONG: dict[str, list[object]] = {
    "base64Binary": ["", "A", "AAA", "A=AA", "AAAA=", "AAAA====", "AA==AAAA", "é", "AA-_", " ", 1],
    "boolean": ["true", 0, 1, "", {}],
    "canonical": ["a b", "", 1, "#nobody"],
    "code": [" a", "a ", "a  b", "a\tb", "a\nb", "", " ", "a\u00a0", "\x00", 1],
    "date": [
        "2023-02-30",
        "2023-02-29",
        "1900-02-29",
        "2024-04-31",
        "2024-00",
        "2024-13",
        "2024-1",
        "24",
        "0000",
        "2024-01-01T00:00:00Z",
        "2024-02-29 ",
        "20240229",
        "",
        2024,
        "２０２４",
    ],
    "dateTime": [
        "2023-02-30T00:00:00Z",
        "2024-02-29T10:00Z",
        "2024-02-29T10:00:00",
        "2024-02-29T24:00:00Z",
        "2024-02-29T10:00:00+14:01",
        "2024-02-29T10:00:00.Z",
        "2024-02-29T10:60:00Z",
        "2024-02T10:00:00Z",
        1,
    ],
    "decimal": ["1.5", "NaN", True, float("nan"), float("inf"), -float("inf"), {}],
    "id": ["", "x" * 65, "a_b", "a b", "é", "a\n", 1],
    "instant": ["2024", "2024-02-29", "2024-02-29T10:00:00", "2023-02-29T10:00:00Z", 1],
    "integer": [2**31, -(2**31) - 1, 1.0, 1.5, "1", True, 1e10],
    "markdown": ["", " \n", "\x0b", 1],
    "oid": ["1.2.3", "urn:oid:3.1", "urn:oid:1.02", "urn:oid:1", UUID, 1],
    "positiveInt": [0, -1, 2**31, 1.0, "1"],
    "string": ["", " ", "\n", "\u00a0", "\x00", "a\x1f", "\ud800", "x" * (1024 * 1024 + 1), 1, True, {}, []],
    "time": ["10:00", "24:00:00", "10:00:61", "10:00:00Z", "1:00:00", 1],
    "unsignedInt": [-1, 2**31, 0.0, "0"],
    "uri": ["a b", " a", "", "a\nb", "\u2003x", 1],
    "url": ["a b", "", 1],
    "uuid": [UUID.upper(), "0b5903af-a008-4780-8179-52c268784af8", OID, 1],
}
NAMES = {name: "value" + name[0].upper() + name[1:] for name in RIGHT}


def extended(type_name: str, value: object) -> dict[str, object]:
    """A Patient whose extension holds the value, extensions taking every primitive type."""
    return {"resourceType": "Patient", "extension": [{"url": "http://example.org", NAMES[type_name]: value}]}


@pytest.mark.parametrize(
    ("type_name", "value"),
    [(name, value) for name, values in RIGHT.items() for value in values],
    ids=lambda value: repr(value)[:24],
)
def test_a_value_of_the_form_is_accepted(validator: Validator, type_name: str, value: object) -> None:
    """What R4 says the type may look like is valid."""
    assert validator.validate(extended(type_name, value)) == []


@pytest.mark.parametrize(
    ("type_name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda value: repr(value)[:24],
)
def test_a_value_of_another_form_is_refused_where_it_is(validator: Validator, type_name: str, value: object) -> None:
    """Anything else is one issue, at the value."""
    issues = validator.validate(extended(type_name, value))
    assert {issue.expression for issue in issues} == {f"Patient.extension[0].value.ofType({type_name})"}
    assert len(issues) == 1


def test_every_primitive_type_is_tested_here() -> None:
    """The two tables cover the same types, all R4 has but xhtml."""
    assert set(RIGHT) == set(WRONG)
    assert len(RIGHT) == 19


def test_the_length_of_a_string_has_its_own_code(validator: Validator) -> None:
    """Too long is not malformed."""
    (issue,) = validator.validate(extended("string", "x" * (1024 * 1024 + 1)))
    assert issue.code == "too-long"
