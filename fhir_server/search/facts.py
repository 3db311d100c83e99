"""The security facts of one resource version: what the consent predicate is decided on.

They are computed by the server when a resource is written (`consent/facts.py`) and stored beside it; what a client
says about itself in `meta.security` is input to that computation, never authority.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MASQUE_PS: Final = 1
INVISIBLE_PATIENT: Final = 2
INVISIBLE_REPRESENTANTS_LEGAUX: Final = 4
MASQUE_PSOCIAL: Final = 8
MASQUE_PT: Final = 16
MASKED_BY_HOLDER: Final = 32
"""Beside a mask: the patient or a representative set it, so that no professional takes it away (DOC-23). No label."""

SINGLE: Final = frozenset({"rtype", "id", "kind", "patient", "type_code", "class_code", "lineage"})
MULTI: Final = frozenset({"labels", "authors", "participants"})
TIMES: Final = frozenset({"data_time", "deposited_at", "release_at"})


@dataclass(frozen=True, slots=True)
class Facts:
    """Security facts (spec access §3.1). Times are microseconds since 1970-01-01T00:00:00Z.

    `kind`: "record" (belongs to a patient), "public" (directory, terminology, definitions) or "server" (nobody's).
    `patient`: the id of the one Patient whose record this is; a Patient is its own; None for public and server rows.
    `vis`: the visibility bits above. `labels`: PSY, ETH, SDV, HIV. `authors` and `participants`: keys such as
    `rpps:99900000011`, `org:1…`, `Patient/…`. `lineage`: "Type/id" of the first of a chain of replacements, itself
    when it replaces nothing. `links`: every resource of this server that it points to, as "Type/id", attachment
    urls included.
    """

    rtype: str
    id: str
    kind: str
    patient: str | None = None
    type_code: str | None = None
    class_code: str | None = None
    vis: int = 0
    labels: frozenset[str] = field(default_factory=frozenset)
    authors: frozenset[str] = field(default_factory=frozenset)
    participants: frozenset[str] = field(default_factory=frozenset)
    data_time: int | None = None
    deposited_at: int = 0
    release_at: int | None = None
    lineage: str = ""
    links: frozenset[str] = field(default_factory=frozenset)
