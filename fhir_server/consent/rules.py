"""The access decision as one predicate over security facts (spec access §3.5).

`Rules.predicate` is the whole of who sees what. It takes no request and reads no store: the same caller, policies and
time give the same predicate, and every row that leaves the server has satisfied it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fhir_server.auth.actor import ROLES, Actor
from fhir_server.auth.scopes import resource_scopes, scope_predicate
from fhir_server.consent.categories import FOLDERS, classes_of, tables
from fhir_server.consent.directives import Directive
from fhir_server.consent.grounds import CLOSED, Ground, Grounds, grounds
from fhir_server.consent.keys import own_keys, person_keys
from fhir_server.consent.kinds import kind_of, types
from fhir_server.consent.labels import MASKS
from fhir_server.consent.matrix import Matrix
from fhir_server.consent.openings import CENTRE_15, CONSULT, EMERGENCIES, regimes
from fhir_server.consent.policy import RecordPolicy
from fhir_server.consent.shapes import Label
from fhir_server.search.facts import INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX
from fhir_server.search.predicate import (
    FALSE,
    TRUE,
    AllRefs,
    AnyRef,
    Bit,
    Eq,
    Has,
    Predicate,
    Rng,
    SomeRef,
    conj,
    disj,
    has_any,
    negate,
    one_of,
)

HOUR: Final = 3_600_000_000
PUBLIC: Final = Eq("kind", "public")
_DENIES: Final = ("D03", "D07", "D08")


@dataclass(frozen=True, slots=True)
class Case:
    """One caller before one record, at one time. `only`: the types asked about, None for any."""

    actor: Actor
    policy: RecordPolicy
    now: int
    only: frozenset[str] | None = None

    def among(self, names: frozenset[str]) -> Predicate:
        """The rows of these types; decided at once where the types asked about decide it."""
        if self.only is None or not (self.only <= names or self.only.isdisjoint(names)):
            return one_of("rtype", names)
        return TRUE if self.only <= names else FALSE

    def live(self, *ids: str) -> tuple[Directive, ...]:
        """The directives of those kinds that have effect."""
        return self.policy.live(self.now, *ids)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the decision depends on besides caller, record and time.

    `own_by_structure`: the depositing structure counts as author; `mt_block_effective`: a deny that names the médecin
    traitant holds for them; `cross_border`: document types that an EU gateway may be given.
    """

    matrix: Matrix
    own_by_structure: bool = True
    mt_block_effective: bool = True
    cross_border: frozenset[str] = field(default_factory=lambda: tables().cross_border)

    def predicate(
        self,
        actor: Actor,
        policies: Mapping[str, RecordPolicy],
        now: int,
        *,
        letter: str = "r",
        only: Collection[str] | None = None,
    ) -> Predicate:
        """What the caller may see of the records whose policies are given, and of what is nobody's.

        `letter`: the right that is used (r, s, u, d), which the scopes are asked for. `only`: the types asked about,
        when that is known; rows of others are then out, and the predicate shorter. Nothing for an unknown role.
        """
        if actor.role == "open":
            return TRUE
        if actor.role not in ROLES:
            return FALSE
        asked_types = None if only is None else frozenset(only)
        if asked_types and not types().linked.isdisjoint(asked_types):
            asked_types = None
        seen = disj(*(self._record(Case(actor, policy, now, asked_types)) for policy in policies.values()))
        if asked_types is None:
            seen = _with_carriers(actor, seen, policies, now)
        asked = TRUE if only is None else one_of("rtype", only)
        public = PUBLIC if only is None or any(kind_of(each) == "public" for each in only) else FALSE
        return conj(asked, scope_predicate(actor, letter), disj(public, seen))

    def own(self, actor: Actor) -> Predicate:
        """The deposits that the caller may correct even where they may not read (spec access §3.5): the author
        person's, not the structure's."""
        if actor.role not in ("ps", "admin"):
            return FALSE
        confidential = one_of("rtype", types().confidential)
        authored = has_any("authors", person_keys(actor))
        return conj(scope_predicate(actor, "ud"), Eq("kind", "record"), authored, negate(confidential))

    def _record(self, case: Case) -> Predicate:
        """The rows of one record that the caller may see for what they are; carriers still want what they carry."""
        mine = conj(Eq("kind", "record"), Eq("patient", case.policy.patient))
        return conj(mine, self.grounds(case).predicate())

    def grounds(self, case: Case) -> Grounds:
        """On what grounds the caller sees rows of that record: all of the decision but scopes and what rows carry."""
        policy, role = case.policy, case.actor.role
        made = _GROUNDS.get(role)
        if made is None or not policy.exists or not policy.open:
            return Grounds()
        found: Grounds = made(self, case)
        if policy.closing or not policy.readable:
            # What closed the record is all that is left of it, for those who can take it back.
            mendable = _mendable(policy) if role in ("patient", "rep") else FALSE
            return Grounds(found.opens, (Ground(CLOSED, negate(mendable)), *found.bars))
        if role in ("patient", "rep"):
            return found
        kept = Ground("confidential", case.among(types().confidential))
        return Grounds(found.opens, grounds(kept, *found.bars))

    def _holder(self, case: Case) -> Grounds:
        """The patient, or a live representative; an application as the one who let it in."""
        actor, policy = case.actor, case.policy
        role = actor.authoriser if actor.role == "app" else actor.role
        reference = actor.authoriser_key if actor.role == "app" else actor.reference
        if policy.patient not in actor.patients:
            return Grounds()
        unreleased = conj(Bit(INVISIBLE_PATIENT), negate(Rng("release_at", None, case.now + 1)))
        hidden = Ground("invisible-patient", unreleased)
        if role == "patient" and reference == f"Patient/{policy.patient}":
            return Grounds((Ground("holder", TRUE),), (hidden,))
        if role == "rep" and policy.represents(reference, case.now):
            from_them = Ground("invisible-representatives", Bit(INVISIBLE_REPRESENTANTS_LEGAUX))
            return Grounds((Ground("representative", TRUE, reference),), (hidden, from_them))
        return Grounds()

    def _professional(self, case: Case) -> Grounds:
        actor, policy, now = case.actor, case.policy, case.now
        mt = is_treating(actor, policy, now)
        own = has_any("authors", own_keys(actor, by_structure=self.own_by_structure))
        participant = conj(case.among(types().participants), has_any("participants", actor.keys))
        granted = (Ground("grant", _selected(each), each.link) for each in case.live("D05") if each.actor in actor.keys)
        gates = (Ground(code, TRUE, about) for code, about in gates_of(actor, policy, now))
        outside = negate(disj(self._matrix(case), own, participant))
        return Grounds(
            grounds(Ground("own", own), Ground("participant", participant), *gates, *granted),
            grounds(
                Ground("matrix-deny", outside),
                *self._denies(case, mt=mt),
                *(() if mt else (_masks(case, negate(own)),)),
            ),
        )

    def _application(self, case: Case) -> Grounds:
        holder = self._holder(case)
        if not holder.opens:
            return holder
        messages = Ground("messages", case.among(frozenset({"Communication"})))
        bars = grounds(*holder.bars, messages, *self._denies(case), _masks(case))
        return Grounds(grounds(*_shares(case.actor, case.policy, case.now)), bars)

    def _gateway(self, case: Case) -> Grounds:
        actor = case.actor
        country = f"country:{actor.country}"
        if actor.purpose != "TREAT" or actor.mode != "normal":
            return Grounds()
        allowed = disj(one_of("type_code", self.cross_border), case.among(frozenset({"Patient"})))
        bars = (Ground("not-cross-border", negate(allowed)), Ground("invisible-patient", Bit(INVISIBLE_PATIENT)))
        return Grounds(
            tuple(Ground("cross-border", TRUE, each.link) for each in case.live("D10") if each.actor == country),
            grounds(*bars, *self._denies(case), _masks(case)),
        )

    def _matrix(self, case: Case) -> Predicate:
        """Who the patient is and who cares for them is no kind of document; what has participants is theirs alone."""
        folders = conj(case.among(frozenset({"List"})), one_of("type_code", FOLDERS))
        kinds = disj(case.among(types().identity), folders, self.matrix.predicate(case.actor.profession))
        return conj(kinds, negate(case.among(types().participants)))

    def _denies(self, case: Case, *, mt: bool = False) -> tuple[Ground, ...]:
        mode = emergency(case.actor, case.policy, case.now)
        return tuple(
            Ground("directive", _denied(each, case.policy), each.link)
            for each in case.live(*_DENIES)
            if not _is_mask(each) and self._applies(each, case.actor, mode, mt)
        )

    def _applies(self, directive: Directive, actor: Actor, mode: str, mt: bool) -> bool:
        # Centre 15 asks nobody for an authorisation, so neither for a block; before the médecin traitant's own rule, or
        # naming a regulator médecin traitant would take something from them (I4).
        if mode == CENTRE_15 and directive.id == "D03":
            return False
        if mt:
            return self.mt_block_effective and directive.actor in person_keys(actor)
        return directive.actor is None or directive.actor in _keys(actor)


