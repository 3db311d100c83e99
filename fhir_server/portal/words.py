"""The sentences of the pages, in French and English, and which of the two a browser is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

import orjson

LANGUAGES: Final = ("fr", "en")
_RANGE: Final = re.compile(r"\s*([A-Za-z]{2,3}|\*)(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*")


@cache
def words(language: str) -> Mapping[str, str]:
    """Every sentence of that language, by its name."""
    found: dict[str, str] = orjson.loads(files("fhir_server.portal").joinpath(f"words.{language}.json").read_bytes())
    return found


def language_of(asked: str, kept: str, accepted: str) -> str:
    """`asked`: of the query, `kept`: of the cookie, `accepted`: the Accept-Language header; French when none helps."""
    for each in (asked, kept):
        if each in LANGUAGES:
            return each
    best, weight = LANGUAGES[0], 0.0
    for part in accepted[:500].split(","):
        found = _RANGE.fullmatch(part)
        if found and found[1].lower() in LANGUAGES and float(found[2] or 1) > weight:
            best, weight = found[1].lower(), float(found[2] or 1)
    return best
