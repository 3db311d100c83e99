"""From a request to the caller's predicate: which record is it about, what is its policy, what may be seen of it.

The only place where the routing question of a store is asked before anything is known to be visible; what it answers
decides which policy is read, and never reaches the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from fhir_server.auth.actor import Actor
from fhir_server.consent.kinds import kind_of
from fhir_server.consent.matrix import Matrix, load_matrix
from fhir_server.consent.policy import PolicyCache, RecordPolicy
from fhir_server.consent.remembered import Remembered
from fhir_server.consent.rules import Rules, shares_type
from fhir_server.errors import Forbidden
from fhir_server.search.facts import Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import FALSE, Eq, Predicate, RefersTo, UriIs, conj, disj
from fhir_server.settings import Settings
from fhir_server.storage.interface import Snapshot

_BOUND: Final = ("patient", "rep", "app")
_NAMING: Final = ("ps", "ncp")
_DOCUMENTS: Final = 50


class Narrow:
    """Makes the predicates of one server."""

    def __init__(
        self, matrix: Matrix, settings: Settings, clock: Callable[[], int], policies: PolicyCache | None = None
    ) -> None:
        """`clock`: microseconds since 1970 UTC."""
        self._settings = settings
        self._base = settings.fhir_base
        self._clock = clock
        self._policies = policies or PolicyCache()
        self._apply(matrix)

    def _apply(self, matrix: Matrix) -> None:
        self.rules = Rules(matrix, self._settings.own_by_structure, self._settings.mt_block_effective)
        self._predicates = Remembered(self.rules)

    def _keep_up(self) -> None:
        """Decide by the matrix that is in force now: one that comes into force does so without a new start."""
        until = self.rules.matrix.until
        if until is not None and until <= self._clock():
            self._apply(load_matrix(self._clock()))

    async def for_instance(
        self, snapshot: Snapshot, actor: Actor, type: str, id: str, *, letter: str = "r"
    ) -> Predicate:
        """What the caller may see of resources of that type in the record that holds this one."""
        return (await self.placed(snapshot, actor, type, id, letter=letter))[0]

    async def placed(
        self, snapshot: Snapshot, actor: Actor, type: str, id: str, *, letter: str = "r"
    ) -> tuple[Predicate, list[Facts]]:
        """`for_instance` and `whereabouts`, from one look at the record."""
        where = await self.whereabouts(snapshot, type, id)
        records: Iterable[str] = ()
        if actor.role in _BOUND:
            records = actor.patients
        elif actor.role in _NAMING:
            records = [each.patient for each in where if each.patient]
        return await self._predicate(snapshot, actor, records, letter, (type,)), where

    async def for_search(
        self,
        snapshot: Snapshot,
        actor: Actor,
        patients: Collection[str] | None,
        *,
        letter: str = "s",
        only: Collection[str] | None = None,
    ) -> Predicate:
        """What the caller may see of the records that a search is about; `patients` None: it names none.

        Who is bound to records sees only those; a professional who names none sees only what is nobody's. `only`: the
        types that the answer can hold, included ones too, where that is known.
        """
        if actor.role in _BOUND:
            records = [each for each in actor.patients if patients is None or each in patients]
        else:
            records = list(patients or ()) if actor.role in _NAMING else []
        return await self._predicate(snapshot, actor, records, letter, only)

    def for_deposit(self, actor: Actor) -> Predicate:
        """Which Patients a depositor may find by their identifier, gate or not: feeding a record is not reading it.

        The one who asks says no more than that the record is there, and only when its policy is not closed.
        """
        return conj(Eq("kind", "record"), Eq("rtype", "Patient")) if actor.role in ("ps", "admin", "open") else FALSE

    def for_naming(self, actor: Actor) -> Predicate:
        """Which Patients a search may name by an identifier, so that it is known whose record it is about.

        Those of a depositor, and of a gateway: nothing is answered to it but what that record's rules let it see.
        """
        return conj(Eq("kind", "record"), Eq("rtype", "Patient")) if actor.role == "ncp" else self.for_deposit(actor)

    def own(self, actor: Actor) -> Predicate:
        """What the caller may correct although they may not read it."""
        return self.rules.own(actor)

    def must_name_patient(self, actor: Actor, types: Iterable[str]) -> bool:
        """Whether a search of these types has to say whose record it is about.

        Looking a Patient up by identity is the way to learn that, and is answered by `for_deposit`.
        """
        asked = set(types) - {"Patient"}
        return actor.role in _NAMING and any(kind_of(each) == "record" for each in asked)

    async def check_shared(self, snapshot: Snapshot, actor: Actor, type: str) -> None:
        """Raise Forbidden where an application asks for a type that no patient of its token shares with it (D09)."""
        if actor.role != "app" or kind_of(type) != "record":
            return
        now = self._clock()
        shared = [shares_type(actor, await self.policy(snapshot, each), type, now) for each in actor.patients]
        if not any(shared):
            raise Forbidden("Consent not given, access refused.")

    async def policy(self, snapshot: Snapshot, patient: str) -> RecordPolicy:
        """The policy of a record as of that snapshot; a closed one for an unknown patient."""
        return await self._policies.policy(snapshot, patient, base=self._base)

    async def whereabouts(self, snapshot: Snapshot, type: str, id: str) -> list[Facts]:
        """Whose record a resource is in, as the access log wants to know it: of content, the documents it belongs to.

        Empty for what is nobody's. Of a resource that is no content, the patient alone is told.
        """
        if type == "Binary":
            return await self._pointing(snapshot, id)
        record = await snapshot.compartment(type, id)
        return [Facts(type, id, "record", record)] if record else []

    async def _predicate(
        self, snapshot: Snapshot, actor: Actor, records: Iterable[str], letter: str, only: Collection[str] | None
    ) -> Predicate:
        self._keep_up()
        patients = dict.fromkeys(records)
        versions = tuple([(each, await snapshot.policy_version(each)) for each in patients])
        known = self._predicates.known(actor, versions, self._clock(), letter=letter, only=only)
        if known is not None:
            return known
        policies = {each: await self.policy(snapshot, each) for each in patients}
        return self._predicates.predicate(actor, policies, self._clock(), letter=letter, only=only)

    async def _pointing(self, snapshot: Snapshot, id: str) -> list[Facts]:
        """The documents whose content that Binary is."""
        urls = (f"Binary/{id}", f"{self._base}/Binary/{id}")
        # `related` holds what the entries of a document carry: an image in a report.
        where = disj(RefersTo("related", urls[0]), *(UriIs("location", "exact", url) for url in urls))
        plan = Plan(types=("DocumentReference",), where=where, limit=_DOCUMENTS)
        found = await snapshot.search(plan, visible=conj(Eq("kind", "record"), Eq("rtype", "DocumentReference")))
        return [each.facts for each in found]
