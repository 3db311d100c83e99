"""The modifiers `:in` and `:not-in`: codes of value sets, as far as R4 itself lists their codes."""

from __future__ import annotations

from typing import Final

from fhir_server.fhir.definitions import Definitions
from fhir_server.search.kinds.asked import Asked, unescape
from fhir_server.search.predicate import Predicate, TokenIs, disj

# Codes of one value set that a question is made of.
_MOST: Final = 500


def where(definitions: Definitions, asked: Asked, text: str) -> Predicate:
    """A code of the value set with that canonical. Malformed for a value set whose codes this server does not know."""
    systems = definitions.codes(unescape(text))
    if systems is None:
        raise asked.malformed("The codes of this value set are not known to this server.")
    bare = "code" in asked.types
    # An element of type code says no system.
    if bare and None in systems.values():
        raise asked.malformed("The codes of this value set are not listed.")
    wanted = [
        ("" if bare else system, code)
        for system, codes in sorted(systems.items())
        for code in (sorted(codes) if codes is not None else (None,))
    ]
    if len(wanted) > _MOST:
        raise asked.malformed("This value set has too many codes.")
    return disj(*(TokenIs(asked.param, system, code) for system, code in wanted))
