"""A copy of a store that is in use, and the way back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from fhir_server.storage.sqlite.database import connect, prepare, private_file

_BUSY: Final = 30.0
_CACHE_KIB: Final = 16 << 10


def back_up(path: str, to: str) -> None:
    """Write one state of the store at `path` to a new file, while it is read and written; not the file of its keys.

    Raises FileExistsError, FileNotFoundError.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(2, "no store", path)
    if os.path.lexists(to):
        raise FileExistsError(17, "is there already", to)
    private_file(to)
    connection = connect(path, writes=True, busy=_BUSY, cache_kib=_CACHE_KIB)
    try:
        connection.execute("VACUUM INTO ?", (to,))
    finally:
        connection.close()


def put_back(copy: str, path: str) -> None:
    """Make a store at `path` of such a copy; nothing may be there. Raises FileExistsError, FileNotFoundError, and what
    opening a store raises for a file that is none."""
    for each in (path, f"{path}-wal", f"{path}-shm"):
        if os.path.lexists(each):
            raise FileExistsError(17, "is there already", each)
    if not Path(copy).is_file():
        raise FileNotFoundError(2, "no copy", copy)
    private_file(path)
    try:
        shutil.copyfile(copy, path)
        connection = connect(path, writes=True, busy=_BUSY, cache_kib=_CACHE_KIB)
        try:
            prepare(connection)
        finally:
            connection.close()
    except BaseException:
        Path(path).unlink()
        raise
