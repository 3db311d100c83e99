"""The codes that a document shared in France is described by: one outside of its value set is worth a warning (COD-1 to
COD-6, COD-8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson

from fhir_server.errors import Issue

_FORMAT_CODES: Final = frozenset(
    {
        "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "http://ihe.net/fhir/ValueSet/IHE.FormatCode.codesystem",
    }
)
"""Systems of IHE's own format codes, which are taken beside the French ones (COD-3)."""

_PLACES: Final = {
    "type": "type",
    "category": "category",
    "format": "content.format",
    "practiceSetting": "context.practiceSetting",
    "facilityType": "context.facilityType",
}


@cache
def document_codes() -> Mapping[str, frozenset[tuple[str, str]]]:
    """Element → its value set, as (system, code)."""
    table = orjson.loads(files("terminologies").joinpath("fr", "document-codes.json").read_bytes())
    return {
        element: frozenset((system, code) for system, codes in each["codes"].items() for code in codes)
        for element, each in table.items()
    }


def unknown_codes(document: Mapping[str, Any]) -> Iterator[Issue]:
    """A warning for each coded element of a DocumentReference that has no code of its value set."""
    for element, place in _PLACES.items():
        for value in _at(document, place.split(".")):
            if not any(_is_known(element, each) for each in value.get("coding", (value,))):
                text = "The code is not one of the value set that is preferred here."
                yield Issue("code-invalid", text, f"DocumentReference.{place}", "warning")


def _is_known(element: str, coding: Mapping[str, Any]) -> bool:
    system, code = coding.get("system", ""), coding.get("code", "")
    return (system, code) in document_codes()[element] or (element == "format" and system in _FORMAT_CODES)


def _at(value: Any, path: list[str]) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _at(each, path)
    elif isinstance(value, Mapping):
        if path:
            yield from _at(value.get(path[0]), path[1:])
        else:
            yield value
