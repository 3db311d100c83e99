"""The documentation says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from fhir_server.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent


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


def test_every_make_target_is_listed_by_help() -> None:
    """`make help` shows what `.PHONY` declares."""
    text = (ROOT / "Makefile").read_text("utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", text, re.M)
    assert declared
    listed = set(re.findall(r"^([a-z-]+):.*##", text, re.M))
    assert set(declared[1].split()) == listed