_GROUNDS: Final[Mapping[str, Callable[[Any, Case], Grounds]]] = {
    "patient": Rules._holder,
    "rep": Rules._holder,
    "ps": lambda rules, case: rules._professional(case),
    "app": lambda rules, case: rules._application(case),
    "ncp": lambda rules, case: rules._gateway(case),
}


def is_treating(actor: Actor, policy: RecordPolicy, now: int) -> bool:
    """Whether the caller is the médecin traitant of the record: named on the Patient, or by a live D06."""
    if actor.role != "ps":
        return False
    named = any(each.actor in person_keys(actor) for each in policy.live(now, "D06"))
    return named or not policy.practitioners.isdisjoint(actor.keys)


def gates_of(actor: Actor, policy: RecordPolicy, now: int) -> Iterator[tuple[str, str]]:
    """What opens a whole record to a professional, as (code, what says so): that they are médecin traitant, a care team
    that the patient has consented to, an attested consent, an emergency."""
    if is_treating(actor, policy, now):
        yield "mt", f"Patient/{policy.patient}"
    for each in policy.live(now, "D04"):
        if any(team.link == each.team and team.holds(actor.keys, now) for team in policy.teams):
            yield "team", each.link
    if CONSULT in regimes(actor, policy.patient, now):
        yield CONSULT, ""
    mode = emergency(actor, policy, now)
    if mode:
        yield mode, ""


