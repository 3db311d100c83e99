"""The habilitation matrix: data that is checked, versioned, and turned into a predicate (access §10)."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fhir_server.consent.categories import classes_of, tables
from fhir_server.consent.matrix import load_matrix, parse_matrix
from fhir_server.fhir.dates import date_range
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds

ACCESS = files("terminologies").joinpath("access")
NOW = date_range("2026-01-01T00:00:00Z")[0]


def _table(name: str) -> Any:
    return json.loads(ACCESS.joinpath(name).read_text(encoding="utf-8"))


def _may(profession: str, class_code: str | None = None, type_code: str | None = None) -> bool:
    row = Row(Facts("DocumentReference", "1", "record", "p", type_code, class_code), Entries(), 0)
    return holds(load_matrix(NOW).predicate(profession), row)


@pytest.mark.parametrize(
    ("profession", "class_code", "type_code", "expected"),
    [
        ("10", "10", "11488-4", True),
        ("10", "52", "ATTEST-RESID", False),
        ("10", None, None, True),
        ("10", "99", None, True),
        ("60", "10", "11488-4", True),
        ("60", "11", "68599-0", False),
        ("60", "90", None, False),
        ("60", None, None, False),
        ("60", None, "made-up", False),
        ("28", "42", "57833-6", True),
        ("28", "10", "11488-4", True),
        ("28", "10", "11502-2", False),
        ("28", "10", None, False),
        ("80", "10", "15508-5", False),
        ("80", "42", None, True),
        ("80", "52", None, False),
        ("95", "10", "11488-4", False),
        ("", "10", "11488-4", False),
    ],
)
def test_type_prevails_over_class_and_class_over_default(
    profession: str, class_code: str | None, type_code: str | None, expected: bool
) -> None:
    """Known rows of the table; without type and class the profession's default."""
    assert _may(profession, class_code, type_code) is expected


def test_the_shipped_matrix_fits_its_schema_and_calls_itself_illustrative() -> None:
    """It is never taken for the official table."""
    table = _table("matrix.json")
    jsonschema.validate(table, _table("matrix.schema.json"))
    assert table["status"] == "illustrative"


@pytest.mark.parametrize(
    "change",
    [
        {
            "rows": [
                {
                    "profession": "TRE_R85|300",
                    "target": "class|10",
                    "allow": True,
                    "source": "s",
                    "effective": "2026-01-01",
                }
            ]
        },
        {
            "rows": [
                {"profession": "TRE_G15|10", "target": "10", "allow": True, "source": "s", "effective": "2026-01-01"}
            ]
        },
        {"defaults": {"10": "allow"}},
        {"defaults": {"10": "maybe", "*": "deny"}},
    ],
    ids=["other table", "no kind", "no default for the rest", "unknown default"],
)
def test_the_schema_and_the_reading_refuse_the_same(change: dict[str, Any]) -> None:
    """A bad file stops the start, with its name."""
    table = {**_table("matrix.json"), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, _table("matrix.schema.json"))
    with pytest.raises(ValueError, match=r"^bad\.json: "):
        parse_matrix("bad.json", json.dumps(table).encode())


