"""What a reference says of its target beside its id: between the resources of records that is not kept (access §3.1).

A display may name what is hidden from the next reader; the id that stays says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir_server.consent.compartment import Said
from fhir_server.consent.keys import link_of
from fhir_server.consent.kinds import kind_of

_SAID: Final = ("display", "_display", "identifier", "_identifier")


def without_displays(resource: Mapping[str, Any], said: Said, *, base: str = "") -> dict[str, Any]:
    """The members of a resource that change when its references to record resources other than Patient say no more than
    where they lead; empty when none does. `said`: what is said in it; `base`: the FHIR base url of this server.

    A Bundle is kept as it was sent, or its signature would no longer hold: it is seen only where all it points to is.
    """
    if resource.get("resourceType") == "Bundle" or not any(_names_record(each, base) for each in said.references):
        return {}
    bare = {name: _bare(each, base) for name, each in resource.items() if isinstance(each, (dict, list))}
    return {name: each for name, each in bare.items() if each is not resource[name]}


def _bare(value: Any, base: str) -> Any:
    """The value without what its references say; the value itself when they say nothing."""
    if isinstance(value, list):
        items = [_bare(each, base) if isinstance(each, (dict, list)) else each for each in value]
        return value if all(one is other for one, other in zip(items, value, strict=True)) else items
    changed = {}
    for name, each in value.items():
        if isinstance(each, (dict, list)):
            bare = _bare(each, base)
            if bare is not each:
                changed[name] = bare
    whole = {**value, **changed} if changed else value
    if not _names_record(value, base):
        return whole
    return {name: each for name, each in whole.items() if name not in _SAID}


def _names_record(value: Mapping[str, Any], base: str) -> bool:
    """Whether it is a Reference that leads to a resource of a record, and says more of it."""
    if "reference" not in value or not any(name in value for name in _SAID):
        return False
    type_ = (link_of(value["reference"], base) or "").partition("/")[0]
    return type_ not in ("", "Patient") and kind_of(type_) == "record"
