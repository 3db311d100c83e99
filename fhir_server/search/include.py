"""`_include` and `_revinclude` (https://hl7.org/fhir/R4/search.html#revinclude)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_server.search.criteria import Unknown
from fhir_server.search.kinds.asked import malformed
from fhir_server.search.query import Include
from fhir_server.search.registry import SearchRegistry

NAMES: Final = ("_include", "_include:iterate", "_revinclude", "_revinclude:iterate")

_EXPECTED: Final = "Type:reference, Type:reference:Type, Type:* or * is expected, as in Observation:subject."


def include(registry: SearchRegistry, types: Sequence[str], name: str, value: str) -> Include:
    """What one of them asks for, in a search of `types`.

    Raises Unknown for a parameter that the type does not have, Malformed for what cannot be read or followed.
    """
    base, _, modifier = name.partition(":")
    reverse, iterate = base == "_revinclude", modifier == "iterate"
    if value == "*" and not reverse:
        return Include("*", "*", iterate=iterate)
    source, _, rest = value.partition(":")
    param, _, target = rest.partition(":")
    known = registry.resource_types
    if source not in known or not param or (target and target not in known):
        raise malformed(name, _EXPECTED)
    if param != "*":
        param = _reference(registry, source, param, target, name)
    elif target:
        raise malformed(name, _EXPECTED)
    return Include(source, param, target, reverse, iterate)


def _reference(registry: SearchRegistry, source: str, param: str, target: str, name: str) -> str:
    """The code of the parameter, which must lead to resources."""
    parameter = registry.find(source, param)
    if parameter is None or not parameter.built:
        raise Unknown("The parameter to include by is not known")
    if not parameter.leads:
        raise malformed(name, "The parameter to include by must be a reference to resources.")
    if target and parameter.targets and target not in parameter.targets:
        raise malformed(name, "The parameter to include by does not lead to that type.")
    return parameter.code
