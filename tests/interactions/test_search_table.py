"""docs/api/search.md says what runs: its tables against the code, and every example of them over HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_server.search.kinds import KINDS
from fhir_server.search.shape import SHAPING
from tests.conftest import Caller

PAGE = (Path(__file__).parents[2] / "docs" / "api" / "search.md").read_text("utf-8")
PREFIXES = ("date", "number", "quantity")


def table(head: str) -> list[list[str]]:
    """The rows of the table whose head begins so, cells without their blanks."""
    lines = PAGE.split(f"| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


KINDS_TOLD, OF_TYPES, OF_ANSWERS, REFUSED = (
    table(each) for each in ("kind", "of every type", "of the answer", "asked")
)
EXAMPLES = [row[-1].strip("`") for row in (*KINDS_TOLD, *OF_TYPES, *OF_ANSWERS)]


@pytest.mark.parametrize("row", KINDS_TOLD, ids=lambda row: row[0])
def test_each_kind_has_the_modifiers_that_are_told(row: list[str]) -> None:
    """No more and no fewer; `:missing` is every indexed parameter's, `:[Type]` the references'."""
    kind, told, prefixes, _ = row
    besides = {"reference": {"missing", "[Type]"}, "prose": set(), "composite": set()}.get(kind, {"missing"})
    known = KINDS[kind].modifiers if kind in KINDS else frozenset()
    assert set(re.findall(r"`:([\w\-\[\]]+)`", told)) == (set(known) - {""}) | besides
    assert (prefixes.count(" ") == 8) == (kind in PREFIXES)


def test_every_kind_is_told() -> None:
    """And composite parameters, which are made of the others."""
    assert {row[0] for row in KINDS_TOLD} == {*KINDS, "composite"}


def test_every_parameter_of_the_answer_is_told() -> None:
    """Those that shape an answer, in any order."""
    assert {row[0].strip("`") for row in OF_ANSWERS} == set(SHAPING)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_answered_as_it_stands(open_server: Caller, example: str) -> None:
    """Strictly; and the self link repeats it."""
    answer = open_server.get(example, Prefer="handling=strict")
    assert answer.status_code == 200, answer.text
    name = example.partition("?")[2].partition("=")[0]
    assert name.replace(":", "%3A") + "=" in answer.json()["link"][0]["url"]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_what_is_not_offered_is_refused_as_told(open_server: Caller, row: list[str]) -> None:
    """400, or left out with a warning; when asked to be strict, 400 in any case."""
    example = row[-1].strip("`")
    assert open_server.get(example, Prefer="handling=strict").status_code == 400
    lenient = open_server.get(example)
    assert lenient.status_code == {"400": 400, "left out": 200}[row[1]]
    if row[1] == "left out":
        bundle = lenient.json()
        assert bundle["entry"][-1]["search"]["mode"] == "outcome"
        assert bundle["entry"][-1]["resource"]["issue"][0]["severity"] == "warning"
        assert "?" not in bundle["link"][0]["url"]


def test_only_what_is_told_is_missing_of_r4(open_server: Caller) -> None:
    """The parameters of R4 that the statement does not list are those of the table."""
    from fhir_server.fhir.definitions import load_definitions

    definitions = load_definitions()
    missing = set()
    for each in open_server.get("metadata").json()["rest"][0]["resource"]:
        listed = {parameter["name"] for parameter in each["searchParam"]}
        missing |= set(definitions.search_parameters(each["type"])) - listed
    assert missing == {"near", "_query"}
