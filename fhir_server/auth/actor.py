"""Who is calling: the frozen facts of one access token. Headers never contribute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ROLES: Final = ("patient", "rep", "ps", "lgc", "app", "ncp", "admin", "open")


@dataclass(frozen=True, slots=True)
class Actor:
    """One caller (spec access §1, §3.2).

    `role`: patient, rep (legal representative), ps (professional, also an LGC acting for one), lgc (software alone),
    app (third-party application), ncp (EU gateway), admin; "open" is the server run without authorization.
    `reference`: the person or software as "Practitioner/…", "Patient/…", "RelatedPerson/…", "Device/…".
    `keys`: everything this caller can be named by: `rpps:…`, `org:…` (FINESS or IdNat_Struct value), `client:…`,
    `country:DE`, and its own references ("Practitioner/…", "PractitionerRole/…", "Organization/…").
    `patients`: the records a patient, representative or app token is bound to. `authoriser`: for an app, the role
    ("patient" or "rep") of the person who let it in, `authoriser_key` that person's reference.
    `profession`: TRE_G15 code. `mode`: normal, bris_de_glace, centre_15. `client`, `software`: the calling program.
    `jti`: names the token in the audit; it opens nothing. `session`: the login or grant that the token comes from.
    `openings`: what was declared in that session and opens one record for a time, each as `regime|patient|until`, with
    the regime consult, bris_de_glace or centre_15 and `until` in microseconds since 1970 UTC (exclusive).
    `asserted`: what an EU gateway says of the professional and the provider it asks for, each as `part.name=value`.
    `scopes`: SMART scopes, empty = all that the role may do.
    """

    role: str
    reference: str
    name: str
    jti: str
    keys: frozenset[str] = frozenset()
    patients: tuple[str, ...] = ()
    authoriser: str = ""
    authoriser_key: str = ""
    profession: str = ""
    specialty: str = ""
    structure: str = ""
    structure_name: str = ""
    sector: str = ""
    client: str = ""
    software: str = ""
    country: str = ""
    mode: str = "normal"
    purpose: str = "TREAT"
    secret: bool = False
    acr: str = ""
    scopes: tuple[str, ...] = ()
    session: str = ""
    openings: tuple[str, ...] = ()
    asserted: tuple[str, ...] = ()
    expires: int = 0

    def __hash__(self) -> int:
        # Callers are looked up at every request: the name of the token tells nearly all of them apart.
        return hash((self.jti, self.reference))
