"""The stores on which the leak catalogue is shown: one in the clear, one encrypted at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STORES = ("plain", "encrypted")


def chosen(store: str, folder: Path) -> dict[str, Any]:
    """The settings of a server on such a store, whose files lie in that folder."""
    if store == "plain":
        return {}
    kek = folder / "kek"
    kek.write_text("5" * 64)
    kek.chmod(0o600)
    return {"kek_file": str(kek)}
