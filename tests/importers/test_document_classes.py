"""The class that an imported document is given is the class that access to it is decided by."""

from __future__ import annotations

from fhir_server.consent.categories import tables
from importers.tables import table


def test_the_importer_and_the_access_rules_classify_alike() -> None:
    """Every type of the importer's table has the same class in that of the access rules."""
    classes = tables().classes
    own = {
        code: number
        for by_class in table("document_classes")["classes"].values()
        for number, codes in by_class.items()
        for code in codes
    }
    assert own
    assert {code: classes.get(code) for code in own} == own
