"""The operations that are offered, by level, type and name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fhir_server.context import Interaction
from fhir_server.operations import everything, import_document

OPERATIONS: Final[Mapping[str, Interaction]] = MappingProxyType(
    {
        "system $import-document": import_document.run,
        "type Patient $everything": everything.of_type,
        "instance Patient $everything": everything.of_instance,
    }
)
