"""An outside identity that has proved itself and is bound to no account yet, kept until its code is given."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import orjson

from fhir_server.auth.federation import Identity
from fhir_server.portal.parts import Parts, Told
from fhir_server.portal.visit import Visit

_KIND: Final = "newcomer"
_PATIENCE: Final = 600_000_000


async def remember(parts: Parts, visit: Visit, identity: Identity) -> None:
    """Keep it for ten minutes, for this browser; no trait of the person is kept."""
    kept = {
        "provider": identity.provider,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "acr": identity.acr,
        "expires": identity.expires,
    }
    await parts.ledger.put(_KIND, _name(visit), orjson.dumps(kept), expires=parts.now() + _PATIENCE)


async def remembered(parts: Parts, visit: Visit) -> Identity:
    """The one of this browser. Raises Told when there is none."""
    kept = await parts.ledger.get(_KIND, _name(visit), now=parts.now())
    if kept is None:
        raise Told("fault_login", 400)
    return Identity(**orjson.loads(kept), claims={})


def _name(visit: Visit) -> str:
    return sha256(visit.cookie.encode()).hexdigest()
