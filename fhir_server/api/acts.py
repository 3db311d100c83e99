"""What is done at the doors beside FHIR stands in the access log too: logins, tokens, what administrators change.

Spec access §6. One line each, committed before the answer leaves; where it cannot be written, nothing is answered.
"""

from __future__ import annotations

from fhir_server.auth.accounts import Account
from fhir_server.auth.actor import Actor
from fhir_server.context import Context, Services, Trace
from fhir_server.errors import FhirServerError
from fhir_server.storage.interface import Commit


async def note(
    services: Services,
    actor: Actor,
    act: str,
    *,
    type: str = "",
    id: str = "",
    patient: str = "",
    refused: FhirServerError | None = None,
) -> None:
    """Write down an act. `type`, `id`: what it is about; `patient`: the id of the record in whose log it is to be read,
    "" for none; `refused`: why it was not done."""
    trace = Trace(act, type, id, patient=patient or None, request_id=services.ids().replace("-", ""))
    await services.store.commit(Commit(audits=Context(services, actor, trace).audits(refused)))


async def note_account(services: Services, admin: Actor, act: str, account: Account) -> None:
    """Write down what was done to an account, in the log of every record that it opens."""
    for patient in {patient for actor in account.actors for patient in actor.patients} or {""}:
        await note(services, admin, act, type="Device", id=f"account-{account.login}", patient=patient)
