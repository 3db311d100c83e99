"""As whom the person of an account may act: in the own record, in those of others for them, or as administrator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhir_server.auth.actor import Actor
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.errors import FhirServerError, Invalid, Issue
from fhir_server.interactions.router import answer


async def holders(
    services: Services, login: str, name: str, *, patient: str = "", represents: Sequence[str] = (), admin: bool = False
) -> tuple[Actor, ...]:
    """The callers of an account. `patient`: "Patient/…", the own record; `represents`: "Patient/…=RelatedPerson/…", as
    whom in whose record. Raises Invalid for a record that does not open to them, or when it would be nobody's."""
    found = [Actor("admin", f"Device/account-{login}", name, "")] if admin else []
    if patient:
        found.append(await _opened(services, _citizen("patient", patient, name, patient), "patient"))
    for pair in represents:
        record, _, reference = pair.partition("=")
        found.append(await _opened(services, _citizen("rep", reference, name, record), "represents"))
    if not found or (admin and len(found) > 1):
        text = "An account is a patient's, a representative's, or an administrator's who is neither."
        raise Invalid(issues=[Issue("business-rule", text, "patient")])
    return tuple(found)


def _citizen(role: str, reference: str, name: str, record: str) -> Actor:
    id_ = record.partition("/")[2]
    return Actor(role, reference, name, "", keys=frozenset({reference}), patients=(id_,), purpose="PATRQT")


async def _opened(services: Services, actor: Actor, member: str) -> Actor:
    """The same caller, whom the record opens to; the log says what asked."""
    checking = replace(actor, jti="accounts", software="fhir-server account")
    ctx = Context(services, checking, Trace(request_id=services.ids().replace("-", "")))
    kind = "Patient" if actor.role == "patient" else "RelatedPerson"
    try:
        if not actor.reference.startswith(f"{kind}/"):
            raise Invalid
        await answer(ctx, Request("GET", ("Patient", actor.patients[0])))
    except FhirServerError as error:
        raise Invalid(issues=[Issue("not-found", "There is no such record that opens to them.", member)]) from error
    return actor
