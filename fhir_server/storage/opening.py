"""The store that the settings name, opened as they say: where it may lie, and with which keys."""

from __future__ import annotations

from collections.abc import Callable

from fhir_server.settings import Settings, secret_at
from fhir_server.storage import open_store, system_clock
from fhir_server.storage.cipher import Keks, LocalKek
from fhir_server.storage.interface import Store
from fhir_server.storage.residency import check_residency


def open_kept(settings: Settings, *, clock: Callable[[], int] = system_clock) -> Store:
    """The store of the settings. Raises ValueError, in words for who runs the server: what `open_store` raises, and for
    a place or a key that does not do."""
    check_residency(settings)
    return open_store(settings.store, clock=clock, keks=keks_of(settings), key_store=settings.key_store)


def keks_of(settings: Settings) -> Keks | None:
    """The keys that encrypt keys, None when there is to be no encryption. Raises ValueError naming the setting."""
    if not settings.kek_file:
        if settings.kek_file_before:
            raise ValueError("FHIR_SERVER_KEK_FILE_BEFORE is set without FHIR_SERVER_KEK_FILE")
        return None
    before = (_kek("kek_file_before", settings.kek_file_before),) if settings.kek_file_before else ()
    return Keks(_kek("kek_file", settings.kek_file), before)


def _kek(name: str, place: str) -> LocalKek:
    return LocalKek(secret_at(name, place))
