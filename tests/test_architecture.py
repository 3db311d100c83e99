"""The tree keeps its shape: imports go one way, modules stay small and say what they are, each library has one door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for top in ("fhir_server", "importers") for path in (ROOT / top).rglob("*.py"))

# A package imports only from those above it, and from itself.
ORDER = (
    "errors",
    "settings",
    "logs",
    "fhir",
    "search",
    "storage",
    "terminology",
    "validation",
    "indexing",
    "auth",
    "consent",
    "context",
    "interactions",
    "record",
    "operations",
    "api",
    "portal",
    "app",
    "serving",
    "demo",
    "cli",
    "__main__",
)
# Library -> the places it may enter by.
DOORS = {
    "argon2": ("fhir_server/auth",),
    "cryptography": (
        "fhir_server/auth",
        "fhir_server/consent/seals.py",
        "fhir_server/search/cursor.py",
        "fhir_server/storage/cipher.py",
    ),
    "fastapi": ("fhir_server/api", "fhir_server/portal"),
    "httpx": ("fhir_server/auth",),
    "jinja2": ("fhir_server/portal",),
    "joserfc": ("fhir_server/auth",),
    "uvicorn": ("fhir_server/cli.py", "fhir_server/serving.py"),
    "orjson": ("fhir_server", "importers"),
    "msgspec": ("fhir_server/fhir", "fhir_server/storage/sqlite"),
    "sqlite3": ("fhir_server/storage/sqlite",),
    "lxml": ("fhir_server/fhir/xml/__init__.py", "importers"),
    "typer": ("fhir_server/cli", "fhir_server/cli.py"),
    "rich": ("fhir_server/cli", "fhir_server/cli.py"),
    "structlog": ("fhir_server",),
}
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "common", "base", "manager", "service", "misc"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{_name(path)} has a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def _rank(path: Path) -> int:
    part = path.relative_to(ROOT / "fhir_server").parts[0].removesuffix(".py")
    return ORDER.index(part)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_every_module_says_in_one_line_what_it_is_and_stays_small(path: Path) -> None:
    """A docstring whose first line is a sentence; at most 400 lines."""
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert docstring.splitlines()[0].strip()
    assert len(text.splitlines()) <= 400
    assert path.stem not in SAYS_NOTHING


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[len(ROOT.parts)] == "fhir_server"], ids=_name)
def test_imports_go_one_way(path: Path) -> None:
    """A module imports from packages above its own only; fhir_server never imports tests or benchmarks."""
    if path == ROOT / "fhir_server" / "__init__.py":
        return
    rank = _rank(path)
    for name in _imports(path):
        parts = name.split(".")
        assert parts[0] not in ("tests", "benchmarks"), name
        if parts[0] == "fhir_server" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= rank, f"{_name(path)} imports {name}"


@pytest.mark.parametrize("path", [path for path in MODULES if path.is_relative_to(ROOT / "importers")], ids=_name)
def test_importers_know_fhir_and_errors_only(path: Path) -> None:
    """Importers are pure: bytes in, data out."""
    for name in _imports(path):
        if name.startswith("fhir_server."):
            assert name.split(".")[1] in ("fhir", "errors"), name


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_each_library_enters_by_its_door(path: Path) -> None:
    """A library is imported in the places that own it."""
    for name in _imports(path):
        doors = DOORS.get(name.split(".")[0])
        assert doors is None or any(_name(path) == door or _name(path).startswith(door + "/") for door in doors), name


def test_the_unrestricted_view_of_the_store_is_for_upkeep_only() -> None:
    """`store.system()` is called by upkeep and by commands, and nowhere on the way of a request (access §4)."""
    allowed = {"fhir_server/cli.py", "fhir_server/app.py"}
    callers = {
        _name(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "system"
    }
    assert {name for name in callers if not name.startswith("fhir_server/cli/")} <= allowed


def test_only_the_consent_engine_asks_whose_record_a_resource_is_in() -> None:
    """`compartment` answers before the predicate is known, so its callers are few and named."""
    allowed = {"fhir_server/consent/narrow.py", "fhir_server/context.py", "fhir_server/interactions/whose.py"}
    callers = {
        _name(path)
        for path in MODULES
        if "storage" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "compartment"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "snapshot"
    }
    assert callers <= allowed
