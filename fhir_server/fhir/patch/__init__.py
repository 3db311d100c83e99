"""The three languages of PATCH (https://hl7.org/fhir/R4/http.html#patch), each a function from bytes to bytes.

`apply(body, patch, definitions)` takes a resource in JSON as it is stored and gives the resource as it is to be. It
raises Malformed for a patch that is none, Invalid for one that cannot be applied to this resource; neither repeats what
stands in the resource.
"""

from __future__ import annotations

from typing import Final

from fhir_server.errors import Invalid, Issue

MOST_OPERATIONS: Final = 1_000
"""How many operations one patch may have."""


def inapplicable(text: str, place: str) -> Invalid:
    """A patch that is well made and does not fit the resource: 422, as RFC 5789 §2.2 has it."""
    return Invalid(issues=[Issue("processing", text, place)])
