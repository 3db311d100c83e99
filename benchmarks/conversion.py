"""How long a CDA document takes to convert, beside the time lxml takes to parse the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Final

from lxml import etree

from importers.cda.document import convert, read

REAL: Final = Path(__file__).parent.parent.parent / "shared" / "data" / "cda" / "fr"
_ROUNDS: Final = 7


def documents() -> list[bytes]:
    """French documents: the real ones beside the project, the demonstration's where they are not."""
    real = [path.read_bytes() for path in sorted(REAL.rglob("*.xml"))] if REAL.is_dir() else []
    folder = files("fhir_server").joinpath("demo", "documents")
    found = real or [each.read_bytes() for each in folder.iterdir() if each.name.endswith(".xml")]
    return [each for each in found if _converts(each)]


def factor(bodies: list[bytes]) -> dict[str, float]:
    """Median over rounds that take turns: conversion as a multiple of parsing, and milliseconds a document."""
    parse, whole = [], []
    for _ in range(_ROUNDS):
        parse.append(_timed(bodies, _parse))
        whole.append(_timed(bodies, _convert))
    ratios = [one / other for one, other in zip(whole, parse, strict=True)]
    return {
        "CDA convert / lxml parse": median(ratios),
        "CDA convert ms": 1000 * median(whole) / len(bodies),
        "CDA documents": len(bodies),
    }


def _timed(bodies: list[bytes], act: Callable[[bytes], object]) -> float:
    begun = time.process_time()
    for each in bodies:
        act(each)
    return time.process_time() - begun


def _parse(body: bytes) -> object:
    return etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))


def _convert(body: bytes) -> object:
    return convert(read(body), subject="Patient/x", imported_at=datetime(2026, 1, 1, tzinfo=UTC)).resources


def _converts(body: bytes) -> bool:
    """What is refused is refused early, and would make the mean look good."""
    try:
        _convert(body)
    except Exception:
        # Whatever the reason: it is not measured.
        return False
    return True
