"""How long a CDA document takes to convert, beside what lxml takes to parse it, and how many are stored a second."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Final

from lxml import etree

from fhir_server.app import services
from fhir_server.record.files import places_in
from fhir_server.record.migration import Migration, migrate
from fhir_server.record.pushed import REJECTED
from fhir_server.record.readers import readers
from fhir_server.settings import Settings
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
        "CDA documents converted": len(bodies) / median(whole),
        "CDA documents": len(bodies),
    }


def stored(bodies: list[bytes], folder: Path) -> dict[str, float]:
    """Documents a second from files into a record, with all they become, index, access log and Provenance; several
    processes convert, one writes. Each document counts that is in the record at the end."""
    inbox = folder / "documents"
    inbox.mkdir()
    for number, body in enumerate(bodies):
        inbox.joinpath(f"{number:04}.xml").write_bytes(body)
    return asyncio.run(_stored(inbox, folder / "documents.db"))


async def _stored(inbox: Path, store: Path) -> dict[str, float]:
    jobs = os.cpu_count() or 1
    async with services(Settings(store=f"sqlite:{store}")) as parts:
        with readers(jobs) as executor:
            if executor:
                # That the processes are there is no part of what is measured.
                list(executor.map(_convert, [documents()[0]] * jobs))
            begun, cpu, count = time.perf_counter(), time.process_time(), 0
            async for each in migrate(parts, places_in([inbox]), Migration(), executor=executor, jobs=jobs):
                count += sum(one.status != REJECTED for one in each.documents)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        counts = await parts.store.system().counts()
    return {
        "CDA documents stored": count / seconds,
        "CDA store ms of CPU": 1000 * cpu / count,
        "CDA resources a document": sum(counts.values()) / count,
    }


def _timed(bodies: list[bytes], act: Callable[[bytes], object]) -> float:
    begun = time.process_time()
    for each in bodies:
        act(each)
    return time.process_time() - begun


def _parse(body: bytes) -> object:
    return etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))


def _convert(body: bytes) -> object:
    return convert(read(body), subject="Patient/x", imported_at=datetime(2026, 1, 1, tzinfo=UTC))


def _converts(body: bytes) -> bool:
    """What is refused is refused early, and would make the mean look good."""
    try:
        _convert(body)
    except Exception:
        # Whatever the reason: it is not measured.
        return False
    return True
