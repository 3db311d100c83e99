"""Make `document-codes.json` from the value sets of the Agence du numérique en santé, as its packages carry them.

    python terminologies/fr/compile.py pdsm-combined.tgz > terminologies/fr/document-codes.json

The same package gives the same bytes.
"""

from __future__ import annotations

import json
import sys
import tarfile
from typing import Any

SETS = {
    "type": "JDV-J07-XdsTypeCode-CISIS",
    "category": "JDV-J06-XdsClassCode-CISIS",
    "format": "JDV-J10-XdsFormatCode-CISIS",
    "practiceSetting": "JDV-J04-XdsPracticeSettingCode-CISIS",
    "facilityType": "JDV-J02-XdsHealthcareFacilityTypeCode-CISIS",
    "designationType": "JDV-J03-XdsContentTypeCode-CISIS",
}
"""Element of a document, or of a submission set → the value set it is coded by."""


def compiled(package: str) -> dict[str, Any]:
    """Each set with its canonical, version, OID, and its codes by system."""
    with tarfile.open(package) as archive:
        return {element: _set(archive, name) for element, name in SETS.items()}


def _set(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    member = archive.extractfile(f"package/ValueSet-{name}.json")
    assert member is not None
    published = json.load(member)
    codes: dict[str, list[str]] = {}
    for part in published["compose"]["include"]:
        codes.setdefault(part["system"], []).extend(each["code"] for each in part["concept"])
    oid = next(each["value"].removeprefix("urn:oid:") for each in published["identifier"])
    codes = {system: sorted(each) for system, each in codes.items()}
    return {"valueSet": published["url"], "version": published["version"], "oid": oid, "codes": codes}


if __name__ == "__main__":
    print(json.dumps(compiled(sys.argv[1]), ensure_ascii=False, indent=1))
