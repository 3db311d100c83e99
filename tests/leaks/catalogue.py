"""The ids of the leak catalogue (spec access §8), and the tests that are marked with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

IDS = frozenset({*(f"L{n:02}" for n in range(1, 73)), *(f"A{n:02}" for n in range(1, 21))})

Check = Callable[..., None]


def checks() -> Iterator[tuple[str, Check]]:
    """Every test of this folder that is marked with an id, under each of its ids."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = import_module(f"tests.leaks.{path.stem}")
        for name, each in vars(module).items():
            if name.startswith("test_") and getattr(each, "__module__", "") == module.__name__:
                for mark in getattr(each, "pytestmark", ()):
                    if mark.name == "leak":
                        yield from ((id, each) for id in mark.args)


def calls(check: Check) -> Iterator[dict[str, Any]]:
    """The parameters that a test is run with, beside its fixtures: one dict a run."""
    tables = [mark for mark in getattr(check, "pytestmark", ()) if mark.name == "parametrize"]
    for rows in product(*(mark.args[1] for mark in tables)):
        given: dict[str, Any] = {}
        for mark, row in zip(tables, rows, strict=True):
            names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
            given |= dict(zip(names, [row] if len(names) == 1 else row, strict=True))
        yield given
