"""fhir-kit-client (npm) drives the guarded server, where node is there and `make clients` has fetched the package."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, House

PACKAGE = ROOT / ".cache" / "clients" / "node_modules" / "fhir-kit-client"
STORY = Path(__file__).with_name("fhir_kit_client.mjs")


def test_it_goes_through_every_interaction(house: House) -> None:
    """From create to delete: If-Match, JSON Patch, history, transaction, a search over pages, $everything."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not PACKAGE.is_dir():
        pytest.skip("fhir-kit-client is not fetched: `make clients`")
    entry = PACKAGE / json.loads((PACKAGE / "package.json").read_text())["exports"]["."]["import"]
    arguments = [entry.as_uri(), house.base, house.medecin_traitant.token, house.cast["patient"]]
    done = subprocess.run([node, STORY, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "fhirVersion": "4.0.1",
        "created": "1",
        "read": 91.5,
        "updated": "2",
        "outdated": 412,
        "patched": "corrected",
        "vread": "final",
        "history": ["corrected", "amended", "final"],
        "transaction": ["201"] * 5,
        "values": [91, 92, 93, 94, 95],
        "included": ["Patient"],
        "everything": "Patient",
        "gone": 410,
    }
