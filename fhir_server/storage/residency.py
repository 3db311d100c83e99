"""Where data may lie: a store elsewhere is not opened (spec access §9)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fhir_server.settings import Settings

_FILE: Final = re.compile(r"sqlite:(.*)", re.IGNORECASE | re.DOTALL)
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Elsewhere(ValueError):
    """The settings put data where the settings do not allow it."""


def check_residency(settings: Settings) -> None:
    """Raise Elsewhere unless the store, and the file of its keys, are where `store_locations` allows."""
    allowed = settings.store_locations.split()
    if not allowed:
        if settings.data_region:
            raise Elsewhere(
                "FHIR_SERVER_DATA_REGION is set: FHIR_SERVER_STORE_LOCATIONS must say which folders or hosts lie in it"
            )
        return
    for name, place in (("store", settings.store), ("key_store", settings.key_store)):
        if place and not _lies_in(place, allowed):
            region = f" ({settings.data_region})" if settings.data_region else ""
            raise Elsewhere(
                f"FHIR_SERVER_{name.upper()} is not in a place that FHIR_SERVER_STORE_LOCATIONS{region} names"
            )


def _lies_in(place: str, allowed: list[str]) -> bool:
    if _URL.match(place):
        return all(host in allowed for host in _hosts(place))
    found = _FILE.fullmatch(place)
    # Where it really lies: neither `..` nor a link leads out.
    path = Path(found[1] if found else place).resolve()
    return any(path.is_relative_to(Path(each).resolve()) for each in allowed if not _URL.match(each))


def _hosts(url: str) -> list[str]:
    """The hosts of a url, which may name several (`mongodb://a:1,b:2/db`)."""
    network = urlsplit(url).netloc.rpartition("@")[2]
    return [each.rpartition(":")[0] if re.search(r":\d+$", each) else each for each in network.split(",")]
