"""Where resources are kept, behind one contract."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fhir_server.storage.cipher import Keks
    from fhir_server.storage.interface import Store

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)


class Disagreement(RuntimeError):
    """Two readers of one predicate disagree about a row; it was not given out."""


def system_clock() -> int:
    """Now, in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def open_store(
    url: str, *, clock: Callable[[], int] = system_clock, keks: Keks | None = None, key_store: str = ""
) -> Store:
    """The store at `sqlite:PATH`, or at a plain path; made when it is not there yet. `clock` gives microseconds.

    `keks`: the store is encrypted, and these wrap its data keys, which are kept in the file `key_store` ("": beside the
    store). Raises ValueError for a scheme without a store, NotOurs or TooNew (storage.sqlite.database) for a file that
    this server cannot use, Refused or WrongKey (storage.sqlite.encryption, storage.cipher) when the keys do not fit.
    """
    path = sqlite_path(url)
    from fhir_server.storage.sqlite.store import SqliteStore

    return SqliteStore(path, clock=clock, keks=keks, key_store=key_store)


def sqlite_path(url: str) -> str:
    """The path of a store in a SQLite file; raises ValueError for any other."""
    found = _SCHEME.fullmatch(url)
    scheme, path = (found[1].lower(), found[2]) if found else ("sqlite", url)
    if scheme != "sqlite":
        raise ValueError(f"no store for the scheme {scheme!r}: give sqlite:PATH or a path")
    if not path:
        raise ValueError("a store needs a path: sqlite:PATH")
    return path
