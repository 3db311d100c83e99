"""All functions of FHIRPath by name, but those that take a type (is, as, ofType) and sort with its signed keys."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path import (
    boundaries,
    combining,
    conversions,
    encodings,
    existence,
    filtering,
    numbers,
    resources,
    strings,
)
from fhir_server.fhir.path.functions import Functions

LIBRARY: Final[Functions] = MappingProxyType(
    {
        **existence.FUNCTIONS,
        **filtering.FUNCTIONS,
        **combining.FUNCTIONS,
        **conversions.FUNCTIONS,
        **strings.FUNCTIONS,
        **encodings.FUNCTIONS,
        **numbers.FUNCTIONS,
        **boundaries.FUNCTIONS,
        **resources.FUNCTIONS,
    }
)
