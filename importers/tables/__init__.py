"""The fact tables of the importers, one JSON file each with its source, read when first asked for."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def table(name: str) -> dict[str, Any]:
    """The content of `<name>.json`; the caller must not change it."""
    content: dict[str, Any] = json.loads(files(__name__).joinpath(f"{name}.json").read_bytes())
    return content


@cache
def class_of(system: str, code: str) -> str | None:
    """The document class (TRE_A03 code) of a document type, or None for a type outside the association table."""
    classes: dict[str, list[str]] = table("document_classes")["classes"].get(system, {})
    return next((each for each, codes in classes.items() if code in codes), None)


@cache
def format_of(template: str) -> str | None:
    """The XDS formatCode of a document template, or None."""
    formats = table("format_codes")
    known: str | None = formats["templates"].get(template)
    families: dict[str, str] = formats["families"]
    return known or next((code for prefix, code in families.items() if template.startswith(prefix)), None)


@cache
def section_code_of(templates: tuple[str, ...]) -> str | None:
    """The LOINC code that a section of these templates has, or None."""
    codes: dict[str, str] = table("section_codes")["codes"]
    return next((codes[each] for each in templates if each in codes), None)
