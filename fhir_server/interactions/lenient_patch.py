"""JSON Patches as samples of the French guides write them, made into ones of RFC 6902 (DOC-22).

`/extension[url:'…']/valueBoolean` for the extension of that url, blanks around codes, "true" for true.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from fhir_server.errors import Issue

_EXTENSION: Final = re.compile(r"/extension\[\s*url\s*[:=]\s*['\"]([^'\"]+)['\"]\s*\]/(value[A-Z]\w*)")
_BOOLEANS: Final = {"true": True, "false": False}
_CODES: Final = frozenset({"status", "code", "system"})


def mend(patch: bytes, resource: bytes) -> tuple[bytes, list[Issue]]:
    """The patch as RFC 6902 has it, and a warning for each operation that was not; the same bytes when none was.

    What is no list of operations is left to be refused.
    """
    operations = _read(patch)
    if not isinstance(operations, list):
        return patch, []
    mended = [_mended(each, resource) if isinstance(each, dict) else each for each in operations]
    text = "This is not RFC 6902, and was read as one of the guides' samples."
    changed = [index for index, each in enumerate(operations) if mended[index] != each]
    if not changed:
        return patch, []
    return orjson.dumps(mended), [Issue("value", text, f"patch[{index}]", "warning") for index in changed]


def _read(patch: bytes) -> Any:
    try:
        return orjson.loads(patch)
    except orjson.JSONDecodeError:
        return None


def _mended(operation: dict[str, Any], resource: bytes) -> dict[str, Any]:
    path = operation.get("path")
    found = _EXTENSION.fullmatch(path.strip()) if isinstance(path, str) else None
    if found:
        return _on_extension(operation, found[1], found[2], resource)
    if not isinstance(path, str) or "value" not in operation:
        return operation
    name = path.strip().rpartition("/")[2]
    return {**operation, "path": path.strip(), "value": _trimmed(name, operation["value"])}


def _on_extension(operation: dict[str, Any], url: str, name: str, resource: bytes) -> dict[str, Any]:
    """The operation on the extension of that url, where there is one; else it is added with its value."""
    extensions = orjson.loads(resource).get("extension", [])
    index = next((index for index, each in enumerate(extensions) if each.get("url") == url), None)
    value = _trimmed(name, operation.get("value"))
    if operation.get("op") not in ("add", "replace"):
        where = f"/extension/{index}" if index is not None else operation["path"]
        where += f"/{name}" if index is not None and operation.get("op") != "remove" else ""
        return {**operation, "path": where, **({"value": value} if "value" in operation else {})}
    if index is not None:
        return {**operation, "op": "add", "path": f"/extension/{index}/{name}", "value": value}
    added = {"url": url, name: value}
    if extensions:
        return {"op": "add", "path": "/extension/-", "value": added}
    return {"op": "add", "path": "/extension", "value": [added]}


def _trimmed(name: str, value: Any) -> Any:
    """A value without blanks around its codes, and a boolean that is written as text as one."""
    if isinstance(value, dict):
        return {key: _trimmed(key, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_trimmed(name, each) for each in value]
    if not isinstance(value, str):
        return value
    if name == "valueBoolean":
        return _BOOLEANS.get(value.strip(), value)
    return value.strip() if name in _CODES else value