def test_two_rows_for_one_pair_are_refused() -> None:
    """Even when they agree."""
    table = _table("matrix.json")
    table["rows"].append(table["rows"][0])
    with pytest.raises(ValueError, match="two rows"):
        parse_matrix("bad.json", json.dumps(table).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": 1}', b"null"])
def test_what_is_no_matrix_is_refused_with_the_name_of_the_file(body: bytes) -> None:
    """ValueError, and nothing else."""
    with pytest.raises(ValueError, match=r"^m\.json: "):
        parse_matrix("m.json", body)


def test_the_latest_matrix_in_force_applies(tmp_path: Path) -> None:
    """Files put beside the shipped one, by their date of effect; none in force stops the start."""
    table = _table("matrix.json")
    for name, effective in (("matrix", "2023-10-29"), ("matrix-new", "2026-01-01"), ("matrix-next", "2027-01-01")):
        body = json.dumps({**table, "version": name, "effective": effective})
        (tmp_path / f"{name}.json").write_text(body, encoding="utf-8")
    (tmp_path / "matrix.schema.json").write_text("{}", encoding="utf-8")
    assert load_matrix(NOW, tmp_path).version == "matrix-new"
    with pytest.raises(ValueError, match="in force"):
        load_matrix(0, tmp_path)


def test_every_table_says_what_it_is() -> None:
    """id, version, effective, status, source; only the published association of types and classes is official."""
    for name in ("categories", "matrix", "reasons", "sensitivity", "type-to-class", "types"):
        table = _table(f"{name}.json")
        assert {"id", "version", "effective", "status", "source"} <= table.keys()
        assert table["status"] in (("official",) if name == "type-to-class" else ("illustrative", "project"))


def test_the_tables_speak_of_the_same_classes() -> None:
    """Every class of a type, of a resource and of the matrix is one of the record's, or the technical one."""
    known = tables().names.keys() | {"99"}
    assert set(tables().classes.values()) <= known
    assert {each.class_code for rows in tables().rows.values() for _, each in rows} <= known
    targets = {row["target"].partition("|")[2] for row in _table("matrix.json")["rows"] if row["target"][:4] != "type"}
    assert targets <= known


def test_the_classes_that_a_type_can_have() -> None:
    """Any for documents, none for what has no category."""
    assert classes_of("DocumentReference") is None
    assert classes_of("Observation") == {"10", "measures"}
    assert classes_of("Goal") == frozenset()


@pytest.mark.shared_data
def test_every_published_document_type_has_a_class(shared_data: Path) -> None:
    """JDV_J07 against ASS_X04, which also knows types that are no longer in use."""
    lines = (shared_data / "fr" / "codes" / "JDV_J07-XdsTypeCode.tsv").read_text(encoding="utf-8").splitlines()
    published = {line.split("\t")[1] for line in lines if not line.startswith("#")}
    assert published <= tables().classes.keys() | tables().by_author.keys()


def _row(**more: Any) -> dict[str, Any]:
    row = {"profession": "TRE_G15|60", "target": "class|10", "allow": True, "source": "s", "effective": "2026-01-01"}
    return {**row, **more}


def test_a_row_is_in_force_from_its_own_date_on(tmp_path: Path) -> None:
    """Before it, the default; the matrix knows when it changes next, at midnight in Paris."""
    rows = [_row(effective="2026-07-01"), _row(target="class|11")]
    table = {**_table("matrix.json"), "rows": rows, "effective": "2026-01-01"}
    (tmp_path / "matrix.json").write_text(json.dumps(table), encoding="utf-8")
    following = {**table, "rows": [_row()], "version": "2", "effective": "2026-09-01"}
    (tmp_path / "matrix-next.json").write_text(json.dumps(following), encoding="utf-8")
    changes = [date_range(f"2026-{month}-01T00:00:00+02:00")[0] for month in ("07", "09")]
    for now, codes, until in (
        (changes[0] - 1, {"11"}, changes[0]),
        (changes[0], {"10", "11"}, changes[1]),
        (changes[1] - 1, {"10", "11"}, changes[1]),
        (changes[1], {"10"}, None),
    ):
        found = load_matrix(now, tmp_path)
        assert {code for _, _, code in found.rows} == codes
        assert found.until == until


@pytest.mark.parametrize(
    "change",
    [
        {"effective": "2026-13-01"},
        {"effective": "soon"},
        {"status": "draft"},
        {"source": ""},
        {"rows": [_row(effective="2026-02-30")]},
        {"rows": [_row(source=None)]},
        {"rows": [_row(target="type|")]},
        {"rows": [_row(), _row(effective="2027-01-01", allow=False)]},
        {"rows": [_row(target="class|10"), _row(target="cat|10")]},
        {"defaults": {"1": "allow", "*": "deny"}},
        {"remark": "x"},
    ],
    ids=str,
)
def test_a_matrix_that_is_not_in_order_stops_the_start(change: dict[str, Any]) -> None:
    """Dates that are none, no source, an unknown status or member, two rows for one pair whatever their dates."""
    with pytest.raises(ValueError, match=r"^bad\.json: "):
        parse_matrix("bad.json", json.dumps({**_table("matrix.json"), **change}).encode())
