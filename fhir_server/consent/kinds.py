"""The resource types by what the access decision makes of them: whose they are, who writes them (access §3.1, §3.3).

The lists are data, in `terminologies/access/types.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fhir_server.consent.categories import read_table


@dataclass(frozen=True, slots=True)
class Types:
    """`public`: anyone's; `shared`: public unless they name a patient; `server`: nobody's. `carriers`: as visible as
    all they point to; `identity`: outside the habilitation matrix; `participants`: for those who take part in them;
    `confidential`: for the holder and representatives; `written_by`: lists by writer."""

    public: frozenset[str]
    shared: frozenset[str]
    server: frozenset[str]
    carriers: frozenset[str]
    identity: frozenset[str]
    participants: frozenset[str]
    confidential: frozenset[str]
    written_by: Mapping[str, frozenset[str]]

    @property
    def linked(self) -> frozenset[str]:
        """The types that are judged by other resources: carriers by what they point to, content by its documents."""
        return self.carriers | {"Binary"}


@cache
def types() -> Types:
    """The packaged lists."""
    table = read_table("types")
    sets = {name: frozenset(table[name]) for name in Types.__dataclass_fields__ if name != "written_by"}
    return Types(**sets, written_by={name: frozenset(each) for name, each in table["written_by"].items()})


def kind_of(type: str) -> str:
    """What a resource of that type is when it names no patient: "public", "server", or "record", which wants one."""
    if type in types().public or type in types().shared:
        return "public"
    return "server" if type in types().server else "record"


def may_have_patient(type: str) -> bool:
    """Whether a resource of that type can be in a patient's record."""
    return type not in types().public and type not in types().server
