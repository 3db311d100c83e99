"""The operations that are offered, by level, type and name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fhir_server.context import Interaction
from fhir_server.operations import (
    access_log,
    attest_consent,
    declare_emergency,
    everything,
    explain_access,
    import_document,
    review_emergencies,
    xdm,
)

OPERATIONS: Final[Mapping[str, Interaction]] = MappingProxyType(
    {
        "system $import-document": import_document.run,
        "system $review-emergencies": review_emergencies.run,
        "type Patient $everything": everything.of_type,
        "instance Patient $everything": everything.of_instance,
        "instance Patient $access-log": access_log.run,
        "instance Patient $attest-consent": attest_consent.run,
        "instance Patient $declare-emergency": declare_emergency.run,
        "type DocumentReference $xdm": xdm.of_type,
        "instance DocumentReference $xdm": xdm.of_instance,
        "instance * $explain-access": explain_access.run,
    }
)
