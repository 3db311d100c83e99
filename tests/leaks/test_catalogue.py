"""Nothing of the leak catalogue and of the invariants is without a test."""

from __future__ import annotations

import re
from pathlib import Path

from tests.leaks.catalogue import IDS, checks

HERE = Path(__file__).parent
ROW = re.compile(r"^\| (I[0-9]+) \| .* \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[a-z_/]+\.py)::(\w+)`")


def test_every_attack_of_the_catalogue_has_a_test() -> None:
    """L01 to L72 and A01 to A20; and no test claims another id."""
    assert {id for id, _ in checks()} == IDS


def test_every_invariant_names_the_tests_that_show_it() -> None:
    """I1 to I20, in tests/leaks/README.md; each test that is named there exists."""
    table = dict(ROW.findall((HERE / "README.md").read_text()))
    assert table.keys() == {f"I{n}" for n in range(1, 21)}
    for invariant, cell in table.items():
        named = TEST.findall(cell)
        assert named, invariant
        for path, name in named:
            assert f"def {name}(" in (HERE.parent.parent / path).read_text(), (invariant, name)