def emergency(actor: Actor, policy: RecordPolicy, now: int) -> str:
    """The emergency mode that has effect on this record, "" for none: one that was declared in this session, for this
    patient, and that the patient does not oppose. The mode of a token alone opens nothing (access L71)."""
    declared = [each for each in regimes(actor, policy.patient, now) if each in EMERGENCIES]
    opposed = {each.purpose for each in policy.live(now, "D02")} if declared else set()
    return next((each for each in declared if each not in opposed), "")


def shared_with(actor: Actor, policy: RecordPolicy, now: int) -> Predicate:
    """What the patient shares with an application by its live D09, hidden or not."""
    return disj(*(each.rows for each in _shares(actor, policy, now)))


def _shares(actor: Actor, policy: RecordPolicy, now: int) -> Iterator[Ground]:
    named = (each for each in policy.live(now, "D09") if each.actor in person_keys(actor))
    return (Ground("share", _selected(each), each.link) for each in named)


def shares_type(actor: Actor, policy: RecordPolicy, type: str, now: int) -> bool:
    """Whether a live D09 could show an application anything of that type: if not, it is told so (403), for that is its
    own grant and says nothing of the record. Content is judged as the documents that it belongs to."""
    if type == "Communication" or type in types().confidential:
        return False
    classes = classes_of("DocumentReference" if type == "Binary" else type)
    return any(
        each.label is None or each.label.column == "labels" or classes is None or each.label.value in classes
        for each in policy.live(now, "D09")
        if each.actor in person_keys(actor)
    )


