"""The way of a person from an application's request to its answer: log in, choose, consent; each stop only if needed.

What was settled on the way is kept beside the request, bound to the login that settled it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Final

import orjson
from fastapi import Response

from fhir_server.api.acts import note
from fhir_server.auth.actor import Actor
from fhir_server.auth.authorize import AuthorizationRequest, approve, deny, pending
from fhir_server.auth.sessions import Session
from fhir_server.errors import Forbidden
from fhir_server.portal.pages import away
from fhir_server.portal.parts import Parts, Told
from fhir_server.portal.visit import Visit

_KIND: Final = "journey"
_PATIENCE: Final = 600_000_000
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Journey:
    """One request on its way. `session`: the login it belongs to; `place`: which of its actors the person is for this
    request; `patient`: the record chosen, `label`: as the person was shown it."""

    id: str
    request: AuthorizationRequest
    session: str = ""
    place: int = -1
    patient: str = ""
    label: str = ""

    def actor(self, session: Session) -> Actor:
        """As whom the person answers this request."""
        actor = session.actor or session.actors[max(self.place, 0)]
        return session.actors[self.place] if self.place >= 0 and not session.professional else actor

    @property
    def query(self) -> dict[str, str]:
        """What leads from one page to the next."""
        return {"request": self.id}


async def journey(parts: Parts, visit: Visit) -> Journey:
    """The one that the visit is about. Raises Told when the request is not waiting any more."""
    id_ = visit.asked("request")
    request = await pending(parts.ledger, id_, now=parts.now()) if id_ else None
    if request is None:
        raise Told("fault_expired", 400)
    kept = await parts.ledger.get(_KIND, _name(id_), now=parts.now())
    known: Mapping[str, str | int] = orjson.loads(kept) if kept else {}
    if not visit.session or known.get("session") != visit.session.id:
        return Journey(id_, request, patient=request.patient)
    return Journey(id_, request, **known)  # type: ignore[arg-type]


async def keep(parts: Parts, journey: Journey) -> Journey:
    """Remember what was settled."""
    kept = {name: value for name, value in asdict(journey).items() if name not in ("id", "request")}
    await parts.ledger.put(_KIND, _name(journey.id), orjson.dumps(kept), expires=parts.now() + _PATIENCE)
    return journey


async def arrive(parts: Parts, journey: Journey, session: Session) -> Journey:
    """The person has just logged in for this request."""
    return await keep(parts, replace(journey, session=session.id))


async def onward(parts: Parts, visit: Visit) -> Response:
    """The next stop: a page, or the application."""
    given = await journey(parts, visit)
    request, session = given.request, visit.session
    silent = "none" in request.prompt
    if session is None or _again(given, session, parts.now()):
        return await _stop(parts, visit, given, "/login", silent, "login_required")
    if session.professional and session.actor is None:
        return await _stop(parts, visit, given, "/login/exercice", silent, "interaction_required")
    if given.session != session.id:
        given = await arrive(parts, given, session)
    given = await _evident(parts, given, session)
    if given.actor(session).role not in ("patient", "rep", "ps"):
        return away(visit, await deny(parts.ledger, given.id))
    if request.needs_patient and not given.patient:
        return await _stop(parts, visit, given, "/authorize/patient", silent, "interaction_required")
    if request.first_party:
        return await let_in(parts, visit, given, request.scopes)
    return await _stop(parts, visit, given, "/authorize/consent", silent, "consent_required")


def settled(visit: Visit, journey: Journey) -> bool:
    """Whether it is settled who decides: the request is this login's own, and a professional has chosen an exercice."""
    session = visit.session
    if session is None or journey.session != session.id:
        return False
    return session.actor is not None or not session.professional


async def decided(parts: Parts, journey: Journey, actor: Actor, answer: str) -> None:
    """Write into the access log what the person answered the application: `grant` or `deny` (access §6)."""
    by = replace(actor, client=journey.request.client, software=journey.request.client_name)
    refused = Forbidden() if answer == "deny" else None
    await note(parts.services, by, answer, type="Consent", patient=journey.patient, refused=refused)


async def let_in(parts: Parts, visit: Visit, journey: Journey, scopes: tuple[str, ...]) -> Response:
    """Answer the application yes."""
    assert visit.session is not None
    url = await approve(
        parts.ledger,
        journey.id,
        journey.actor(visit.session),
        patient=journey.patient,
        scopes=scopes,
        auth_time=visit.session.since,
        account=visit.session.account,
        now=parts.now(),
    )
    # Not before: what is refused, such as a launch that was somebody else's, was granted to nobody.
    await decided(parts, journey, journey.actor(visit.session), "grant")
    return away(visit, url)


async def _stop(parts: Parts, visit: Visit, journey: Journey, path: str, silent: bool, error: str) -> Response:
    if silent:
        return away(visit, await deny(parts.ledger, journey.id, error=error))
    return parts.pages.redirect(visit, path, **journey.query)


async def _evident(parts: Parts, journey: Journey, session: Session) -> Journey:
    """Whom a launch was for, or the only record that the person can open, need not be asked."""
    if session.professional or journey.place >= 0:
        return journey
    for place, actor in enumerate(session.actors):
        if actor.role in ("patient", "rep") and journey.request.patient in actor.patients:
            return await keep(parts, replace(journey, place=place, patient=journey.request.patient))
    if len(session.actors) == 1 and session.actors[0].role in ("patient", "rep"):
        return await keep(parts, replace(journey, place=0, patient=session.actors[0].patients[0]))
    return journey


def _again(journey: Journey, session: Session, now: int) -> bool:
    """Whether the person has to log in for this request though they are logged in."""
    request = journey.request
    if journey.session == session.id:
        return False
    old = request.max_age >= 0 and now - session.since > request.max_age * _SECOND
    return old or bool({"login", "select_account"} & set(request.prompt))


def _name(id: str) -> str:
    return sha256(id.encode()).hexdigest()
