"""The documentation says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from fhir_server.interactions.router import offered
from fhir_server.operations.registry import OPERATIONS
from fhir_server.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
API = ROOT / "docs" / "api"


def test_every_setting_is_documented_with_its_default_and_its_sentence() -> None:
    """docs/settings.md lists the settings of the code, in their order, and no others."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "docs/settings.md").read_text("utf-8"), re.M)
    expected = [
        (PREFIX + each.name.upper(), f"`{each.default}`" if each.default != "" else "empty", each.metadata["sentence"])
        for each in fields(Settings)
    ]
    assert rows == expected


def test_every_link_between_the_documents_leads_somewhere() -> None:
    """Relative links of README, CONTRIBUTING and docs exist."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short_and_gives_its_two_commands_early() -> None:
    """Under 120 lines; `make run` within the first 12."""
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) < 120
    assert any("make run" in line for line in lines[:12])


def test_the_overview_of_the_interface_leads_to_each_of_its_pages() -> None:
    """A page that nothing leads to is read by nobody."""
    overview = (API / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)", overview))
    assert linked == {page.name for page in API.glob("*.md")} - {"README.md"}


@pytest.mark.parametrize(("method", "shape"), sorted(offered()))
def test_every_interaction_has_its_request_on_a_page(method: str, shape: str) -> None:
    """As its first line stands in HTTP, to be copied: `GET /fhir/TYPE/ID`."""
    parts = {"T": r"(?:TYPE|[A-Z]\w+)", "i": "ID", "v": r"\d+", "*": r"\*"}
    path = "".join(f"/{parts.get(part, part)}" for part in shape.split("/") if part)
    request = re.compile(rf"\b{method} +/fhir{path}(?=[\s?`,]|$)", re.M)
    assert any(request.search(page.read_text("utf-8")) for page in API.glob("*.md")), request.pattern


@pytest.mark.parametrize("operation", sorted({name.rpartition(" ")[2] for name in OPERATIONS}))
def test_every_operation_has_its_page(operation: str) -> None:
    """Named with its dollar."""
    assert any(operation in page.read_text("utf-8") for page in API.glob("*.md"))


def test_every_make_target_is_listed_by_help() -> None:
    """`make help` shows what `.PHONY` declares."""
    text = (ROOT / "Makefile").read_text("utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", text, re.M)
    assert declared
    listed = set(re.findall(r"^([a-z-]+):.*##", text, re.M))
    assert set(declared[1].split()) == listed