def _with_carriers(actor: Actor, plain: Predicate, policies: Mapping[str, RecordPolicy], now: int) -> Predicate:
    """`plain`, with content seen through its documents, carriers when all that they carry is, and submission sets and
    folders when something in them is.

    Carriers carry carriers (a Provenance of a Composition); two deep is followed, what lies deeper stays hidden.
    """
    folder = conj(Eq("rtype", "List"), one_of("type_code", FOLDERS))
    carrier = conj(one_of("rtype", types().carriers), negate(folder))
    rows = conj(negate(one_of("rtype", types().carriers)), plain)
    fresh = _unlinked(actor, now)
    if rows == FALSE:
        return fresh
    content = conj(Eq("rtype", "Binary"), AnyRef(conj(Eq("rtype", "DocumentReference"), _scoped(actor), rows)))
    # A carrier names its own patient: that the Patient itself is not for this caller hides nothing more.
    themselves = conj(Eq("rtype", "Patient"), one_of("patient", policies))
    inner = conj(carrier, plain, AllRefs(disj(rows, themselves)))
    held = conj(folder, plain, SomeRef(conj(rows, negate(one_of("rtype", types().identity)))))
    carried = conj(carrier, plain, AllRefs(disj(rows, themselves, content, fresh, inner)))
    return disj(rows, content, fresh, held, carried)


def _scoped(actor: Actor) -> Predicate:
    """The documents whose content the scopes give: all, unless scopes narrow which documents are read.

    Linked rows are judged by their facts alone, which know the type of a document by its code; what a scope narrows by
    anything else gives no content.
    """
    reading = [each for each in resource_scopes(actor.scopes) if each.type in ("*", "DocumentReference")]
    if not any(each.criteria for each in reading):
        return TRUE
    return disj(
        *(
            conj(*(_document_type(value) if name == "type" else FALSE for name, value in each.criteria))
            for each in reading
            if not set(each.letters).isdisjoint("rs")
        )
    )


def _document_type(token: str) -> Predicate:
    code = token.rpartition("|")[2]
    return Eq("type_code", code) if code else FALSE


def _unlinked(actor: Actor, now: int) -> Predicate:
    """Content that no document points to yet: for its depositor, for an hour (DOC-11)."""
    fresh = Rng("deposited_at", now - HOUR + 1, None)
    return conj(Eq("rtype", "Binary"), has_any("authors", person_keys(actor)), fresh, negate(AnyRef(TRUE)))


def _mendable(policy: RecordPolicy) -> Predicate:
    return conj(Eq("rtype", "Consent"), one_of("id", policy.closing) if policy.closing else TRUE)


def _masks(case: Case, others: Predicate = TRUE) -> Ground:
    """What masks rows to professionals at large, of those that are `others`': the label, or a live D07 without actor on
    the lineage."""
    said = [(each.link, case.policy.lineage(each)) for each in case.live("D07") if _is_mask(each)]
    rows = conj(disj(Bit(MASKS), one_of("lineage", [lineage for _, lineage in said])), others)
    return Ground("masked", rows, "", (("", Bit(MASKS)), *[(link, Eq("lineage", each)) for link, each in said]))


def _is_mask(directive: Directive) -> bool:
    return directive.id == "D07" and directive.actor is None


def _denied(directive: Directive, policy: RecordPolicy) -> Predicate:
    """The rows that a deny selects."""
    if directive.id == "D03":
        return TRUE
    if directive.id == "D07":
        return Eq("lineage", policy.lineage(directive))
    return conj(_labelled(directive.label), _in_period(directive))


def _selected(directive: Directive) -> Predicate:
    """The rows that a permit selects."""
    excepted = FALSE if directive.except_label is None else _labelled(directive.except_label)
    return conj(_labelled(directive.label), negate(excepted))


def _labelled(label: Label | None) -> Predicate:
    if label is None:
        return TRUE
    return Has(label.column, label.value) if label.column == "labels" else Eq(label.column, label.value)


def _in_period(directive: Directive) -> Predicate:
    """Data whose time is in the period; for a deny, data without a time is."""
    low, high = directive.data_period
    if low is None and high is None:
        return TRUE
    return disj(Rng("data_time", low, high), negate(Rng("data_time", None, None)))


def _keys(actor: Actor) -> frozenset[str]:
    """Every key that a directive may name this caller by."""
    return actor.keys | ({f"country:{actor.country}"} if actor.country else frozenset())
